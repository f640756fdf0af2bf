"""The scale of the inputs of a network's first layer with weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcli.report.checks.sampling import sample
from dlcli.runs.checks import InputScale
from dlcli.runtime.engine import keras
from dlcli.spec.data.sources import Examples
from dlcli.upstream.keras import first_input

MOST = 256
"""Training examples that are measured."""


def input_scale(model: Any, train: Examples) -> InputScale | None:
    """Returns the scale of the first weighted layer's inputs; None where it takes no numbers, or normalises them itself."""
    path = _path_to_weights(model)
    if path is None:
        return None
    examples = sample(train, MOST)
    values = examples.inputs.read(np.arange(len(examples)))
    for model_part in path:
        values = model_part(values, training=False)
    values = np.asarray(values)
    layer = _first_weighted(model)
    if values.dtype.kind != "f" or not values.size:
        return None
    numbers = values.astype("float64")
    columns = np.sqrt((numbers**2).mean(axis=0)) if numbers.ndim == 2 else np.zeros(0)
    columns = columns[columns > 0]
    return InputScale(
        layer=type(layer).__name__,
        examples=len(values),
        size=_number(np.sqrt((numbers**2).mean())),
        deviation=_number(numbers.std()),
        largest=_number(columns.max()) if len(columns) else None,
        smallest=_number(columns.min()) if len(columns) else None,
    )


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _first_weighted(model: Any) -> Any:
    """Returns the first layer with trainable weights, also inside a nested model; None where there is none."""
    for layer in model.layers:
        if layer.trainable_variables:
            return _first_weighted(layer) if isinstance(layer, keras.Model) else layer
    return None


def _path_to_weights(model: Any) -> list[Any] | None:
    """Returns a chain of models from the model's inputs to the inputs of the first weighted layer.

    None where that layer is an embedding or a normalisation.
    """
    first = _first_weighted(model)
    if first is None or isinstance(first, keras.layers.Embedding) or "Normalization" in type(first).__name__:
        return None
    path: list[Any] = []
    inside = model
    while True:
        layer = next(layer for layer in inside.layers if layer.trainable_variables)
        path.append(keras.Model(inside.inputs if path else inside.input, first_input(layer)))
        if layer is first:
            return path
        inside = layer
