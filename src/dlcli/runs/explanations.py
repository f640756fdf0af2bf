"""The files of explanations in a run folder: a picture and its numbers for each, and `explanations.json`, their list."""

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
    """An entry of `explanations.json`: the picture's name in the folder, its kind, its title, and a description of it."""

    file: str
    kind: str
    title: str
    text: str


class ExplanationsFile(RunFile, RootModel[list[Explanation]]):
    """`explanations.json`."""

    model_config = ConfigDict(frozen=True)


def made_folder(run: RunFolder) -> Path:
    """Returns the folder of a run's explanations, and creates it if necessary."""
    folder = run.explanations_path
    folder.mkdir(exist_ok=True)
    return folder


def explanations(run: RunFolder) -> list[Explanation]:
    """Returns a run's explanations; empty if there are none.

    Raises:
        DamagedFile: the list cannot be read, or has invalid content.
    """
    path = run.explanations_path / EXPLANATION_LIST
    if not os.path.lexists(path):
        return []
    entries = ExplanationsFile.read(path).root
    invalid_name = next((entry.file for entry in entries if not _is_name(entry.file)), None)
    if invalid_name is not None:
        raise DamagedFile(f"{path}: {invalid_name[:80]!r} is not the name of an image in the folder")
    return entries


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.png", text) is not None


def file_name(kind: str, title: str, about: str = "") -> str:
    """Returns the unique file name of a picture: letters and digits of its subject `about`, and a digest of its title."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", about).strip("_")[-_LONGEST:].strip("_")
    digest = sha256(f"{kind}\0{title}".encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{kind}-{plain}-{digest}.png" if plain else f"{kind}-{digest}.png"


def write_numbers(folder: Path, file: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Replaces the CSV file beside a picture."""
    write_table((folder / file).with_suffix(".csv"), columns, rows)


def add(run: RunFolder, new_entries: Sequence[Explanation]) -> None:
    """Adds entries to `explanations.json`; an entry with the file of an existing one replaces it."""
    by_file = {entry.file: entry for entry in new_entries}
    other_entries = [entry for entry in explanations(run) if entry.file not in by_file]
    ExplanationsFile.of([asdict(entry) for entry in [*other_entries, *by_file.values()]]).write(
        made_folder(run) / EXPLANATION_LIST
    )
