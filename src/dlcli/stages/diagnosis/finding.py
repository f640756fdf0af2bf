"""What a diagnosis says: a name from the course's table, the numbers it rests on, and what to try; kept in `diagnosis.json`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from pydantic import ConfigDict, RootModel

from dlcli.program import command
from dlcli.runs import Run
from dlcli.runs.contents import RunFile
from dlcli.visible import visible

Name = Literal[
    "leakage suspected",
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
FILE = "diagnosis.json"
MOST = 20
"""Lines of evidence, and remedies, of one finding that are kept."""
GOOD_FIT = "nothing stands out"


@dataclass(frozen=True)
class Remedy:
    """Something to try. `set` is the value of a `--set` for the run's spec, empty where there is none."""

    text: str
    set: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that stands out; each evidence names its numbers and the file that holds them."""

    name: Name
    evidence: tuple[str, ...]
    remedies: tuple[Remedy, ...] = ()


class DiagnosisFile(RunFile, RootModel[list[Finding]]):
    """`diagnosis.json`."""

    model_config = ConfigDict(frozen=True)


def keep(run: Run, found: Sequence[Finding]) -> list[Finding]:
    """Replaces a run's `diagnosis.json` and returns what it holds: of each finding the first 20 lines of evidence."""
    file = DiagnosisFile.of([asdict(_shortened(finding)) for finding in found])
    file.write(run.path / FILE)
    return file.root


def _shortened(finding: Finding) -> Finding:
    evidence = finding.evidence[:MOST]
    if len(finding.evidence) > MOST:
        evidence = (*evidence, f"and {len(finding.evidence) - MOST} more")
    return replace(finding, evidence=evidence, remedies=finding.remedies[:MOST])


def findings(run: Run) -> list[Finding] | None:
    """Returns what a run's `diagnosis.json` says, nothing where nothing stands out; None where there is no such file.

    Raises:
        DamagedFile: the file cannot be read, or holds something else.
    """
    path = run.path / FILE
    return DiagnosisFile.read(path).root if os.path.lexists(path) else None


def in_words(run: Run, found: Sequence[Finding]) -> list[str]:
    """Returns the lines that a terminal shows: each finding, its evidence, and what to try."""
    if not found:
        return [f"diagnosis: {GOOD_FIT}"]
    lines = []
    for one in found:
        lines.append(f"diagnosis: {one.name}")
        lines += [f"  {text}" for text in one.evidence]
        lines += [f"  try: {remedy.text}" + (f": --set {_quoted(remedy.set)}" if remedy.set else "") for remedy in one.remedies]
    if any(remedy.set for one in found for remedy in one.remedies):
        lines.append(f"  as in: {command()} train {_quoted(str(run.path / 'spec.yaml'))} --set ...")
    return [visible(line) for line in lines]


def _quoted(text: str) -> str:
    from shlex import quote

    return quote(text)
