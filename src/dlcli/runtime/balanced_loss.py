"""The minimised loss of a training whose classes have weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.engine import keras


class BalancedLoss(keras.losses.Loss):  # type: ignore[misc]
    """A loss that weights each example by its class, as Keras's `class_weight` does, or each decision on a label.

    The mean is over the number of examples, not over their weights: weights whose mean is 1 keep the scale of the gradients.

    Args:
        each: returns the loss of each example `(batch,)` for labels and outputs in the form of the loss.
        weights: float `(classes,)` for one class of several; `(outputs, 2)` for decisions, of 0 and of 1.
    """

    def __init__(self, each: Callable[[Any, Any], Any], weights: Array) -> None:
        super().__init__(name="balanced_loss")
        self._each, self._table = each, np.asarray(weights, "float32")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the weighted mean of a batch."""
        labels = keras.ops.convert_to_tensor(y_true)
        if self._table.ndim == 2:  # each decision has its own loss and weight
            labels = keras.ops.reshape(labels, keras.ops.shape(y_pred))
            positive, negative = self._table[:, 1], self._table[:, 0]
            weights = labels * positive + (1.0 - labels) * negative  # also of labels that are shares
            return super().__call__(labels[..., None], keras.ops.expand_dims(y_pred, -1), sample_weight=weights)
        return super().__call__(y_true, y_pred, sample_weight=self._of_classes(labels, y_pred.shape[-1]))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each example, or of each decision."""
        return self._each(y_true, y_pred)

    def _of_classes(self, labels: Any, classes: int) -> Any:
        """Returns the weights `(batch,)` of class numbers, or of one-hot labels."""
        if labels.shape[-1:] == (classes,) and len(labels.shape) > 1:
            return keras.ops.sum(keras.ops.cast(labels, "float32") * self._table, axis=-1)
        return keras.ops.take(self._table, keras.ops.reshape(keras.ops.cast(labels, "int32"), (-1,)))
