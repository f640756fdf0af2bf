"""Samples of a part's examples, as a saved model takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcli.data.split import subset
from dlcli.runtime.columns import input_names
from dlcli.runtime.engine import keras
from dlcli.spec.data.sources import Examples

Array = np.ndarray[Any, Any]


def sample(examples: Examples, most: int) -> Examples:
    """Returns up to `most` examples from all over a part, always the same ones; a folder's come class by class."""
    if len(examples) <= most:
        return examples
    return subset(examples, np.sort(np.random.default_rng(0).permutation(len(examples))[:most]))


def inputs_of(examples: Examples, places: Array) -> Any:
    """Returns the inputs at some places as a saved model takes them: an array, or columns by their names in the model."""
    inputs = examples.inputs
    if isinstance(inputs, dict):
        names = input_names(inputs)
        return {names[name]: keras.ops.convert_to_tensor(_column(column[places])) for name, column in inputs.items()}
    return inputs.read(places) if hasattr(inputs, "read") else inputs[places]


def _column(values: Array) -> Array:
    return (values.astype(str) if values.dtype == object else values)[:, None]
