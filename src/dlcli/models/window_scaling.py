"""Windows that are scaled by their own values, inside the model: raw windows go in, forecasts in the targets' units come out.

The level of a series may drift, so that scaling by the training split alone leaves other values than those of the training.
The level is the last value (`window_last`) or the mean of the window (`window_standard`, which also divides by its deviation),
or the mean and the deviation of its series in training, which the window has as channels. Only measured channels have a level.
What remains is scaled by the training split, for inputs as for targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.engine import keras
from dlcli.runtime.inputs import Inputs, not_zero
from dlcli.runtime.windows import Windows
from dlcli.spec.data.sources import Examples

_FLOOR = 0.01
"""The smallest deviation of a window, as a fraction of that of the channel in the training split."""


@dataclass(frozen=True)
class ScaledWindows:
    """Windows without their level.

    Attributes:
        windows: `(batch, window, channels)`, without the channels of scales.
        level: the level of each target `(batch, targets)`.
        spread: the deviation of each target `(batch, targets)`; None where only the level is removed.
    """

    windows: Any
    level: Any
    spread: Any

    def restored(self, outputs: Any) -> Any:
        """Returns outputs `(batch, columns)` with the level of the windows; targets alternate in the columns."""
        count = int(outputs.shape[-1]) // int(self.level.shape[-1])
        scaled = outputs if self.spread is None else outputs * keras.ops.tile(self.spread, (1, count))
        return scaled + keras.ops.tile(self.level, (1, count))

    def without_level(self, values: Array) -> Array:
        """Returns targets `(n, columns)`, float64, without the level of the windows."""
        count = values.shape[1] // int(self.level.shape[-1])
        changes = values.astype("float64") - np.tile(np.asarray(self.level, dtype="float64"), (1, count))
        if self.spread is not None:
            changes = changes / np.tile(np.asarray(self.spread, dtype="float64"), (1, count))
        return np.asarray(changes)


def scales_windows(inputs: Inputs, normalize: str) -> bool:
    """Whether the windows are scaled by their own values."""
    return isinstance(inputs, Windows) and (normalize.startswith("window_") or bool(inputs.scales))


def scaled_windows(tensor: Any, inputs: Windows, normalize: str) -> ScaledWindows:
    """Returns windows without their level.

    Args:
        tensor: raw windows `(batch, window, channels)`, of Keras or NumPy.
        inputs: the windows of the training split.
        normalize: `window_last` or `window_standard`; else they are scaled by their series.
    """
    ops, count = keras.ops, inputs.measured
    channels = int(tensor.shape[-1]) - (2 * count if inputs.scales else 0)
    measured, others = tensor[:, :, :count], tensor[:, :, count:channels]
    spread = None
    if normalize == "window_last":
        level = measured[:, -1:, :]
    elif normalize == "window_standard":
        level = ops.mean(measured, axis=1, keepdims=True)
        floor = _FLOOR * inputs.scale("standard")[1][:count].astype("float32")
        spread = ops.maximum(ops.std(measured, axis=1, keepdims=True), floor)
    else:
        level, spread = tensor[:, -1:, channels : channels + count], tensor[:, -1:, channels + count :]
    scaled = measured - level if spread is None else (measured - level) / spread
    windows = ops.concatenate([scaled, others], axis=-1) if channels > count else scaled
    targets = inputs.targets
    return ScaledWindows(windows, level[:, 0, :targets], None if spread is None else spread[:, 0, :targets])


def window_normalization(inputs: Windows, normalize: str) -> Any:
    """Returns the Keras layer that scales windows without level to mean 0 and deviation 1 on the training split."""
    sample = inputs.read(inputs.sampled())
    values = np.asarray(scaled_windows(sample, inputs, normalize).windows, dtype="float64")
    mean, deviation = values.mean(axis=(0, 1)), not_zero(values.std(axis=(0, 1)))
    return keras.layers.Normalization(mean=mean, variance=deviation**2, name="normalize", dtype="float32")


def window_changes(train: Examples, normalize: str) -> tuple[Array, Array, Array]:
    """Returns mean and deviation of each target without level, and its deviation in the unit of the target.

    The last one is the same for all steps of a target, so that they have equal weight in the loss.

    Args:
        train: the training split, whose inputs are `Windows`.
        normalize: how windows are scaled.
    """
    inputs = train.inputs
    assert isinstance(inputs, Windows)
    places = inputs.sampled()
    targets = train.targets[places].astype("float64")
    scaled = scaled_windows(inputs.read(places), inputs, normalize)
    changes = scaled.without_level(targets)
    mean, deviation = changes.mean(axis=0), changes.std(axis=0)
    count = targets.shape[1] // inputs.targets
    raw = targets - np.tile(np.asarray(scaled.level, dtype="float64"), (1, count))
    spread = np.sqrt((raw**2).reshape(len(raw), count, inputs.targets).mean(axis=(0, 1)))
    return mean, not_zero(deviation), not_zero(np.tile(spread, count))
