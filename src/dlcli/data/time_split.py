"""Splits by time: the latest examples are the test split, those before it the validation split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from dlcli.arrays import Array
from dlcli.data.side_columns import refuse_gaps, side_column, texts
from dlcli.errors import DataError
from dlcli.spec.data.sources import Examples
from dlcli.spec.data.sources.table.dates import date_of, find_format
from dlcli.spec.data.split import TimeSettings

SETTING = "data.split.time"
_DAY = 86400.0


@dataclass(frozen=True)
class TimeSplit:
    """A split by time.

    Attributes:
        places: the places of the examples of each split, int64 `(n,)`.
        gap: the number of examples in the gaps, which are in no split.
    """

    places: dict[str, Array]
    gap: int


def divided_by_time(examples: Examples, settings: TimeSettings, shares: Mapping[str, float]) -> TimeSplit:
    """Returns the examples divided by their times; examples of one time are in one split.

    A split begins at a time: that with which its examples are nearest to its share. The examples of the earlier split whose
    distance to that time is at most the gap, or below it if it is 0, are in no split.

    Args:
        examples: the examples to divide.
        settings: the column of times, and the gap.
        shares: the shares of `validation` and `test`; one may be missing.

    Raises:
        DataError: an example has no time, a value is neither date nor number, or a split has no examples.
    """
    times, _ = times_of(examples, settings)
    splits = [name for name in ("validation", "test") if shares.get(name)]
    starts = _starts(times, [shares[name] for name in splits])
    names = np.array(["train", *splits], dtype=object)[np.searchsorted(starts, times, side="right")]
    in_gap = np.zeros(len(times), dtype=bool)
    for start in starts:
        in_gap |= (times < start) & (start - times <= settings.gap)
    places = {name: np.flatnonzero((names == name) & ~in_gap) for name in ("train", *splits)}
    empty = next((name for name, chosen in places.items() if not len(chosen)), None)
    if empty is not None:
        where = f" outside the gap of {settings.gap:g}" if in_gap.any() else ""
        raise DataError(f"{SETTING}: the {empty} split has no examples{where}; `{settings.column}` has {_distinct(times)}")
    return TimeSplit(places, int(in_gap.sum()))


def _distinct(times: Array) -> str:
    count = len(np.unique(times))
    return "one value" if count == 1 else f"{count:,} different values"


def _starts(times: Array, shares: list[float]) -> Array:
    """Returns the times at which the splits begin, in their order: nearest to the shares, and different from each other."""
    values, counts = np.unique(times, return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])[:-1] / len(times)
    starts: list[int] = []
    share, last = 0.0, len(values)
    for part in reversed(shares):
        share += part
        last = min(last - 1, int(np.argmin(np.abs(before - (1 - share)))))
        starts.insert(0, last)
    if min(starts, default=1) < 1:
        raise DataError(f"{SETTING}: {_distinct(times)} cannot be divided into {len(shares) + 1} splits")
    return np.asarray(values[starts])


def times_of(examples: Examples, settings: TimeSettings) -> tuple[Array, bool]:
    """Returns the time of each example float64 `(n,)`, and whether they are dates: days since 1970 instead of numbers.

    Raises:
        DataError: an example has no time, or a value is neither a date nor a number.
    """
    column = side_column(examples, settings.column, SETTING)
    if column.dtype.kind == "M":
        days = column.astype("datetime64[us]").astype("float64") / (_DAY * 1e6)
        gaps = [None if lacks else 0 for lacks in np.isnat(column)]
        refuse_gaps(gaps, examples.ids, SETTING, f"value of `{settings.column}`")
        return days, True
    cells = texts(column)
    refuse_gaps(cells, examples.ids, SETTING, f"value of `{settings.column}`")
    values = [cell for cell in cells if cell is not None]
    numbers = None if settings.format != "auto" else _numbers(values)
    return (numbers, False) if numbers is not None else (_days(values, examples.ids, settings), True)


def time_in_words(time: float, *, is_date: bool) -> str:
    """Returns a time as text: a date, with the time of day if there is one, or a number."""
    if not is_date:
        return f"{time:.12g}"
    date = datetime(1970, 1, 1) + timedelta(seconds=round(time * _DAY))
    return date.strftime("%Y-%m-%d" if time % 1 == 0 else "%Y-%m-%d %H:%M:%S")


def _numbers(cells: list[str]) -> Array | None:
    """Returns the cells as numbers; None if one is none, or if all look like dates such as 20240131."""
    try:
        numbers = np.array([float(cell) for cell in cells])
    except ValueError:
        return None
    are_dates = all(len(cell) == 8 and cell.isdecimal() and date_of(cell, "%Y%m%d") for cell in set(cells))
    return None if are_dates or not np.isfinite(numbers).all() else numbers


def _days(cells: list[str], ids: Sequence[str], settings: TimeSettings) -> Array:
    distinct = sorted(set(cells))
    try:
        form = find_format(distinct) if settings.format == "auto" else settings.format
    except DataError as error:
        raise DataError(f"{SETTING}: column `{settings.column}`: {error}") from None
    dates = {cell: date_of(cell, form) for cell in distinct}
    wrong = next((place for place, cell in enumerate(cells) if dates[cell] is None), None)
    if wrong is not None:
        raise DataError(f"{SETTING}: {ids[wrong]}: {cells[wrong]!r} is not a date of the format {form!r}")
    days = {cell: (date - datetime(1970, 1, 1)).total_seconds() / _DAY for cell, date in dates.items() if date is not None}
    return np.array([days[cell] for cell in cells])
