"""Raw columns as a model's inputs, and the layers that encode them as numbers: a saved model takes rows as they are in a file.

`keras.utils.FeatureSpace` does not fit: it passes NaN into the network, has no indicator of gaps, and saves a layer for each
column where one layer suffices for all numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from dlcli.upstream.keras import import_keras

if TYPE_CHECKING:
    from dlcli.arrays import Array

Normalize = Literal["unit", "symmetric", "standard", "none"]


def column_inputs(
    columns: Mapping[str, Array], normalize: Normalize, *, unseen_as_zeros: bool = True
) -> tuple[dict[str, Any], Any]:
    """Returns a Keras input for each column, by its name in the model, and the encoded float32 tensor `(batch, features)`.

    Numbers are inputs float32 `(batch, 1)` with NaN for gaps. They are scaled by constants of these columns, gaps become the
    mean, and each column with gaps here has a further feature 0/1 `missing`. Text columns are string inputs `(batch, 1)`
    with "" for gaps, which counts as a value. They are one-hot over the values in `columns`, after a first feature that is
    always 0; an unseen value is all zeros, so that no untrained weight affects its prediction. The features are the scaled
    numbers, then the indicators of gaps, then the categories, each in the order of the columns.

    Args:
        columns: the training split's columns `(n,)`, float32 for numbers, text objects for categories.
        normalize: scale of numbers: `unit` to [0, 1], `symmetric` to [-1, 1], `standard` to mean 0 and deviation 1,
            `none`. A constant column becomes 0 (with `symmetric` and `unit` too).
        unseen_as_zeros: False gives an unseen value a 1 in the first feature, as in runs of revision 1.
    """
    keras = import_keras()
    names = input_names(columns)
    inputs = {
        names[name]: keras.Input((1,), name=names[name], dtype="float32" if is_number(values) else "string")
        for name, values in columns.items()
    }
    numbers = {names[name]: values for name, values in columns.items() if is_number(values)}
    encoded = _numbers(keras, inputs, numbers, normalize) if numbers else []
    for name, values in columns.items():
        if not is_number(values):
            one_hot = _category(keras, inputs[names[name]], values)
            encoded.append(_without_unseen(keras, one_hot) if unseen_as_zeros else one_hot)
    return inputs, _joined(keras, encoded, "encoded")


def input_names(columns: Iterable[str]) -> dict[str, str]:
    """Returns the name of each column's input in the model: the column's name where Keras and SavedModel allow it.

    Characters other than letters, digits, `_`, `.` and `-` become `_` (accents are dropped: `Größe, cm` is `Gro_e__cm`).
    Names must be unique in a model, so `_` is appended to a name that is also that of a Keras layer or operation (`cast`,
    `dense_1`), or that differs from an earlier name in case only. A name without any letter or digit becomes `column_` and
    its number from 0.
    """
    reserved = _keras_names()
    used: set[str] = set()
    names: dict[str, str] = {}
    for number, column in enumerate(columns):
        plain = "".join(letter for letter in unicodedata.normalize("NFKD", column) if not unicodedata.combining(letter))
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", plain)
        name = name if re.search("[A-Za-z0-9]", name) else f"column_{number}"
        name = name if re.match("[A-Za-z0-9.]", name) else f"x{name}"
        while name.lower() in used or re.sub(r"_\d+$", "", name) in reserved:
            name += "_"
        used.add(name.lower())
        names[column] = name
    return names


def _keras_names() -> set[str]:
    """Returns the names that Keras may assign to layers automatically, and those that this module uses."""
    keras = import_keras()
    return {_snake_case(name) for name in (*dir(keras.layers), *dir(keras.ops))} | {"output", "encoded", "functional"}


def rows(columns: Mapping[str, Array]) -> dict[str, Any]:
    """Returns columns `(n,)` as the tensors `(n, 1)` that the model's inputs take, by their names in the model."""
    import tensorflow as tf

    names = input_names(columns)
    return {
        names[name]: tf.constant(values.astype("float32" if is_number(values) else object)[:, None])
        for name, values in columns.items()
    }


