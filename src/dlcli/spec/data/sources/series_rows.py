"""The rows of a table of series, sorted by series and time, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlcli.errors import DataError
from dlcli.spec.data.sources.series_steps import Steps, steps_of, times_of
from dlcli.visible import listed

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.spec.data.sources.series import Series
    from dlcli.spec.data.sources.table.contents import Table


@dataclass(frozen=True)
class SeriesRows:
    """The rows of all series, one series after the other, each in the order of time.

    Attributes:
        columns: the columns of the file.
        numbers: the values of each numeric column that is read, float64 `(rows,)`, NaN for gaps.
        codes: the number of each row's series, int64 `(rows,)`, rising.
        names: the name of each series; one empty name without an entity column.
        steps: their times.
        described: how the file is written, as text.
        notes: remarks for the user.
    """

    columns: list[str]
    numbers: dict[str, Array]
    codes: Array
    names: list[str]
    steps: Steps
    described: str
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def table(self, names: Sequence[str]) -> Array:
        """Returns columns as float32 `(rows, columns)`."""
        import numpy as np

        columns = [self.numbers[name] for name in names]
        return np.stack(columns, axis=1).astype("float32") if columns else np.zeros((len(self), 0), "float32")

    def row_name(self, row: int) -> str:
        """Returns the name of a row: its series and its time."""
        name, time = self.names[int(self.codes[row])], self.steps.text(float(self.steps.times[row]))
        return f"{name}/{time}" if name else time


def read_rows(source: Series) -> SeriesRows:
    """Returns the rows of the source's file.

    Raises:
        DataError: the file cannot be read, a cell is no number, or a series has two rows of one time.
    """
    import numpy as np

    from dlcli.spec.data.sources.table.contents import read_table

    table = read_table(source.path, source.table_settings, source.marks)
    numbers = {name: _numbers(table, name) for name in _numeric_columns(source, table)}
    codes, names = _series_of(source, table)
    times, form = _times(source, table, codes)
    order = np.lexsort((times, codes))
    notes = list(table.notes)
    if not np.array_equal(order, np.arange(len(order))) and (np.diff(times)[np.diff(codes) == 0] < 0).any():
        notes.append("the rows are not in the order of time; they are sorted")
    codes, times = codes[order], times[order]
    twice = np.flatnonzero((np.diff(codes) == 0) & (np.diff(times) == 0))
    steps = steps_of(times, form, codes)
    rows = SeriesRows(
        columns=table.names,
        numbers={name: column[order] for name, column in numbers.items()},
        codes=codes,
        names=names,
        steps=steps,
        described=table.described,
        notes=tuple(notes),
    )
    if len(twice):
        hint = "" if source.entity else "; if there are several series, `data.source.entity` names their column"
        count = "1 time has" if len(twice) == 1 else f"{len(twice):,} times have"
        raise DataError(f"{source.path}: {count} two rows, first {rows.row_name(int(twice[0]))}{hint}")
    return rows


def _numeric_columns(source: Series, table: Table) -> list[str]:
    return [*source.measured(table.names), *source.known, *source.static]


def _numbers(table: Table, name: str) -> Array:
    """Returns a column of numbers.

    Raises:
        DataError: a cell is neither a number nor empty.
    """
    import numpy as np

    from dlcli.spec.data.sources.table.contents import gaps_in, numbers_in

    column = table.column(name)
    numbers = numbers_in(column, decimal=table.decimal)
    wrong = np.flatnonzero(~np.isfinite(numbers) & ~gaps_in(column))
    if len(wrong):
        raise DataError(
            f"{table.path}: column `{name}` holds {str(column[wrong[0]])[:40]!r}, which is no number; list the column in"
            " `drop`, or name it as `time` or `entity`"
        )
    return numbers


def _series_of(source: Series, table: Table) -> tuple[Array, list[str]]:
    """Returns the number of each row's series, and the names of the series in the order of the file."""
    import numpy as np

    if source.entity is None:
        return np.zeros(len(table), dtype="int64"), [""]
    cells = table.column(source.entity).tolist()
    if None in cells:
        raise DataError(f"{table.path}: `{source.entity}` is empty in row {cells.index(None) + 1}")
    places = {name: place for place, name in enumerate(dict.fromkeys(cells))}
    return np.array([places[name] for name in cells], dtype="int64"), list(places)


def _times(source: Series, table: Table, codes: Array) -> tuple[Array, str]:
    """Returns the time of each row, and the format of dates: without a column, the number of the row in its series."""
    import numpy as np

    if source.time is not None:
        return times_of(table.column(source.time), source.format, f"{table.path}: column `{source.time}`")
    order = np.argsort(codes, kind="stable")
    firsts = np.searchsorted(codes[order], np.arange(codes.max() + 1))
    times = np.empty(len(codes))
    times[order] = np.arange(len(codes)) - firsts[codes[order]]
    return times, ""


def names_in_words(names: Sequence[str]) -> str:
    """Returns the number of series with their names."""
    return "1 series" if len(names) == 1 else f"{len(names):,} series ({listed(names)})"
