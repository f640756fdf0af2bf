"""`history.csv`: a row for each epoch, appended when the epoch ends, so that an epoch writes as much late as early.

A process may be killed while it appends: a last line without its end is no row. A checkpoint holds no rows but the number of
epochs, and a resumed run cuts the file back to them.
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
    """Whether a column of the history is no score: a learning rate, the place in the training, or a clock."""
    return column in ("stage", "epoch", "seconds", "examples_per_second") or is_rate(column)


def is_rate(column: str) -> bool:
    """Whether a column holds a learning rate: of the training, of the backbone, or of another optimizer by its name."""
    return column == "learning_rate" or column.startswith("learning_rate_")


class History:
    """The history file of a run."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> list[dict[str, str]]:
        """Returns the rows, one an epoch; empty before the first epoch.

        Raises:
            DamagedFile: the file cannot be read, or holds something else than numbers.
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
        """Writes the file anew; a column that only some stages have is empty in the others."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        write_table(self._path, columns, ([row.get(column, "") for column in columns] for row in rows))

    def append_last(self, rows: list[Row]) -> None:
        """Appends the last of all rows; writes the file anew where it is the first one, or has a column that the file lacks."""
        columns = read_heading(self._path) if len(rows) > 1 else []
        if not columns or rows[-1].keys() - set(columns):
            self.replace(rows)
        else:
            append_row(self._path, [rows[-1].get(column, "") for column in columns])

    def cut(self, epochs: int) -> list[Row]:
        """Removes what was written after an epoch, and returns the rows that are left, with numbers.

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
    """Returns a row as it was before it was written: without the columns of other stages."""
    values: Row = {name: float(cell) for name, cell in row.items() if cell and name not in ("stage", "epoch")}
    return {"stage": row["stage"], "epoch": int(row["epoch"])} | values
