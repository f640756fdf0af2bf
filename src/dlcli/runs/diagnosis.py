"""`diagnosis.json`: the findings on a run, each with a name, its evidence and remedies."""

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
    "worse than persistence",
    "learning rate too high",
    "learning rate too low",
    "shuffled or meaningless labels",
    "class collapse",
    "data too few",
    "overfitting",
    "underfitting",
    "too short",
    "unstable",
    "a linear model is as good",
]
MOST = 20
"""Maximum number of lines of evidence, and of remedies, in a stored finding."""


@dataclass(frozen=True)
class Remedy:
    """A suggested change.

    Attributes:
        text: the suggestion as a text.
        set: the value of a `--set` option for the run's spec; empty if there is none.
        also: the values of further `--set` options of the remedy.
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
        """The `--set` options, quoted for a shell; empty if there are none."""
        return " ".join(f"--set {quote(change)}" for change in self.changes)

    @property
    def words(self) -> str:
        """The text, with its options if there are any."""
        return f"{self.text}: {self.options}" if self.set else self.text


@dataclass(frozen=True)
class Finding:
    """A finding of a diagnosis; each line of evidence names its numbers and their file."""

    name: Name
    evidence: tuple[str, ...]
    remedies: tuple[Remedy, ...] = ()


class DiagnosisFile(RunFile, RootModel[list[Finding]]):
    """`diagnosis.json`."""

    model_config = ConfigDict(frozen=True)


def write_findings(run: RunFolder, findings: Sequence[Finding]) -> list[Finding]:
    """Replaces a run's `diagnosis.json` and returns its content: each finding with at most 20 lines of evidence."""
    file = DiagnosisFile.of([asdict(_shortened(finding)) for finding in findings])
    file.write(run.diagnosis_path)
    return file.root


def _shortened(finding: Finding) -> Finding:
    evidence = finding.evidence[:MOST]
    if len(finding.evidence) > MOST:
        evidence = (*evidence, f"and {len(finding.evidence) - MOST} more")
    return replace(finding, evidence=evidence, remedies=finding.remedies[:MOST])


def findings(run: RunFolder) -> list[Finding] | None:
    """Returns the findings in a run's `diagnosis.json`; None if there is no such file.

    Raises:
        DamagedFile: the file cannot be read, or has invalid content.
    """
    path = run.diagnosis_path
    return DiagnosisFile.read(path).root if os.path.lexists(path) else None
