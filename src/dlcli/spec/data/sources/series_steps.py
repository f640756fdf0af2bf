"""The times of the rows of series: their distance, and the steps that are missing or irregular."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dlcli.errors import DataError
from dlcli.spec.data.sources.table.dates import date_of, find_format

if TYPE_CHECKING:
    from dlcli.arrays import Array

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_SEASONS = {_MINUTE: 60, 15 * _MINUTE: 96, 30 * _MINUTE: 48, _HOUR: 24, _DAY: 7, 7 * _DAY: 52}
_SEASONS_OF_MONTHS = {1: 12, 3: 4}
_NAMED = 3


@dataclass(frozen=True)
class Steps:
    """The time steps of series.

    Attributes:
        times: the time of each row, float64 `(rows,)`: seconds since 1970 of dates, else numbers.
        form: the format of the dates; empty for numbers.
        distance: the usual distance of two rows, in seconds, in months if `in_months`, or in the unit of the numbers.
        is_long: whether a row follows a missing or irregular step of its series, bool `(rows,)`.
        missing: the number of missing time steps; irregular ones are not among them.
        in_months: whether the rows are a whole number of months apart.
    """

    times: Array
    form: str
    distance: float
    is_long: Array
    missing: int
    in_months: bool = False

    @property
    def season(self) -> int:
        """The number of steps of a usual season; 1 where none is known."""
        if not self.form:
            return 1
        return _SEASONS_OF_MONTHS.get(int(self.distance), 1) if self.in_months else _SEASONS.get(self.distance, 1)

    def distance_in_words(self) -> str:
        """Returns the distance of two rows, such as `1 hour`."""
        if not self.form:
            return f"{self.distance:g}"
        if self.in_months:
            return _counted(self.distance, "month")
        unit, name = next(
            ((size, name) for size, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")) if self.distance >= size),
            (1.0, "second"),
        )
        return _counted(self.distance / unit, name)

    def text(self, time: float) -> str:
        """Returns a time as text."""
        return time_text(time, is_date=bool(self.form))

    def notes(self, *, cuts: bool) -> Iterator[str]:
        """Yields a note on missing and irregular time steps."""
        import numpy as np

        places = np.flatnonzero(self.is_long)
        if not len(places):
            return
        pairs = [f"{self.text(self.times[place - 1])} to {self.text(self.times[place])}" for place in places[:_NAMED].tolist()]
        more = f" and {len(places) - _NAMED:,} more" if len(places) > _NAMED else ""
        count = "1 step is" if len(places) == 1 else f"{len(places):,} steps are"
        lacking = f", {_counted(self.missing, 'time step')} missing" if self.missing else ""
        effect = "no window contains one" if cuts else "rows count as steps"
        yield f"{count} not {self.distance_in_words()} long{lacking}: {'; '.join(pairs)}{more}; {effect} (`time_gaps`)"


def _counted(count: float, name: str) -> str:
    return f"{count:g} {name}" + ("" if count == 1 else "s")


def time_text(time: float, *, is_date: bool) -> str:
    """Returns a time as text: a date, with the time of day if there is one, or a number."""
    if not is_date:
        return f"{time:.12g}"
    date = datetime.fromtimestamp(round(time), UTC)
    return date.strftime("%Y-%m-%d" if time % _DAY == 0 else "%Y-%m-%d %H:%M:%S")


def times_of(cells: Array, form: str, where: str) -> tuple[Array, str]:
    """Returns the times of cells float64 `(n,)`, and the format of dates, empty for numbers.

    Args:
        cells: texts `(n,)`, None for gaps.
        form: the format that the spec sets, or `auto`.
        where: the file and the column that errors name.

    Raises:
        DataError: a cell is empty, or neither a date nor a number.
    """
    import numpy as np

    gaps = np.flatnonzero(cells == None)  # noqa: E711  # of each cell
    if len(gaps):
        raise DataError(f"{where}: row {gaps[0] + 1} has no time")
    numbers = _numbers(cells) if form == "auto" else None
    if numbers is not None:
        return numbers, ""
    distinct = sorted(set(cells.tolist()))
    try:
        form = find_format(distinct) if form == "auto" else form
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    seconds = {text: _seconds(text, form) for text in distinct}
    wrong = next((text for text in distinct if seconds[text] is None), None)
    if wrong is not None:
        raise DataError(f"{where}: {wrong!r} is not a date of the format {form!r}")
    return np.array([seconds[text] for text in cells.tolist()], dtype="float64"), form


def time_of_setting(text: str, form: str, field: str) -> float:
    """Returns the time that a setting names, in the form of `Steps.times`.

    Raises:
        DataError: it is no time of this form.
    """
    with suppress(DataError, ValueError):
        if not form:
            return float(text)
        seconds = _seconds(text, form)
        seconds = _seconds(text, find_format([text])) if seconds is None else seconds
        if seconds is not None:
            return seconds
    raise DataError(f"data.source.{field}: {text!r} is not a time of the time column")


def _seconds(text: str, form: str) -> float | None:
    date = date_of(text, form)
    return None if date is None else (date - datetime(1970, 1, 1)).total_seconds()


def _numbers(cells: Array) -> Array | None:
    """Returns cells as numbers; None if one is none, or if all look like dates such as 20240131."""
    import numpy as np

    try:
        numbers = cells.astype("float64")
    except ValueError:
        return None
    are_dates = all(len(cell) == 8 and cell.isdecimal() and date_of(cell, "%Y%m%d") for cell in set(cells.tolist()))
    return None if are_dates or not np.isfinite(numbers).all() else numbers


def steps_of(times: Array, form: str, codes: Array) -> Steps:
    """Returns the steps of rows that are sorted by series and by time; `codes` is the number of each row's series."""
    import numpy as np

    same = np.diff(codes) == 0
    axis, in_months = _months(times, form)
    lengths = np.diff(axis)
    values, counts = np.unique(np.round(lengths[same], 6), return_counts=True)
    distance = float(values[counts.argmax()]) if len(values) else 1.0
    is_long = np.zeros(len(times), dtype=bool)
    is_long[1:] = same & (np.abs(lengths - distance) > 1e-6 * max(1.0, abs(distance)))
    ratio = lengths[is_long[1:]] / distance
    whole = ratio[(ratio > 1) & (np.abs(ratio - np.round(ratio)) < 1e-6)]
    return Steps(times, form, distance, is_long, int((np.round(whole) - 1).sum()), in_months)


def _months(times: Array, form: str) -> tuple[Array, bool]:
    """Returns times in months, and true, where all dates are on the same day of a month or the last; else the times."""
    import numpy as np

    if not form or len(times) < 3 or np.median(np.abs(np.diff(times))) < 28 * _DAY:
        return times, False
    days = times.astype("int64").astype("datetime64[s]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    day = (days - months).astype("int64")
    is_last = (days + 1).astype("datetime64[M]") != months
    if not (is_last.all() or len(np.unique(day)) == 1):
        return times, False
    return months.astype("int64").astype("float64"), True
