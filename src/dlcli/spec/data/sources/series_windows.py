"""The windows of a series source: its rows as one array of channels, and the examples of each split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlcli.errors import DataError
from dlcli.spec.data.sources.base import Examples, Opened
from dlcli.spec.data.sources.part_names import SPLITS
from dlcli.spec.data.sources.series_rows import SeriesRows, names_in_words, read_rows
from dlcli.spec.data.sources.series_splits import (
    NO_SPLIT,
    Bounds,
    WindowForm,
    bounds_of,
    row_splits,
    time_blocks,
    window_starts,
)
from dlcli.spec.data.sources.series_steps import time_of_setting
from dlcli.visible import listed

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.windows import Windows
    from dlcli.spec.data.sources.series import Series
    from dlcli.tasks.forecasts import Forecasts

Scales = Mapping[str, list[list[float]]]
"""The means and the deviations of the measured columns of each series in the training split."""


def open_series(source: Series, output: Forecasts, scales: Scales) -> Opened:
    """Returns the windows of each split.

    Args:
        source: the source.
        output: the output type, which has the columns to forecast.
        scales: those of the run whose source this is; empty to compute them.

    Raises:
        DataError: the file cannot be read, has gaps or cells that are no numbers, or a split has no windows.
    """
    rows = read_rows(source)
    form, bounds = form_of(source), _bounds(source, rows)
    splits = row_splits(rows.codes, rows.steps.times, bounds, form)
    channels = Channels.of(source, rows, splits, scales)
    starts = window_starts(splits, _breaks(source, rows), channels.is_read, channels.is_forecast, form)
    parts = {}
    for name in SPLITS:
        if len(starts[name]):
            parts[name] = _examples(name, starts[name], rows, channels, source, output)
        elif name == "train" or getattr(source, name):
            raise DataError(_no_windows(source, name, int((splits == SPLITS.index(name)).sum())))
    lines = (f"table: {rows.described}", *_lines(source, rows, parts, splits))
    notes = (*rows.notes, *rows.steps.notes(cuts=source.time_gaps == "cut"), *channels.notes(source))
    return Opened(parts, output.column_names(), notes, lines)


def form_of(source: Series) -> WindowForm:
    """Returns the form of the source's windows."""
    return WindowForm(source.window, source.horizon, source.stride, source.gap)


def training_scales(source: Series) -> dict[str, list[list[float]]]:
    """Returns the scale of each series in the training split of a source.

    Raises:
        DataError: the file cannot be read.
    """
    rows = read_rows(source)
    splits = row_splits(rows.codes, rows.steps.times, _bounds(source, rows), form_of(source))
    return _scales_of(source, rows, splits)


def _bounds(source: Series, rows: SeriesRows) -> Bounds:
    settings: dict[str, Any] = {name: getattr(source, name) for name in ("validation", "test", "end")}
    times = [
        time_of_setting(value, rows.steps.form, name) if isinstance(value, str) else None for name, value in settings.items()
    ]
    end = None if isinstance(source.end, str) else source.end
    return bounds_of(rows.steps.times, source.validation, source.test, end, times)


def _breaks(source: Series, rows: SeriesRows) -> Array:
    """Returns whether no window may cross from the row before to a row: to another series, or over a gap in time."""
    import numpy as np

    breaks = np.zeros(len(rows), dtype=bool)
    breaks[1:] = np.diff(rows.codes) != 0
    return breaks | rows.steps.is_long if source.time_gaps == "cut" else breaks


