"""Converts targets to the batches of labels that loss and metrics read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlcli.arrays import Array
from dlcli.runtime.engine import tf
from dlcli.runtime.stream import on_host
from dlcli.tasks import Task


def label_reader(targets: Array, task: Task, *, classes: int, integer: bool) -> Callable[[Any], Any]:
    """Returns a function from indices to labels.

    Labels are class numbers, int32 `(batch,)`, with `integer`, else one-hot, float32 `(batch, classes)`. They are float32
    `(batch, units)` for targets that are not class numbers, and for two classes with a single sigmoid output. Of an output
    that is not a row, labels have the axes of the output type's `labels`.
    """
    labels = task.output.labels(targets)
    values = on_host(labels)
    if labels.dtype.kind == "i" and not integer:
        return lambda indices: tf.one_hot(tf.gather(values, indices), classes)
    return lambda indices: tf.gather(values, indices)
