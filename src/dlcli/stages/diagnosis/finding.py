"""What a diagnosis says: a name from the course's table, the numbers it rests on, and what to try; kept in `diagnosis.json`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from dlcli.errors import DamagedFile
from dlcli.runs import Run
from dlcli.runs.files import read_json, write_json
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
    evidence: Annotated[tuple[str, ...], Field(max_length=20)]
    remedies: Annotated[tuple[Remedy, ...], Field(max_length=20)] = ()


_CONTENT: TypeAdapter[list[Finding]] = TypeAdapter(list[Finding])


def keep(run: Run, found: Sequence[Finding]) -> None:
    """Replaces a run's `diagnosis.json`."""
    write_json(run.path / FILE, [asdict(one) for one in found])


def findings(run: Run) -> list[Finding] | None:
    """Returns what a run's `diagnosis.json` says, nothing where nothing stands out; None where there is no such file.

    Raises:
        DamagedFile: the file cannot be read, or holds something else.
    """
    path = run.path / FILE
    if not os.path.lexists(path):
        return None
    data: Any = read_json(path)
    try:
        return _CONTENT.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DamagedFile(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


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
        lines.append(f"  as in: dlcli train {_quoted(str(run.path / 'spec.yaml'))} --set ...")
    return [visible(line) for line in lines]


def _quoted(text: str) -> str:
    from shlex import quote

    return quote(text)
