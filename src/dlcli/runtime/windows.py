"""Windows over series as inputs: one array of all time steps, and the first step of each window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar, Self

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.inputs import Inputs, Kind, array_bytes, not_zero

_KEY_STEPS = 16
"""Steps at the end of a window that are its key."""
_MOST_SAMPLED = 2048
"""Windows by which their own scaling is fitted."""


@dataclass(frozen=True, eq=False)
class Windows(Inputs):
    """Windows of equal length over series, gathered from one array: the memory follows the series, not the windows.

    Channels are the targets, then other measured columns, then columns that are known in advance or constant.

    >>> series = np.arange(12, dtype="float32").reshape(6, 2)
    >>> windows = Windows(series, np.array([0, 2]), 3, horizon=1, targets=1, measured=2)
    >>> windows.shape, windows.read(np.array([1]))[0].tolist()
    ((3, 2), [[4.0, 5.0], [6.0, 7.0], [8.0, 9.0]])
    >>> windows.own_past(4)[1].tolist()
    [[2.0], [4.0], [6.0], [8.0]]

    Attributes:
        series: all time steps of all series, one series after the other, float32 `(rows, channels)`.
        starts: the first row of each window, int64 `(n,)`.
        window: the steps of a window.
        horizon: the steps behind a window that are forecast.
        targets: the number of leading channels that are forecast.
        measured: the number of leading channels that are measured: their own level may be taken from a window.
        firsts: the first row of the series of each window, int64 `(n,)`; None where only the windows are known.
        season: the steps of a season; 1 without one.
        scales: the mean and the deviation of each measured channel by entity, where windows are scaled by them; their last
            `2 * measured` channels then hold them.
        names: the names of the channels; empty: their numbers from 0.
    """

    series: Array
    starts: Array
    window: int
    horizon: int
    targets: int
    measured: int
    firsts: Array | None = None
    season: int = 1
    scales: Mapping[str, list[list[float]]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    kind: ClassVar[Kind] = "arrays"

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def shape(self) -> tuple[int, ...]:
        """The steps and the channels of a window."""
        return self.window, int(self.series.shape[1])

    @property
    def memory_bytes(self) -> int:
        """The bytes of the series and of the starts."""
        return int(self.series.nbytes + self.starts.nbytes)

    @property
    def dtype_name(self) -> str:
        """The type of the values."""
        return str(self.series.dtype)

    @property
    def entity_scales(self) -> Mapping[str, list[list[float]]]:
        """The scale of each series."""
        return self.scales

    @property
    def gathers(self) -> bool:
        """True: windows are gathered from memory."""
        return True

    def take(self, places: Array) -> Self:
        """Returns the windows at the given places, over the same array."""
        firsts = None if self.firsts is None else self.firsts[places]
        return replace(self, starts=self.starts[places], firsts=firsts)

    def read(self, places: Array) -> Array:
        """Returns the windows at the given places, float32 `(n, window, channels)`."""
        windows: Array = self.series[self.starts[places][:, None] + np.arange(self.window)]
        return windows

    def reader(self) -> Callable[[Any], Any]:
        """Returns a function from indices to a batch of windows."""
        from dlcli.runtime.engine import tf
        from dlcli.runtime.stream import on_host

        series, starts = on_host(self.series), on_host(self.starts.astype("int64"))
        steps = on_host(np.arange(self.window, dtype="int64"))
        return lambda indices: tf.gather(series, tf.gather(starts, indices)[:, None] + steps)

    def keys(self, places: Array) -> list[Any]:
        """Returns the bytes of the last steps of each window."""
        steps = np.arange(max(0, self.window - _KEY_STEPS), self.window)
        last = np.ascontiguousarray(self.series[self.starts[places][:, None] + steps]).reshape(len(places), -1)
        return list(last.view(np.dtype((np.void, last.itemsize * last.shape[1]))).ravel().tolist())

    def digest(self, place: int) -> bytes:
        """Returns a digest of a window's bytes."""
        return blake2b(self.read(np.array([place])).tobytes()).digest()

    def content(self) -> Iterator[tuple[str, bytes | memoryview]]:
        """Yields the bytes of the series and of the starts."""
        yield "series", array_bytes(self.series)
        yield "starts", array_bytes(self.starts)

    def table(self) -> dict[str, Array]:
        """Returns the last step of each window as columns, by the names of the channels."""
        last = self.series[self.starts + self.window - 1]
        names = self.names or tuple(map(str, range(last.shape[1])))
        return dict(zip(names, last.T, strict=True))

    def scale(self, normalize: str) -> tuple[Array, Array]:
        """Returns offset and divisor of each channel over the time steps that the windows cover, each counted once."""
        values = self.series[self.covered].astype("float64")
        if normalize == "standard":
            return values.mean(axis=0), not_zero(values.std(axis=0))
        low, high = values.min(axis=0), values.max(axis=0)
        if normalize == "unit":
            return low, not_zero(high - low)
        return (low + high) / 2, not_zero((high - low) / 2)

    @cached_property
    def covered(self) -> Array:
        """Which rows of the series are in a window, bool `(rows,)`."""
        changes = np.zeros(len(self.series) + 1, dtype="int64")
        np.add.at(changes, self.starts, 1)
        np.add.at(changes, self.starts + self.window, -1)
        return np.asarray(np.cumsum(changes[:-1]) > 0)

    def sampled(self) -> Array:
        """Returns the places of at most 2,048 windows, evenly spaced, int64 `(m,)`."""
        return np.unique(np.linspace(0, len(self) - 1, min(len(self), _MOST_SAMPLED)).astype("int64"))

    def own_past(self, steps: int) -> Array:
        """Returns the last steps of the targets up to the end of each window, float32 `(n, steps, targets)`.

        They may begin before the window; steps before the beginning of the series are NaN.
        """
        rows = (self.starts + self.window)[:, None] + np.arange(-steps, 0)
        first = self.starts if self.firsts is None else self.firsts
        past = self.series[np.maximum(rows, 0), : self.targets]
        return np.asarray(np.where((rows >= first[:, None])[..., None], past, np.nan), dtype="float32")
