"""Targets -> the labels that loss and metrics read, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dlcli.runtime.engine import tf
from dlcli.runtime.stream import on_host

Array = np.ndarray[Any, Any]


def label_reader(targets: Array, task: str, *, classes: int, integer: bool) -> Callable[[Any], Any]:
    """Returns a function from indices to labels.

    Class numbers int64 `(batch,)` where `integer`, else one-hot float32 `(batch, classes)`; float32 `(batch, 1)` for
    binary, `(batch, labels)` for multilabel, `(batch, targets)` for regression.
    """
    if task == "classification":
        values = on_host(targets.astype("int32"))
        if integer:
            return lambda indices: tf.gather(values, indices)
        return lambda indices: tf.one_hot(tf.gather(values, indices), classes)
    numbers = on_host(targets.astype("float32").reshape(len(targets), -1))
    return lambda indices: tf.gather(numbers, indices)
