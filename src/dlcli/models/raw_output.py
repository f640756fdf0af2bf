"""A saved model's output before the softmax or sigmoid of its last layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dlcli.runtime.engine import keras
from dlcli.runtime.layers import single_layers

_SQUASHING = ("softmax", "sigmoid")


@contextmanager
def before_squashing(model: Any) -> Iterator[bool]:
    """Makes the model return its scores before softmax or sigmoid inside the block; yields whether it does.

    A probability near 1 has hardly any gradient; Grad-CAM is defined on the score before the softmax.
    """
    dense = [layer for layer in single_layers(model) if isinstance(layer, keras.layers.Dense)]
    output = dense[-1] if dense else None
    activation = getattr(output, "activation", None)
    if output is None or getattr(activation, "__name__", "") not in _SQUASHING or single_layers(model)[-1] is not output:
        yield False
        return
    output.activation = keras.activations.linear
    try:
        yield True
    finally:
        output.activation = activation
