"""Rows of a table to predict on, in chunks, read like the training table; unreadable rows are left out and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from dlcli.errors import DataError
from dlcli.runtime.column_kinds import ReadCells
from dlcli.spec.data.sources.column_kinds.number import decimal_hint
from dlcli.spec.data.sources.csv import Csv, DateColumn
from dlcli.spec.data.sources.csv_columns import date_column
from dlcli.spec.data.sources.table.cells import normalized
from dlcli.spec.data.sources.table.contents import gaps_in
from dlcli.spec.data.sources.table.dates import Part, date_parts
from dlcli.spec.data.sources.table.facts import listed
from dlcli.spec.data.sources.table.reader import OpenTable, Row, Settings

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.column_kinds import ColumnKind


@dataclass(frozen=True)
class Rows:
    """Some rows of a table: their numbers, from 1 below the header, and their columns `(n,)` as a source gives them.

    `faults` says what is wrong with each of the excluded rows, by its number.
    """

    numbers: list[int]
    columns: dict[str, Array]
    faults: dict[int, str] = field(default_factory=dict)


def row_settings(source: Csv, columns: Iterable[str]) -> Settings:
    """Returns how a table of rows is written, as far as the spec says; its header has the columns that the model takes."""
    return replace(source.settings, expected=frozenset(file_columns(source, columns).values()))


def file_columns(source: Csv, columns: Iterable[str]) -> dict[str, str]:
    """Returns the file's column that each of the model's columns comes from: a component of a date from the date."""
    parts = {date_column(name, part): name for name, settings in source.dates.items() for part in settings.parts}
    names = {name: parts.get(name, name) for name in columns}
    return names if source.revision == 1 else {name: normalized(column) for name, column in names.items()}


def read_rows(source: Csv, table: OpenTable, columns: Mapping[str, ColumnKind], *, at_once: int) -> Iterator[Rows]:
    """Yields a table's rows in chunks of `at_once`; one chunk is held in memory.

    A row is excluded where it is longer than the header or empty, where a quote is not closed in it, and where a cell is
    not of its column's kind. A shorter one has gaps, as in training. Other columns, such as the target, are ignored.

    Args:
        source: what the training's cells mean: its marks of gaps, its dates.
        table: the opened table.
        columns: the model's columns with their kinds.
        at_once: how many rows.

    Raises:
        DataError: the table lacks columns.
    """
    places = _places(table.names, file_columns(source, columns))
    while chunk := list(islice(table.rows, at_once)):
        yield _rows(source, table, chunk, columns, places)


def ignored_columns(source: Csv, header: list[str], columns: Iterable[str]) -> list[str]:
    """Returns a note on a table's columns that the training data did not have; none where the spec lists its features.

    Args:
        source: the run's source.
        header: the table's columns.
        columns: the columns that the model's come from.
    """
    if source.features != "all" or source.revision == 1:
        return []
    mentioned = {*columns, *source.named(source.targets, header), *source.named(source.drop, header)}
    ignored = [name for name in header if name not in mentioned and not name.startswith("Unnamed: ")]
    if not ignored:
        return []
    words = "column {} is not a column" if len(ignored) == 1 else "columns {} are not columns"
    return [f"{words.format(listed(ignored))} of the training file; ignored"]


def _places(header: list[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Returns the position of each of the model's columns in the file.

    Raises:
        DataError: some are missing, or appear twice.
    """
    counts = Counter(header)
    missing = list(dict.fromkeys(column for column in columns.values() if column not in counts))
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing[:20]) + (", ..." if len(missing) > 20 else "")
        words = "is empty" if not header else f"has {', '.join(header[:20])}"
        raise DataError(f"lacks the column{'s' if len(missing) > 1 else ''} {listed}; its header {words}")
    twice = next((column for column in columns.values() if counts[column] > 1), None)
    if twice is not None:
        raise DataError(f"its header has the column `{twice}` twice")
    places = {column: place for place, column in enumerate(header)}
    return {name: places[column] for name, column in columns.items()}


def _rows(source: Csv, table: OpenTable, chunk: list[Row], columns: Mapping[str, ColumnKind], places: dict[str, int]) -> Rows:
    import numpy as np

    faults = {row.number: row.fault for row in chunk if row.fault}
    sound = [row for row in chunk if not row.fault]
    if not sound:
        return Rows([], {}, faults)
    numbers = np.array([row.number for row in sound], dtype="int64")
    cells = {place: _cells(source, [row.cells[place] for row in sound]) for place in set(places.values())}
    read: dict[str, Array] = {}
    good = np.ones(len(sound), dtype=bool)
    for name, kind in columns.items():
        column = cells[places[name]]
        values, fault = _values(source, table.dialect.decimal, name, kind, column)
        for at in np.flatnonzero(values.unreadable & good):
            faults[int(numbers[at])] = f"column `{name}`: {fault(str(column[at]))}"
        good &= ~values.unreadable
        read[name] = values.values
    return Rows(numbers[good].tolist(), {name: values[good] for name, values in read.items()}, dict(sorted(faults.items())))


def _cells(source: Csv, column: list[str]) -> Array:
    """Returns a column's cells as training reads them: text, None for gaps."""
    import numpy as np

    marks = source.marks
    texts = map(normalized, column) if source.revision > 1 else column
    return np.array([None if text in marks else text for text in texts], dtype=object)


def _values(source: Csv, decimal: str, name: str, kind: ColumnKind, column: Array) -> tuple[ReadCells, Callable[[str], str]]:
    """Returns the values of one of the model's columns, and a function that says what is wrong with an unreadable cell."""
    for date, settings in source.dates.items():
        for part in settings.parts:
            if name == date_column(date, part):
                return _date_values(settings, part, decimal, column)
    form = source.form(decimal, decorated=name in source.numeric)
    return kind.read(column, form), lambda cell: kind.fault(cell, form)


def _date_values(settings: DateColumn, part: Part, decimal: str, column: Array) -> tuple[ReadCells, Callable[[str], str]]:
    """Returns a component of the dates in a column, as `_values` does."""
    import numpy as np

    parts, _ = date_parts(column, settings.format, [part])
    what = f"date of the format {settings.format!r}"
    return (
        ReadCells(parts[part], np.isnan(parts[part]) & ~gaps_in(column)),
        lambda cell: f"{cell[:60]!r} is not a {what}{decimal_hint(decimal, cell)}",
    )