@dataclass(frozen=True)
class Channels:
    """The channels of all rows.

    Attributes:
        values: float32 `(rows, channels)`: measured columns, known ones, known ones `horizon` steps ahead, static ones, and
            means and deviations of the measured ones where series are scaled.
        targets: the values to forecast, float32 `(rows, targets)`, NaN for gaps.
        measured: the number of measured columns.
        scales: the scale of each series; empty where series are not scaled by themselves.
        missing: the number of empty cells by column.
        names: the names of the channels.
    """

    values: Array
    targets: Array
    measured: int
    scales: Scales
    missing: Mapping[str, int]
    names: tuple[str, ...]

    @classmethod
    def of(cls, source: Series, rows: SeriesRows, splits: Array, scales: Scales, *, for_forecast: bool = False) -> Channels:
        """Returns the channels of rows.

        Args:
            source: the source.
            rows: its rows.
            splits: the split of each row.
            scales: the scales of series that are known; empty to compute them.
            for_forecast: whether the rows are only read to forecast what follows, and may end with empty cells.

        Raises:
            DataError: there are empty cells, which the source refuses, or a series without a scale.
        """
        import numpy as np

        measured = source.measured(rows.columns)
        used = splits != NO_SPLIT
        columns = [*measured, *source.known, *source.static]
        missing = {name: int(np.isnan(rows.numbers[name][used]).sum()) for name in columns}
        missing = {name: count for name, count in missing.items() if count}
        if missing and source.missing_values == "stop" and not for_forecast:
            counts = listed([f"`{name}` {count:,}" for name, count in missing.items()])
            remedy = "set `missing_values: previous` or `drop`"
            raise DataError(f"{source.path}: empty cells in the time steps that are used: {counts}; {remedy}")
        read = rows.table(measured)
        known, static = rows.table(source.known), rows.table(source.static)
        if source.missing_values == "previous" and not for_forecast:
            read, known = _filled(read, rows.codes), _filled(known, rows.codes)
        parts = [read, known, _ahead(known, rows.codes, source.horizon), _constant(source, static, rows)]
        scales = (scales or _scales_of(source, rows, splits)) if source.scale_by_entity else {}
        names = [*measured, *source.known, *(f"{name}+{source.horizon}" for name in source.known), *source.static]
        if scales:
            parts.append(_scale_channels(source, rows, scales))
            names += [f"{what} of {name}" for what in ("mean", "deviation") for name in measured]
        values, targets = np.concatenate(parts, axis=1), rows.table(source.targets)
        return cls(values, targets, len(measured), scales, missing, tuple(names))

    @property
    def is_read(self) -> Array:
        """Whether a row can be read."""
        import numpy as np

        return np.asarray(~np.isnan(self.values).any(axis=1))

    @property
    def is_forecast(self) -> Array:
        """Whether a row has values to forecast."""
        import numpy as np

        return np.asarray(~np.isnan(self.targets).any(axis=1))

    def notes(self, source: Series) -> Iterator[str]:
        """Yields a note on empty cells."""
        if self.missing:
            counts = listed([f"`{name}` {count:,}" for name, count in self.missing.items()])
            effect = {"previous": "the previous value is read", "drop": "windows with them are omitted"}
            yield f"empty cells: {counts}; {effect.get(source.missing_values, 'they are not read')}"

    def windows(self, starts: Array, source: Series, firsts: Array | None) -> Windows:
        """Returns windows by their first rows."""
        from dlcli.runtime.windows import Windows

        return Windows(
            series=self.values,
            starts=starts,
            window=source.window,
            horizon=source.horizon,
            targets=len(source.targets),
            measured=self.measured,
            firsts=firsts,
            season=1 if source.season == "auto" else source.season,
            scales=self.scales,
            names=self.names,
        )


def _filled(values: Array, codes: Array) -> Array:
    """Returns values with each gap replaced by the value before it in its series."""
    import numpy as np

    firsts = np.searchsorted(codes, np.arange(codes.max() + 1))[codes]
    filled = values.copy()
    for column in filled.T:
        places = np.where(np.isnan(column), -1, np.arange(len(column)))
        last = np.maximum.accumulate(places)
        has_value = last >= firsts
        column[:] = np.where(has_value, column[np.maximum(last, 0)], np.nan)
    return filled


def _ahead(known: Array, codes: Array, horizon: int) -> Array:
    """Returns known columns `horizon` steps ahead, NaN at the end of each series."""
    import numpy as np

    ahead = np.full_like(known, np.nan)
    same = codes[horizon:] == codes[:-horizon]
    ahead[:-horizon][same] = known[horizon:][same]
    return ahead


def _constant(source: Series, static: Array, rows: SeriesRows) -> Array:
    """Returns static columns.

    Raises:
        DataError: a series has two values.
    """
    import numpy as np

    rows_and_columns = np.argwhere((np.diff(rows.codes) == 0)[:, None] & (static[1:] != static[:-1]))
    if len(rows_and_columns):
        row, column = map(int, rows_and_columns[0])
        raise DataError(
            f"{source.path}: the static column `{source.static[column]}` changes at {rows.row_name(row + 1)}; list it in"
            " `known` or `features`"
        )
    return static


def _scales_of(source: Series, rows: SeriesRows, splits: Array) -> dict[str, list[list[float]]]:
    import numpy as np

    if not source.scale_by_entity:
        return {}
    values = rows.table(source.measured(rows.columns)).astype("float64")
    scales = {}
    for code, name in enumerate(rows.names):
        own = values[(rows.codes == code) & (splits == SPLITS.index("train"))]
        own = own[~np.isnan(own).any(axis=1)]
        if not len(own):
            raise DataError(f"{source.path}: series {name!r} has no rows in the training split by which it could be scaled")
        deviations = own.std(axis=0)
        scales[name] = [own.mean(axis=0).tolist(), np.where(deviations > 0, deviations, 1.0).tolist()]
    return scales


