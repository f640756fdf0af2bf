"""Series of numbers in memory: those that end earlier are padded with NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.runtime.inputs import Arrays, Inputs


class PaddedSeries(Arrays):
    """Series float32 `(n, steps, channels)` of different lengths: all channels of the steps after an end are NaN."""

    @property
    def is_padded(self) -> bool:
        """True: also where those of one split have the same length."""
        return True

    def scale(self, normalize: str) -> tuple[Array, Array]:
        """Returns the offset and the divisor of each channel, without the padding."""
        values = self.values.reshape(-1, self.values.shape[-1])
        return Arrays(values[~np.isnan(values).any(axis=1)]).scale(normalize)


def lengths_of(values: Array) -> Array:
    """Returns the number of steps of each series `(n, steps, channels)`, int64 `(n,)`: up to the last one with a number."""
    has_number: Array = np.logical_not(np.isnan(values).all(axis=2))
    last = values.shape[1] - np.argmax(has_number[:, ::-1], axis=1)
    return np.where(has_number.any(axis=1), last, 0).astype("int64")


def is_incomplete(values: Array) -> Array:
    """Returns which series `(n, steps, channels)` have no step, or a value before their end that is NaN or infinite."""
    lengths = lengths_of(values)
    before_end = np.arange(values.shape[1]) < lengths[:, None]
    wrong: Array = np.logical_not(np.isfinite(values).all(axis=2))
    return np.asarray((wrong & before_end).any(axis=1) | (lengths == 0))


def is_not_finite(values: Array) -> Array:
    """Returns which examples `(n, ...)` have a value that is NaN or infinite."""
    return np.asarray(np.logical_not(np.isfinite(values).reshape(len(values), -1).all(axis=1)))


def padded(series: Sequence[Array], steps: int) -> Array:
    """Returns series `(steps_i, channels)` as one array float32 `(n, steps, channels)`, with NaN after their ends.

    Raises:
        DataError: a series has more steps.
    """
    longest = max((len(values) for values in series), default=0)
    if longest > steps:
        raise DataError(f"holds a series of {longest:,} steps; the model takes at most {steps:,}")
    channels = series[0].shape[1] if series else 1
    values = np.full((len(series), steps, channels), np.nan, dtype="float32")
    for row, steps_of_row in zip(values, series, strict=True):
        row[: len(steps_of_row)] = steps_of_row
    return values


def filled_series(fitted: Inputs, series: Inputs) -> Array:
    """Returns padded series as rows float32 `(n, steps * channels)`; padding has the mean of its channel in `fitted`."""
    means = fitted.scale("standard")[0].astype("float32")
    values = series.read(np.arange(len(series)))
    return np.asarray(np.where(np.isnan(values), means, values).reshape(len(values), -1))
