"""The scale of a regression's targets: the network learns them at mean 0 and deviation 1 and predicts in their own units.

The scaling is undone inside the model, behind the output layer, so that labels, predictions, loss and metrics are in natural
units everywhere. The minimised loss is the same, but each target's share is divided by the loss of an error of one deviation:
gradients are those of standardised targets, and targets of different scales have equal weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.splits import Splits
from dlcli.models.window_scaling import scales_windows, window_changes
from dlcli.runtime.engine import keras
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.backbones.base import TARGET_UNITS
from dlcli.spec.training.losses import LossSpec

MOST_NAMED = 3


@dataclass(frozen=True)
class TargetScale:
    """Mean and deviation of each target in the training split, float64 `(targets,)`; the deviation of a constant target is 1.

    With `is_positive` the deviation is at most a third of the mean: the loss has no gradient for predictions below 0, and a
    network that starts with many such predictions never learns those examples.

    Of windows that are scaled by themselves they are those of the targets without the level of the window, and `unit` is the
    deviation in the units of the targets.
    """

    mean: Array
    deviation: Array
    is_positive: bool = False
    unit: Array | None = None

    def restored(self, tensor: Any) -> Any:
        """Returns scaled outputs `(batch, targets)` in the units of the targets, in float32 also under mixed precision."""
        layer = keras.layers.Rescaling
        return layer(self.deviation.tolist(), self.mean.tolist(), name=TARGET_UNITS, dtype="float32")(tensor)

    def standardised(self, values: Any) -> Any:
        """Returns targets or predictions `(batch, targets)` at mean 0 and deviation 1."""
        return (values - self.mean.astype("float32")) / self.deviation.astype("float32")

    def weighted(self, loss: LossSpec) -> Callable[[Any, Any], Any]:
        """Returns the minimised loss: a function from labels and predictions `(batch, targets)` to one value per example."""
        unit = self.deviation if self.unit is None else self.unit
        weights = (1 / loss.unit(unit)).astype("float32")

        def weighted(labels: Any, predictions: Any) -> Any:
            """Returns the mean of the targets' losses, each in units of the loss of an error of one deviation."""
            return keras.ops.mean(loss.of_columns(labels, predictions) * weights, axis=-1)

        return weighted

    def followed(self, metric: Any) -> Any:
        """Returns the metric to compute during training; R2 is computed on standardised targets, which gives the same value.

        Keras sums the squares of the raw labels: for targets far from 0 (years, say) float32 then has no digit left.
        """
        return StandardisedR2(self, name=metric.name) if type(metric) is keras.metrics.R2Score else metric


class StandardisedR2(keras.metrics.R2Score):  # type: ignore[misc]
    """R2 of standardised targets."""

    def __init__(self, scale: TargetScale, name: str) -> None:
        super().__init__(name=name)
        self._scale = scale

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of labels and predictions."""
        super().update_state(self._scale.standardised(y_true), self._scale.standardised(y_pred), sample_weight)


def target_scale(experiment: Experiment, splits: Splits) -> TargetScale | None:
    """Returns the scale of the model's targets; None where they are not scaled."""
    if scales_windows(splits.train.inputs, experiment.data.normalize):
        return _scale_of(window_changes(splits.train, experiment.data.normalize)) if experiment.data.scales_targets else None
    return recorded_scale(experiment, splits.target_facts())


def recorded_scale(experiment: Experiment, data: Mapping[str, Any]) -> TargetScale | None:
    """Returns the scale of a run's targets; `data` is the content of its `data.json`."""
    changes = data.get("window_changes")
    if changes and experiment.data.scales_targets:
        return _scale_of([np.array(changes[name], dtype="float64") for name in _CHANGES])
    means, deviations = data.get("means"), data.get("deviations")
    if not experiment.data.scales_targets or means is None or deviations is None:
        return None
    mean, deviation = np.array(means, dtype="float64"), np.array(deviations, dtype="float64")
    # A deviation below the precision of float32 is the rounding error of a constant.
    deviation = np.where(deviation > np.finfo("float32").eps * np.abs(mean), deviation, 1.0)
    is_positive = experiment.training.loss.kind == "msle"
    if is_positive:
        deviation = np.where(mean > 0, np.minimum(deviation, mean / 3), deviation)
    return TargetScale(mean, deviation, is_positive)


_CHANGES = ("means", "deviations", "units")


def _scale_of(changes: Sequence[Array]) -> TargetScale:
    mean, deviation, unit = changes
    return TargetScale(mean, deviation, unit=unit)


def change_facts(scale: TargetScale | None) -> dict[str, Any]:
    """Returns the entry of `data.json` on the targets of windows that are scaled by themselves; empty for others."""
    if scale is None or scale.unit is None:
        return {}
    values = (scale.mean, scale.deviation, scale.unit)
    return {"window_changes": {name: value.tolist() for name, value in zip(_CHANGES, values, strict=True)}}


def scale_in_words(scale: TargetScale, names: tuple[str, ...]) -> str:
    """Returns the log line on how targets are scaled and in which units results are reported."""
    if scale.unit is not None:
        return (
            "targets: scaled inside the model, relative to the level of each window; loss, scores and predictions are in the"
            " units of the targets"
        )
    divisor = "divided by" if scale.is_positive else "deviation"
    pairs = [
        f"{name}: mean {mean:.6g}, {divisor} {deviation:.6g}"
        for name, mean, deviation in zip(names, scale.mean, scale.deviation, strict=True)
    ]
    rest = f"; and {len(pairs) - MOST_NAMED} more" if len(pairs) > MOST_NAMED else ""
    units = "the unit of the target" if len(pairs) == 1 else "the units of the targets"
    return (
        f"targets: scaled inside the model ({'; '.join(pairs[:MOST_NAMED])}{rest}); loss, scores and predictions are in {units}"
    )
