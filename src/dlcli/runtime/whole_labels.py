"""Metrics of a training on mixed examples: they are computed for the label with the largest share.

Keras's metrics compare labels with predictions as they are, so that a share of 0.7 would never be predicted correctly.
"""

from __future__ import annotations

from typing import Any

from dlcli.runtime.engine import keras


def of_whole_labels(metric: Any, *, one_of_several: bool) -> Any:
    """Returns a Keras metric that takes labels as shares; whole labels are taken as they are.

    Args:
        metric: the metric, which is changed.
        one_of_several: whether a label is a row of shares with sum 1; else each number is a separate share.
    """
    update = metric.update_state

    def update_state(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return update(_whole(y_true, one_of_several=one_of_several), y_pred, sample_weight)

    metric.update_state = update_state
    return metric


def _whole(labels: Any, *, one_of_several: bool) -> Any:
    labels = keras.ops.convert_to_tensor(labels, "float32")
    if one_of_several:
        largest = keras.ops.argmax(labels, axis=-1)
        return keras.ops.one_hot(largest, labels.shape[-1], dtype=labels.dtype)
    return keras.ops.cast(labels >= 0.5, labels.dtype)
