"""What explanations leave in a run folder: a picture and its numbers each, and `explanations.json` that lists them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, RootModel

from dlcli.errors import DamagedFile
from dlcli.runs.contents import RunFile
from dlcli.runs.files import write_table
from dlcli.runs.folder import RunFolder
from dlcli.runs.layout import EXPLANATION_LIST

_LONGEST = 60


@dataclass(frozen=True)
class Explanation:
    """An entry of `explanations.json`: the picture's name in the folder, its kind, title, and what it shows in words."""

    file: str
    kind: str
    title: str
    text: str


class ExplanationsFile(RunFile, RootModel[list[Explanation]]):
    """`explanations.json`."""

    model_config = ConfigDict(frozen=True)


def made_folder(run: RunFolder) -> Path:
    """Returns the folder of a run's explanations, made if need be."""
    folder = run.explanations_path
    folder.mkdir(exist_ok=True)
    return folder


def explanations(run: RunFolder) -> list[Explanation]:
    """Returns a run's explanations; nothing where none was made.

    Raises:
        DamagedFile: the list cannot be read, or holds something else.
    """
    path = run.explanations_path / EXPLANATION_LIST
    if not os.path.lexists(path):
        return []
    entries = ExplanationsFile.read(path).root
    odd = next((entry.file for entry in entries if not _is_name(entry.file)), None)
    if odd is not None:
        raise DamagedFile(f"{path}: {odd[:80]!r} is not the name of an image in the folder")
    return entries


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.png", text) is not None


def file_name(kind: str, title: str, about: str = "") -> str:
    """Returns the picture's name for a title: letters and digits of what it is about, and a digest: no two titles share one."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", about).strip("_")[-_LONGEST:].strip("_")
    digest = sha256(f"{kind}\0{title}".encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{kind}-{plain}-{digest}.png" if plain else f"{kind}-{digest}.png"


def write_numbers(folder: Path, file: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Replaces the CSV file beside a picture."""
    write_table((folder / file).with_suffix(".csv"), columns, rows)


def add(run: RunFolder, made: Sequence[Explanation]) -> None:
    """Adds to `explanations.json`; an explanation made again takes the place of the one before."""
    new = {entry.file: entry for entry in made}
    others = [entry for entry in explanations(run) if entry.file not in new]
    ExplanationsFile.of([asdict(entry) for entry in [*others, *new.values()]]).write(made_folder(run) / EXPLANATION_LIST)