def is_number(values: Array) -> bool:
    """Whether a column holds numbers rather than text."""
    return values.dtype.kind in "fiub"


def _snake_case(name: str) -> str:
    """Returns a class name as Keras writes it in automatic names: `Conv2D` is `conv2d`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _joined(keras: Any, tensors: list[Any], name: str) -> Any:
    if len(tensors) == 1:
        return tensors[0]
    return keras.layers.Concatenate(name=name, dtype="float32")(tensors)


def _numbers(keras: Any, inputs: dict[str, Any], columns: dict[str, Array], normalize: Normalize) -> list[Any]:
    """Returns the scaled numbers, and the indicators of gaps for columns with gaps."""
    import numpy as np

    table = np.stack([values.astype("float64") for values in columns.values()], axis=1)
    gaps = np.isnan(table)
    offset, spread, mean = _scale(table, gaps, normalize)
    raw = _joined(keras, [inputs[name] for name in columns], "numbers_")
    is_gap = keras.ops.isnan(raw)
    # Gaps are filled before scaling: a NaN would make the gradient NaN even in the branch that `where` drops.
    filled = keras.ops.where(is_gap, mean.astype("float32"), raw)
    # The offset is subtracted first: `Rescaling` alone computes x * scale + offset, which loses digits of large, close
    # numbers. `Normalization` alone clips deviations at 1e-7.
    centred = keras.layers.Normalization(mean=offset.tolist(), variance=[1.0] * len(offset), dtype="float32")(filled)
    scaled = keras.layers.Rescaling((1 / spread).tolist(), dtype="float32")(centred)
    with_gaps = np.flatnonzero(gaps.any(axis=0)).tolist()
    if not with_gaps:
        return [scaled]
    return [scaled, keras.ops.cast(keras.ops.take(is_gap, with_gaps, axis=1), "float32")]


def _scale(table: Array, gaps: Array, normalize: Normalize) -> tuple[Array, Array, Array]:
    """Returns the offset and the divisor of each column, and its mean, computed without gaps."""
    import numpy as np

    counts = np.maximum((~gaps).sum(axis=0), 1)
    mean = np.where(gaps, 0, table).sum(axis=0) / counts
    if normalize == "none":
        return np.zeros_like(mean), np.ones_like(mean), mean
    if normalize == "standard":
        deviation = np.sqrt((np.where(gaps, 0, table - mean) ** 2).sum(axis=0) / counts)
        return mean, _not_zero(deviation), mean
    lowest, highest = np.where(gaps, mean, table).min(axis=0), np.where(gaps, mean, table).max(axis=0)
    if normalize == "unit":
        return lowest, _not_zero(highest - lowest), mean
    return (lowest + highest) / 2, _not_zero((highest - lowest) / 2), mean


def _not_zero(spread: Array) -> Array:
    import numpy as np

    return np.where(spread > 0, spread, 1.0)


def _without_unseen(keras: Any, one_hot: Any) -> Any:
    """Returns the one-hot encoding of a text column with 0 in its first slot.

    No training row has a 1 there, so the slot's weights stay at their initial random values, and predictions for unseen
    values would be random. The slot exists so that weights of earlier runs fit.
    """
    scale = [0.0] + [1.0] * (one_hot.shape[-1] - 1)
    return keras.layers.Rescaling(scale, dtype="float32")(one_hot)


def _category(keras: Any, tensor: Any, values: Array) -> Any:
    """Returns the one-hot encoding of a text column: the first slot for unseen values, then the sorted values."""
    vocabulary = sorted(set(values.tolist()))
    unseen = "[UNK]"
    while unseen in vocabulary:
        unseen = f"[{unseen}]"
    return keras.layers.StringLookup(vocabulary=vocabulary, oov_token=unseen, output_mode="one_hot")(tensor)
