"""A whole table in memory: its columns as text with None for gaps, and which rows of the file they come from."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from operator import eq
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dlcli.errors import DataError
from dlcli.spec.data.sources.table.cells import SPACES, is_number, normalized, plain_number
from dlcli.spec.data.sources.table.reader import EMPTY, REPEATED, Row, Settings, counted_rows, open_table, refuse_rows
from dlcli.spec.data.sources.table.records import Counts

if TYPE_CHECKING:
    from dlcli.arrays import Array

_BLOCK = 2000
"""Rows that are split into columns at once."""
_REMEMBERED = 5000
"""Different cells of a column whose values are cached."""


class _Cells(dict[str, "str | None"]):
    """The value of each cell of a column: its text, None for a gap."""

    def __init__(self, marks: Collection[str], *, strip: bool) -> None:
        super().__init__()
        self._marks = marks
        self._strip = strip

    def take_as_they_are(self, cells: Sequence[str]) -> bool:
        """Whether most cells are different, and the value of each is the cell itself, as in most columns of measurements.

        Such cells need no cache: building it takes most of the time of reading a wide table. Columns with few different cells
        keep it, so that equal cells are one object in memory.
        """
        if self or 2 * len(distinct := set(cells)) < len(cells) or not distinct.isdisjoint(self._marks):
            return False
        stripped = map(str.strip, cells, repeat(SPACES)) if self._strip else cells
        return "".join(cells).isascii() and all(map(eq, stripped, cells))

    def remember(self, cells: Iterable[str]) -> None:
        """Caches cells whose values are the cells themselves."""
        for cell in cells:
            if len(self) == _REMEMBERED:
                return
            self[cell] = cell

    def __missing__(self, cell: str) -> str | None:
        text = normalized(cell) if self._strip else cell
        value = None if text in self._marks else text
        if len(self) < _REMEMBERED:
            self[cell] = value
        return value


class _Columns:
    """The columns of a table, filled a block of rows at a time.

    Attributes:
        cells: each column's texts, None for gaps.
        raw: the unchanged cells of the requested columns.
        values: the value of each cell of a column.
    """

    def __init__(self, names: Sequence[str], raw: Sequence[str], marks: Collection[str], *, strip: bool) -> None:
        self.cells: list[list[str | None]] = [[] for _ in names]
        self.values = [_Cells(marks, strip=strip) for _ in names]
        self._places = {name: names.index(name) for name in raw if name in names}
        self.raw: dict[str, list[str]] = {name: [] for name in self._places}
        self._written = {name: _Cells((), strip=True) for name in self._places}  # so that equal cells are one object here too
        self._block: list[list[str]] = []

    def add(self, row: list[str]) -> None:
        """Adds a row; the columns have it after the next `flush`."""
        self._block.append(row)
        if len(self._block) == _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Splits the rows that were added into columns."""
        if not self._block:
            return
        for column, values, cells in zip(self.cells, self.values, zip(*self._block, strict=True), strict=True):
            if values.take_as_they_are(cells):
                column += cells
                continue
            if not values:
                values.remember(cell for cell in column if cell is not None)
            column += map(values.__getitem__, cells)
        for name, place in self._places.items():
            written = self._written[name]
            self.raw[name] += [cast("str", written[row[place]]) for row in self._block]
        self._block.clear()


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Attributes:
        path: its file.
        names: its columns, in order.
        cells: each column as objects `(n,)`: text, None for a gap.
        numbers: the number of each row in the file int64 `(n,)`, from 1 below the header.
        decimal: the decimal mark of its numbers.
        separator: the character between its cells.
        raw: the unchanged cells of the requested columns, gaps too.
        described: how the file is written, as text.
        left_out: how many rows are not among these, by the reason.
        notes: remarks for the user.
    """

    path: str
    names: list[str]
    cells: list[Array]
    numbers: Array
    decimal: str
    separator: str
    raw: dict[str, list[str]]
    described: str
    left_out: dict[str, int]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def column(self, name: str) -> Array:
        """Returns a column.

        Raises:
            DataError: there is none, or more than one.
        """
        if name not in self._places:
            raise DataError(f"{self.path}: {'two columns are called' if name in self.names else 'no column'} `{name}`")
        return self.cells[self._places[name]]

    @cached_property
    def _places(self) -> dict[str, int]:
        """The positions of the columns with a unique name."""
        counts = Counter(self.names)
        return {name: place for place, name in enumerate(self.names) if counts[name] == 1}

    def without(self, rows: Array, reason: str) -> Table:
        """Returns the table without some rows, given as bool `(n,)`, which are counted by the reason."""
        if not rows.any():
            return self
        raw = {name: [cell for cell, out in zip(cells, rows, strict=True) if not out] for name, cells in self.raw.items()}
        left_out = {**self.left_out, reason: int(rows.sum())}
        cells = [column[~rows] for column in self.cells]
        return replace(self, cells=cells, numbers=self.numbers[~rows], raw=raw, left_out=left_out)


def read_table(path: str | Path, settings: Settings, marks: Collection[str], raw: Sequence[str] = ()) -> Table:
    """Returns the table in a file; empty rows and repeated headers are excluded and counted.

    Args:
        path: the file.
        settings: how it is written, as far as the spec says.
        marks: the cells that are gaps.
        raw: columns whose unchanged cells are kept too.

    Raises:
        DataError: it cannot be read, has no rows, or has rows that do not fit its header, named by their lines.
    """
    import numpy as np

    numbers = array("q")  # a list of two million numbers takes 80 MB
    left_out: Counter[str] = Counter()
    faults: list[Row] = []
    try:
        with open_table(path, settings) as opened:
            columns = _Columns(opened.names, raw, marks, strip=settings.strip)
            for row in opened.rows:
                if not row.fault:
                    columns.add(row.cells)
                    numbers.append(row.number)
                elif row.fault in (EMPTY, REPEATED):
                    left_out[row.fault] += 1
                elif len(faults) < 6:
                    faults.append(row)
            columns.flush()
            refuse_rows(faults, len(opened.names))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if not numbers:
        raise DataError(f"{path}: no rows below the header" if opened.dialect.header else f"{path}: no rows")
    return Table(
        path=str(path),
        names=opened.names,
        cells=[np.array(column, dtype=object) for column in columns.cells],
        numbers=np.array(numbers, dtype="int64"),
        decimal=opened.dialect.decimal,
        separator=opened.dialect.separator,
        raw=columns.raw,
        described=f"{opened.describe()}, {len(opened.names):,} columns, {counted_rows(len(numbers) + left_out.total())}",
        left_out=dict(left_out),
        notes=(*opened.notes, *row_notes(opened.counts), *_blank_notes(opened.names, columns.values, settings)),
    )


def _blank_notes(names: Sequence[str], columns: Sequence[_Cells], settings: Settings) -> list[str]:
    """Returns a note on values that are read as equal, though they are written in two ways."""
    if not settings.strip:
        return []
    merged = []
    for name, values in zip(names, columns, strict=True):
        ways: dict[str, str] = {}
        for cell, value in values.items():
            if value is not None and ways.setdefault(value, cell) != cell and not is_number(value):
                merged.append(f"`{name}` ({', '.join(map(repr, sorted((ways[value], cell))))})")
                break
    if not merged:
        return []
    named = ", ".join(merged[:8]) + (f" and {len(merged) - 8:,} more columns" if len(merged) > 8 else "")
    return [f"values that differ only in whitespace at their ends or in the encoding of accents are treated as equal: {named}"]


def row_notes(counts: Counts) -> list[str]:
    """Returns a sentence for each kind of unusual row that was read."""
    notes = []
    for lines, what in (
        (counts.short, "shorter than the header; the missing cells are missing values"),
        (counts.multiline, "spread over several lines by line breaks inside quotes"),
    ):
        if lines:
            rows = "1 row is" if len(lines) == 1 else f"{len(lines):,} rows are"
            where = f"in line {lines[0]}" if len(lines) == 1 else f"the first in line {lines[0]}"
            notes.append(f"{rows} {what} ({where})")
    if counts.comments:
        comments = "1 line is a comment" if counts.comments == 1 else f"{counts.comments:,} lines are comments"
        notes.append(f"{comments} (#) and {'is' if counts.comments == 1 else 'are'} ignored")
    return notes


def numbers_in(
    column: Array, *, decimal: str, thousands: str | None = None, decorated: bool = False, revision: int = 2
) -> Array:
    """Returns a column's numbers as float64, NaN where a cell is a gap or no number.

    Args:
        column: text objects `(n,)`, None for gaps.
        decimal: the decimal mark.
        thousands: the mark between groups of three digits, if any.
        decorated: whether currency and percent signs are removed.
        revision: 1: as earlier versions read them, where a comma is turned into a dot and nothing more.
    """
    import numpy as np
    import pandas as pd

    if revision == 1 and decimal == ",":
        column = _mapped(column, lambda cell: cell.replace(",", "."))
    elif decimal == "," or thousands or decorated:
        column = _mapped(column, lambda cell: plain_number(cell, decimal, thousands, decorated=decorated))
    values: Array = np.asarray(pd.to_numeric(column, errors="coerce"), dtype="float64")
    return values


def gaps_in(column: Array) -> Array:
    """Returns which cells of a column, text or None, are gaps, as bool `(n,)`."""
    gaps: Array = column == None  # noqa: E711  # of each cell, in a quarter of the time of pandas's `isna`
    return gaps


def _mapped(column: Array, change: Any) -> Array:
    import numpy as np

    return np.array([None if cell is None else change(cell) for cell in column.tolist()], dtype=object)
