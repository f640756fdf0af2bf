"""Targets -> the labels that loss and metrics read, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlcli.arrays import Array
from dlcli.runtime.engine import tf
from dlcli.runtime.stream import on_host
from dlcli.tasks import Task


def label_reader(targets: Array, task: Task, *, classes: int, integer: bool) -> Callable[[Any], Any]:
    """Returns a function from indices to labels.

    Class numbers int32 `(batch,)` where `integer`, else one-hot float32 `(batch, classes)`; float32 `(batch, units)` where
    examples have no class numbers, or one sigmoid tells two classes.
    """
    labels = task.output.labels(targets)
    values = on_host(labels)
    if labels.ndim == 1 and not integer:
        return lambda indices: tf.one_hot(tf.gather(values, indices), classes)
    return lambda indices: tf.gather(values, indices)
