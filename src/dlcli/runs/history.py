"""`history.csv`: a row for each epoch, appended when the epoch ends, so that late epochs write no more than early ones.

A process may be killed while it appends a row, so a last line without a line end is ignored. A checkpoint holds the number of
epochs only, and a resumed run truncates the file to that many rows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dlcli.errors import DamagedFile
from dlcli.runs.contents import refuse_odd_history
from dlcli.runs.files import append_row, read_heading, read_table, write_table

Row = dict[str, Any]


def is_setting(column: str) -> bool:
    """Whether a column of the history is not a score: a learning rate, a stage, an epoch, or a time."""
    return column in ("stage", "epoch", "seconds", "examples_per_second") or is_rate(column)


def is_rate(column: str) -> bool:
    """Whether a column holds a learning rate: of the training, of the backbone, or of a named optimizer."""
    return column == "learning_rate" or column.startswith("learning_rate_")


class History:
    """The history file of a run."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> list[dict[str, str]]:
        """Returns the rows, one per epoch; empty before the first epoch.

        Raises:
            DamagedFile: the file cannot be read, or contains cells that are not numbers.
        """
        rows = read_table(self._path, whole_lines=True) if os.path.lexists(self._path) else []
        refuse_odd_history(rows, self._path)
        return rows

    def epochs(self) -> list[Row]:
        """Returns the rows as they were before they were written: with numbers, without the columns of other stages.

        Raises:
            DamagedFile: the file cannot be read, or holds something else than numbers.
        """
        return [_with_numbers(row) for row in self.rows()]

    def replace(self, rows: list[Row]) -> None:
        """Rewrites the whole file; the columns of other stages are empty in a row."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        write_table(self._path, columns, ([row.get(column, "") for column in columns] for row in rows))

    def append_last(self, rows: list[Row]) -> None:
        """Appends the last of all rows; rewrites the file if the row is the first one or has a new column."""
        columns = read_heading(self._path) if len(rows) > 1 else []
        if not columns or rows[-1].keys() - set(columns):
            self.replace(rows)
        else:
            append_row(self._path, [rows[-1].get(column, "") for column in columns])

    def cut(self, epochs: int) -> list[Row]:
        """Removes the rows after an epoch and returns the remaining rows, with numbers.

        Raises:
            DamagedFile: the file cannot be read, or has fewer rows.
        """
        rows = self.rows()
        if len(rows) < epochs:
            raise DamagedFile(f"{self._path}: has {len(rows)} rows, but the run's checkpoint was written after {epochs} epochs")
        remaining = rows[:epochs]
        if remaining:
            self.replace(remaining)
        else:
            self._path.unlink(missing_ok=True)
        return [_with_numbers(row) for row in remaining]


def _with_numbers(row: dict[str, str]) -> Row:
    """Returns a row with numbers in place of texts, without the columns of other stages."""
    values: Row = {name: float(cell) for name, cell in row.items() if cell and name not in ("stage", "epoch")}
    return {"stage": row["stage"], "epoch": int(row["epoch"])} | values
