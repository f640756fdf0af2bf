"""The data loss: the loss of labels and predictions, without the penalties of regularisers.

Keras reports the sum of both, as a mean over batches. The data loss of a split is the loss of all its examples at once, as
`evaluate` computes it: each counted example has the same weight, whatever batch it is in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from dlcli.runtime.engine import keras

NAME = "data_loss"
_Each = Callable[[Any, Any], Any]


class Loss(Protocol):
    """A loss of a spec; `kind` is its name."""

    @property
    def kind(self) -> str: ...  # noqa: D102

    def each(self, labels: Any, outputs: Any) -> Any:
        """Returns the loss of each example."""
        ...

    def counted(self, labels: Any) -> Any:
        """Returns which examples count; None if all do."""
        ...


def data_loss(loss: Loss, each: _Each | None = None) -> Any:
    """Returns the Keras metric of a data loss; `each` replaces the spec's loss per example."""
    return _DiceLoss() if loss.kind == "dice" else _DataLoss(each or loss.each, loss.counted)


def with_data_loss(logs: dict[str, float]) -> dict[str, float]:
    """Returns the values of an epoch with the data loss as its `loss`, if the metric was computed."""
    return {("loss" if name == NAME else name): value for name, value in logs.items() if name != "loss" or NAME not in logs}


class _DataLoss(keras.metrics.Metric):  # type: ignore[misc]
    """The mean loss of all counted examples; NaN if none counts."""

    def __init__(self, each: _Each, counted: Callable[[Any], Any]) -> None:
        super().__init__(name=NAME)
        self._each, self._counted = each, counted
        self.total = self.add_variable((), "zeros", name="total")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of labels and predictions."""
        labels, outputs = (keras.ops.convert_to_tensor(value, dtype=self.dtype) for value in (y_true, y_pred))
        values, counted = self._each(labels, outputs), self._counted(labels)
        if counted is None:
            counted = keras.ops.ones_like(values, dtype="bool")
        counted = keras.ops.reshape(counted, keras.ops.shape(values))
        self.total.assign_add(keras.ops.sum(keras.ops.where(counted, values, 0.0)))
        self.count.assign_add(keras.ops.sum(keras.ops.cast(counted, self.dtype)))

    def result(self) -> Any:
        """Returns the mean."""
        return self.total / self.count


class _DiceLoss(keras.metrics.Metric):  # type: ignore[misc]
    """Keras's Dice loss of all examples at once: a batch has one value, so sums are stored in place of a mean."""

    def __init__(self) -> None:
        super().__init__(name=NAME)
        self.both = self.add_variable((), "zeros", name="both")
        self.all = self.add_variable((), "zeros", name="all")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of labels and predictions."""
        labels, outputs = (keras.ops.convert_to_tensor(value, dtype=self.dtype) for value in (y_true, y_pred))
        self.both.assign_add(keras.ops.sum(labels * outputs))
        self.all.assign_add(keras.ops.sum(labels) + keras.ops.sum(outputs))

    def result(self) -> Any:
        """Returns one minus the overlap (keras/src/losses/losses.py, `dice`)."""
        small = keras.backend.epsilon()
        return 1 - (2 * self.both + small) / (self.all + small)
