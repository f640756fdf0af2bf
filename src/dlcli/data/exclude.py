"""The quarantine list `data.exclude`: a CSV file of examples that are left out before the splits are drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dlcli.errors import DamagedFile, DataError
from dlcli.runs.files import read_table
from dlcli.spec.data.sources import Opened
from dlcli.visible import listed


@dataclass(frozen=True)
class Exclusion:
    """The examples that a file excludes.

    Attributes:
        path: the file; None excludes no example.
        ids: the ids of the examples.
    """

    path: Path | None = None
    ids: frozenset[str] = frozenset()

    def of_split(self, split: dict[str, str]) -> dict[str, str]:
        """Returns a split, by the ids of examples, without the excluded ones."""
        return {name: part for name, part in split.items() if name not in self.ids}

    def of_source(self, opened: Opened) -> tuple[Opened, int]:
        """Returns the source without the excluded examples, with notes on them, and their number."""
        if self.path is None:
            return opened, 0
        parts, absent, count = dict(opened.parts), set(self.ids), 0
        for part, examples in opened.parts.items():
            places = np.array([place for place, name in enumerate(examples.ids) if name not in self.ids], "int64")
            absent.difference_update(examples.ids)
            count += len(examples) - len(places)
            parts[part] = examples.take(places)
        return replace(opened, parts=parts, notes=(*opened.notes, *self._notes(count, sorted(absent)))), count

    def _notes(self, count: int, absent: list[str]) -> list[str]:
        assert self.path is not None
        subject, verb = ("1 example", "is") if count == 1 else (f"{count:,} examples", "are")
        notes = [f"{subject} of {self.path.name} {verb} excluded (data.exclude)"]
        if absent:
            subject, verb = ("1 id", "is") if len(absent) == 1 else (f"{len(absent):,} ids", "are")
            notes.append(f"{subject} of {self.path.name} {verb} not in the source and {verb} ignored: {listed(absent)}")
        return notes


def read_exclusion(path: str | None) -> Exclusion:
    """Returns the examples that a file excludes; none without a file.

    Raises:
        DataError: the file cannot be read, has no column `id`, or has no rows.
    """
    if path is None:
        return Exclusion()
    try:
        rows = read_table(Path(path))
    except (OSError, UnicodeDecodeError, DamagedFile) as error:
        raise DataError(f"data.exclude: cannot read the list: {error}") from None
    if not rows:
        raise DataError(f"data.exclude: {path} has no rows; remove data.exclude if no example is to be left out")
    if "id" not in rows[0]:
        raise DataError(f"data.exclude: {path} needs the column `id`; it has {listed(tuple(rows[0]))}")
    return Exclusion(Path(path), frozenset(row["id"] for row in rows))
