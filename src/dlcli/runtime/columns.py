"""Raw columns as a model's inputs, and the layers that encode them as numbers: a saved model takes rows as they are in a file.

`keras.utils.FeatureSpace` does not fit: it passes NaN into the network, has no indicator of gaps, and saves a layer for each
column where one layer suffices for all numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from dlcli.runtime.column_kinds import ColumnKind, Encoding, joined
from dlcli.upstream.keras import import_keras

if TYPE_CHECKING:
    from dlcli.arrays import Array


@dataclass(frozen=True)
class EncodedColumns:
    """Columns as Keras tensors.

    Attributes:
        inputs: a Keras input `(batch, 1)` for each column, by its name in the model, in the dtype of the column's kind.
        features: the encoded float32 tensor `(batch, features)`.
        widths: the kinds with the number of their features, in the order of the features.
    """

    inputs: dict[str, Any]
    features: Any
    widths: list[tuple[ColumnKind, int]]

    def trained(self, features: Any) -> Any:
        """Returns encoded features `(batch, features)` after the trained layers of the kinds that have some."""
        if not any(kind.has_weights for kind, _ in self.widths):
            return features
        ends = list(accumulate(width for _, width in self.widths))
        parts = [features[:, start:end] for start, end in zip([0, *ends], ends, strict=False)]
        return joined([kind.trained(part) for (kind, _), part in zip(self.widths, parts, strict=True)], "features_")


def column_inputs(columns: Mapping[str, Array], kinds: Mapping[str, ColumnKind], encoding: Encoding) -> EncodedColumns:
    """Returns a Keras input for each column, and the encoded features.

    The features are those of numeric kinds, then those of the other kinds, each in the order of the columns; columns of one
    kind are encoded together.

    Args:
        columns: the training split's columns `(n,)`, in the dtypes of their kinds.
        kinds: the kind of each column.
        encoding: the settings of the run.
    """
    keras = import_keras()
    names = input_names(columns)
    inputs = {names[name]: keras.Input((1,), name=names[name], dtype=kinds[name].dtype) for name in columns}
    encoded: list[Any] = []
    widths: list[tuple[ColumnKind, int]] = []
    for kind in sorted(dict.fromkeys(kinds[name] for name in columns), key=lambda kind: not kind.is_numeric):
        of_kind = [name for name in columns if kinds[name] == kind]
        tensors = kind.encode([inputs[names[name]] for name in of_kind], [columns[name] for name in of_kind], encoding)
        encoded += tensors
        widths.append((kind, sum(tensor.shape[-1] for tensor in tensors)))
    return EncodedColumns(inputs, joined(encoded, "encoded"), widths)


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


def rows(columns: Mapping[str, Array], kinds: Mapping[str, ColumnKind]) -> dict[str, Any]:
    """Returns columns `(n,)` as the tensors `(n, 1)` that the model's inputs take, by their names in the model."""
    import tensorflow as tf

    names = input_names(columns)
    return {names[name]: tf.constant(values.astype(kinds[name].numpy_dtype)[:, None]) for name, values in columns.items()}


def lookups(model: Any, kinds: Mapping[str, ColumnKind]) -> dict[str, Any]:
    """Returns the layer of a model that looks up the category of a column, by column, for the columns that have one."""
    names = input_names(kinds)
    by_kind = {kind: kind.lookups(model) for kind in dict.fromkeys(kinds.values())}
    return {column: by_kind[kind][names[column]] for column, kind in kinds.items() if names[column] in by_kind[kind]}


def _snake_case(name: str) -> str:
    """Returns a class name as Keras writes it in automatic names: `Conv2D` is `conv2d`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
