"""`diagnosis.json`: what stands out in a run: a name for it, the numbers it rests on, and what to try."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from shlex import quote
from typing import Literal

from pydantic import ConfigDict, RootModel

from dlcli.runs.contents import RunFile
from dlcli.runs.folder import RunFolder

Name = Literal[
    "leakage suspected",
    "contradicting labels",
    "blank images",
    "badly scaled inputs",
    "training and prediction disagree",
    "no better than a guess",
    "worse than a constant guess",
    "learning rate too high",
    "learning rate too low",
    "shuffled or meaningless labels",
    "class collapse",
    "data too few",
    "overfitting",
    "underfitting",
    "too short",
    "unstable",
]
MOST = 20
"""Lines of evidence, and remedies, of one finding that are kept."""


@dataclass(frozen=True)
class Remedy:
    """Something to try.

    Attributes:
        text: what, in words.
        set: the value of a `--set` for the run's spec, empty where there is none.
        also: the values of further `--set` options that belong to it.
    """

    text: str
    set: str = ""
    also: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[str, ...]:
        """The values of all `--set` options."""
        return (self.set, *self.also) if self.set else ()

    @property
    def options(self) -> str:
        """The `--set` options as a shell takes them; empty where there are none."""
        return " ".join(f"--set {quote(change)}" for change in self.changes)

    @property
    def words(self) -> str:
        """The text, with its options where there are any."""
        return f"{self.text}: {self.options}" if self.set else self.text


@dataclass(frozen=True)
class Finding:
    """One thing that stands out; each evidence names its numbers and the file that holds them."""

    name: Name
    evidence: tuple[str, ...]
    remedies: tuple[Remedy, ...] = ()


class DiagnosisFile(RunFile, RootModel[list[Finding]]):
    """`diagnosis.json`."""

    model_config = ConfigDict(frozen=True)


def keep_findings(run: RunFolder, findings: Sequence[Finding]) -> list[Finding]:
    """Replaces a run's `diagnosis.json` and returns what it holds: of each finding the first 20 lines of evidence."""
    file = DiagnosisFile.of([asdict(_shortened(finding)) for finding in findings])
    file.write(run.diagnosis_path)
    return file.root


def _shortened(finding: Finding) -> Finding:
    evidence = finding.evidence[:MOST]
    if len(finding.evidence) > MOST:
        evidence = (*evidence, f"and {len(finding.evidence) - MOST} more")
    return replace(finding, evidence=evidence, remedies=finding.remedies[:MOST])


def findings(run: RunFolder) -> list[Finding] | None:
    """Returns what a run's `diagnosis.json` says, nothing where nothing stands out; None where there is no such file.

    Raises:
        DamagedFile: the file cannot be read, or holds something else.
    """
    path = run.diagnosis_path
    return DiagnosisFile.read(path).root if os.path.lexists(path) else None
