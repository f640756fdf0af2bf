"""Splits the rows of series by time, and finds the windows inside each split: no row is in windows of two splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING

from dlcli.errors import DataError
from dlcli.spec.data.sources.part_names import SPLITS

if TYPE_CHECKING:
    from dlcli.arrays import Array

NO_SPLIT = -1


@dataclass(frozen=True)
class WindowForm:
    """The form of windows: the steps that are read and forecast, from one window to the next, and between two splits."""

    window: int
    horizon: int
    stride: int = 1
    gap: int = 0

    @property
    def span(self) -> int:
        """The rows that a window covers, with the values to forecast."""
        return self.window + self.horizon


@dataclass(frozen=True)
class Bounds:
    """The first times that the validation and the test split forecast, and that of the rows that are not used.

    Attributes:
        validation: None without a validation split.
        test: None without a test split.
        end: None where all rows are used.
    """

    validation: float | None = None
    test: float | None = None
    end: float | None = None


def bounds_of(
    times: Array, validation: float | str, test: float | str, end: int | float | None, times_of: Sequence[float | None]
) -> Bounds:
    """Returns the bounds of the splits.

    Args:
        times: the time of each row.
        validation: a fraction of the time steps, their number, or a text for the first time, which is in `times_of`.
        test: likewise.
        end: the number of time steps to use; None for all, or where a time is set.
        times_of: the times that the settings `validation`, `test` and `end` name as texts.

    Raises:
        DataError: the settings leave no time steps for a split.
    """
    import numpy as np

    distinct = np.unique(times)
    used = len(distinct) if end is None else min(int(end), len(distinct))
    if times_of[2] is not None:
        used = int(np.searchsorted(distinct, times_of[2]))
    places, limit = {}, used
    for name, setting, time in (("test", test, times_of[1]), ("validation", validation, times_of[0])):
        if time is None and not setting:
            continue
        if time is not None:
            first = int(np.searchsorted(distinct, time))
        else:
            assert not isinstance(setting, str)
            first = limit - (max(1, round(setting * used)) if setting < 1 else int(setting))
        if not 0 < first < limit:
            raise DataError(f"data.source.{name}: {setting} leaves no time steps for a split; the file has {used:,} to use")
        places[name] = limit = first
    first_times = {name: float(distinct[place]) for name, place in places.items()}
    return Bounds(
        first_times.get("validation"), first_times.get("test"), float(distinct[used]) if used < len(distinct) else None
    )


def row_splits(codes: Array, times: Array, bounds: Bounds, form: WindowForm) -> Array:
    """Returns the split of each row, as its place in `SPLITS`, or `NO_SPLIT`, int64 `(rows,)`.

    The rows of a split are those that it forecasts and the window before them, which are in no earlier split.

    Args:
        codes: the number of each row's series, rising.
        times: the time of each row, rising in each series.
        bounds: the first times of the splits.
        form: the form of the windows.
    """
    import numpy as np

    splits = np.full(len(codes), NO_SPLIT)
    edges = np.flatnonzero(np.diff(codes)) + 1
    for low, high in zip([0, *edges.tolist()], [*edges.tolist(), len(codes)], strict=True):
        own = times[low:high]
        limit = high if bounds.end is None else low + int(np.searchsorted(own, bounds.end))
        last = limit
        for name, bound in (("test", bounds.test), ("validation", bounds.validation)):
            first = last if bound is None else low + int(np.searchsorted(own, bound))
            if first >= last:  # the series has no such time
                continue
            begin = max(low, first - form.window)
            splits[begin : max(begin, limit)] = SPLITS.index(name)
            limit = min(limit, begin - form.gap)
        splits[low : max(low, limit)] = SPLITS.index("train")
    return splits


def window_starts(splits: Array, breaks: Array, is_read: Array, is_forecast: Array, form: WindowForm) -> dict[str, Array]:
    """Returns the first row of each window of each split, int64 `(n,)`.

    Args:
        splits: the split of each row.
        breaks: whether no window may cross from the row before to a row, bool `(rows,)`.
        is_read: whether a row can be read, bool `(rows,)`.
        is_forecast: whether a row has values to forecast, bool `(rows,)`.
        form: the form of the windows.
    """
    import numpy as np

    rows, span = len(splits), form.span
    if rows < span:
        return {name: np.zeros(0, dtype="int64") for name in SPLITS}
    begins = breaks.copy()
    begins[0] = True
    begins[1:] |= np.diff(splits) != 0
    piece = np.cumsum(begins) - 1
    starts = np.arange(rows - span + 1)
    is_whole = piece[starts] == piece[starts + span - 1]
    in_stride = (starts - np.flatnonzero(begins)[piece[starts]]) % form.stride == 0
    gaps = np.concatenate([[0], np.cumsum(~is_read)])
    lacking = np.concatenate([[0], np.cumsum(~is_forecast)])
    is_complete = (gaps[starts + form.window] == gaps[starts]) & (lacking[starts + span] == lacking[starts + form.window])
    chosen = starts[is_whole & in_stride & is_complete]
    return {name: chosen[splits[chosen] == place] for place, name in enumerate(SPLITS)}


def time_blocks(times: Array, form: WindowForm) -> Array:
    """Returns the number of the block of each window, by the time of its forecast, int64 `(n,)`.

    Windows of different blocks are nearly independent: a block has twice the steps of the horizon, or the root of the number of
    times if that is more. Windows of several series with one time are in one block.
    """
    import numpy as np

    distinct, ranks = np.unique(times, return_inverse=True)
    length = max(ceil(2 * form.horizon / form.stride), ceil(sqrt(len(distinct))))
    return np.minimum(ranks // length, max(1, len(distinct) // length) - 1)