def _scale_channels(source: Series, rows: SeriesRows, scales: Scales) -> Array:
    import numpy as np

    unknown = [name for name in rows.names if name not in scales]
    if unknown:
        raise DataError(f"{source.path}: the training split has no series {listed(unknown)}, so their scale is not known")
    table = np.array([[*scales[name][0], *scales[name][1]] for name in rows.names], dtype="float32")
    return table[rows.codes]


def _examples(part: str, starts: Array, rows: SeriesRows, channels: Channels, source: Series, output: Forecasts) -> Examples:
    import numpy as np

    firsts = np.searchsorted(rows.codes, rows.codes[starts])
    last = starts + source.window - 1
    steps = channels.targets[(last + 1)[:, None] + np.arange(source.horizon)].reshape(len(starts), -1)
    targets = np.tile(steps, (1, len(output.blocks)))
    blocks = time_blocks(rows.steps.times[last], form_of(source))
    width = len(str(int(blocks.max())))
    groups = np.array([f"{part}/{block:0{width}d}" for block in blocks.tolist()], dtype=object)
    ids = [rows.row_name(row) for row in last.tolist()]
    return Examples(channels.windows(starts, source, firsts), targets, ids, groups=groups)


def _no_windows(source: Series, name: str, rows: int) -> str:
    span = source.window + source.horizon
    remedy = "" if name == "train" else f"; set `{name}` to more time steps"
    remedy += f": the test split reads the {source.window:,} before it" if name == "validation" and source.test else ""
    return (
        f"{source.path}: the {name} split has no windows: window and horizon need {span:,} rows in sequence without gaps, and"
        f" it has {rows:,} rows{remedy}"
    )


def _lines(source: Series, rows: SeriesRows, parts: Mapping[str, Examples], splits: Array) -> Iterator[str]:
    """Yields lines for the log: the series, and the time steps and windows of each split."""
    import numpy as np

    distance = "" if source.time is None else f", one row each {rows.steps.distance_in_words()}"
    season = "" if source.season in ("auto", 1) else f", a season of {source.season} steps"
    yield f"series: {names_in_words(rows.names)}, {len(rows):,} rows{distance}{season}"
    texts = []
    for name, examples in parts.items():
        times = rows.steps.times[np.flatnonzero(splits == SPLITS.index(name))]
        span = f"{rows.steps.text(float(times.min()))} to {rows.steps.text(float(times.max()))}"
        texts.append(f"{name} {span} ({len(examples):,} windows)")
    yield f"split by time: {', '.join(texts)}"
    unused = int((splits == NO_SPLIT).sum())
    if unused:
        yield f"rows in no split, by `end` or `gap`: {unused:,}"


@dataclass(frozen=True)
class LastWindows:
    """The last window of each series, from which the steps behind the end of a file are forecast.

    Attributes:
        ids: the series and the time of the last step of each window.
        windows: the windows.
        skipped: the name of each series without such a window, and the reason.
        notes: remarks on the file.
    """

    ids: list[str]
    windows: Windows
    skipped: dict[str, str]
    notes: tuple[str, ...] = ()


def last_windows(source: Series, scales: Scales) -> LastWindows:
    """Returns the last window of each series of the source's file: it ends with the last row that has all measured values.

    Raises:
        DataError: the file cannot be read.
    """
    import numpy as np

    rows = read_rows(source)
    splits = np.zeros(len(rows), dtype="int64")
    channels = Channels.of(source, rows, splits, scales, for_forecast=True)
    has_values = np.asarray(~np.isnan(rows.table(source.measured(rows.columns))).any(axis=1))
    starts, skipped = [], {}
    for code, name in enumerate(rows.names):
        low, high = (int(place) for place in np.searchsorted(rows.codes, [code, code + 1]))
        complete = np.flatnonzero(has_values[low:high])
        end = low + int(complete[-1]) + 1 if len(complete) else low
        reason = _reason_against(source, channels, low, end, high)
        if reason:
            skipped[name or source.path] = reason
        else:
            starts.append(end - source.window)
    ids = [rows.row_name(start + source.window - 1) for start in starts]
    windows = channels.windows(np.array(starts, dtype="int64"), source, None)
    return LastWindows(ids, windows, skipped, (*rows.notes, *rows.steps.notes(cuts=False)))


def _reason_against(source: Series, channels: Channels, low: int, end: int, high: int) -> str:
    """Returns why the rows of a series up to `end` cannot be forecast from; empty if they can."""
    import numpy as np

    if end - low < source.window:
        return f"has {end - low:,} rows with values, and the model reads {source.window:,}"
    if source.known and high - end < source.horizon:
        return (
            f"has {high - end:,} rows behind its last value, and the known columns ({listed(source.known)}) need"
            f" {source.horizon:,}"
        )
    if np.isnan(channels.values[end - source.window : end]).any():
        return f"has empty cells in its last {source.window:,} rows"
    return ""
