"""The scale of what a network's first layer with weights is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcli.report.checks.sampling import sample
from dlcli.runs.checks import InputScale
from dlcli.runtime.engine import keras
from dlcli.spec.data.sources import Examples
from dlcli.upstream.keras import first_input

MOST = 256
"""Training examples that are looked at."""


def input_scale(model: Any, train: Examples) -> InputScale | None:
    """Returns the scale of the first weighted layer's inputs; None where it takes no numbers, or scales them itself."""
    path = _path_to_weights(model)
    if path is None:
        return None
    chosen = sample(train, MOST)
    values = chosen.inputs.read(np.arange(len(chosen)))
    for part in path:
        values = part(values, training=False)
    values = np.asarray(values)
    layer = _first_weighted(model)
    if values.dtype.kind != "f" or not values.size:
        return None
    known = values.astype("float64")
    columns = np.sqrt((known**2).mean(axis=0)) if known.ndim == 2 else np.zeros(0)
    columns = columns[columns > 0]
    return InputScale(
        layer=type(layer).__name__,
        examples=len(values),
        size=_number(np.sqrt((known**2).mean())),
        deviation=_number(known.std()),
        largest=_number(columns.max()) if len(columns) else None,
        smallest=_number(columns.min()) if len(columns) else None,
    )


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _first_weighted(model: Any) -> Any:
    """Returns the first layer with weights that learn, also inside a model in the model; None where there is none."""
    for layer in model.layers:
        if layer.trainable_variables:
            return _first_weighted(layer) if isinstance(layer, keras.Model) else layer
    return None


def _path_to_weights(model: Any) -> list[Any] | None:
    """Returns models, each fed by the one before, from the inputs to what the first weighted layer is given.

    None where that layer looks numbers up, or brings them to a scale of its own.
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
