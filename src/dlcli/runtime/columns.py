"""Raw columns as a model's inputs, and the layers that encode them as numbers: a saved model takes rows as they are in a file.

`InputLayout` is the only place that knows which inputs a model of a table has, and which columns each of them takes.

`keras.utils.FeatureSpace` does not fit: it passes NaN into the network, has no indicator of gaps, and saves a layer for each
column where one layer suffices for all numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from dlcli.runtime.column_kinds import ColumnKind, Encoding, joined
from dlcli.upstream.keras import import_keras

if TYPE_CHECKING:
    from dlcli.arrays import Array

MOST_SEPARATE = 200
"""The most columns of a kind with an input each, if the kind can share an input (`ColumnKind.can_share_input`).

Each input costs 20 ms of CPU time in a training, since Keras saves and loads it as a layer and TensorFlow passes it as a
separate tensor: 200 of them cost as much as the start of the program.
"""


@dataclass(frozen=True)
class InputLayout:
    """The inputs of a model of a table: each takes one column `(batch, 1)`, or several columns `(batch, n)` of one kind.

    >>> from dlcli.spec.data.sources.column_kinds import CATEGORY, NUMBER
    >>> layout = InputLayout({"x": NUMBER, "town": CATEGORY, "y": NUMBER}, {"numbers": ("x", "y")})
    >>> layout.columns
    {'town': ('town',), 'numbers': ('x', 'y')}
    >>> InputLayout.of({"x": NUMBER, "town": CATEGORY, "y": NUMBER}).columns
    {'x': ('x',), 'town': ('town',), 'y': ('y',)}

    Attributes:
        kinds: the kind of each column, in the order of the table.
        shared: the columns of each input that takes several, in the order of its values, by the input's name. `data.json`
            records it, so that a run keeps its inputs.
    """

    kinds: Mapping[str, ColumnKind]
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, kinds: Mapping[str, ColumnKind]) -> InputLayout:
        """Returns the layout of a new model: more than `MOST_SEPARATE` columns of a kind share an input, if the kind can."""
        shared: dict[str, tuple[str, ...]] = {}
        for kind in dict.fromkeys(kinds.values()):
            columns = tuple(name for name in kinds if kinds[name] == kind)
            if kind.can_share_input and len(columns) > MOST_SEPARATE:
                shared[_free_name(kind.plural, [*input_names(kinds).values(), *shared])] = columns
        return cls(kinds, shared)

    @cached_property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """The columns of each input, by the input's name: inputs of one column in the order of the table, then shared ones."""
        sharing = {column for columns in self.shared.values() for column in columns}
        names = input_names(self.kinds)
        return {names[column]: (column,) for column in self.kinds if column not in sharing} | dict(self.shared)

    @cached_property
    def names(self) -> dict[str, str]:
        """The name of each column's input; columns of a shared input have the same."""
        names = {column: name for name, columns in self.columns.items() for column in columns}
        return {column: names[column] for column in self.kinds}

    def kind(self, name: str) -> ColumnKind:
        """Returns the kind of an input's columns."""
        return self.kinds[self.columns[name][0]]

    def arrays(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the values `(n, 1)` or `(n, columns)` of each input, in the type of its kind, from columns `(n,)`."""
        import numpy as np

        return {
            name: np.stack([columns[column].astype(self.kind(name).numpy_dtype, copy=False) for column in of_input], axis=1)
            for name, of_input in self.columns.items()
        }

    def tensors(self, columns: Mapping[str, Array]) -> dict[str, Any]:
        """Returns columns `(n,)` as the tensors that the model takes, by the names of its inputs."""
        import tensorflow as tf

        return {name: tf.constant(values) for name, values in self.arrays(columns).items()}


@dataclass(frozen=True)
class EncodedColumns:
    """Columns as Keras tensors.

    Attributes:
        inputs: the Keras inputs of the layout by name, `(batch, columns)`, in the dtype of the columns' kind.
        features: the encoded float32 tensor `(batch, features)`.
        widths: the kinds with the number of their features, in the order of the features.
        vocabularies: the tokens of each input of texts by their numbers, in the order of the features.
    """

    inputs: dict[str, Any]
    features: Any
    widths: list[tuple[ColumnKind, int]]
    vocabularies: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def trained(self, features: Any) -> Any:
        """Returns encoded features `(batch, features)` after the trained layers of the kinds that have some."""
        if not any(kind.has_weights for kind, _ in self.widths):
            return features
        return joined([kind.trained(part) for kind, part in self.parts(features)], "features_")

    def parts(self, features: Any) -> list[tuple[ColumnKind, Any]]:
        """Returns the encoded features `(batch, features)` of each kind."""
        ends = list(accumulate(width for _, width in self.widths))
        starts = [0, *ends[:-1]]
        return [(kind, features[:, start : start + width]) for (kind, width), start in zip(self.widths, starts, strict=True)]


def column_inputs(columns: Mapping[str, Array], layout: InputLayout, encoding: Encoding) -> EncodedColumns:
    """Returns the Keras inputs of a layout, and the encoded features.

    The features are those of numeric kinds, then those of the other kinds, texts last, each in the order of the columns;
    columns of one kind are encoded together. They do not depend on which columns share an input.

    Args:
        columns: the training split's columns `(n,)`, in the dtypes of their kinds; arrays, or `StoredColumn` on the disk.
        layout: the inputs of the model.
        encoding: the settings of the run.
    """
    keras = import_keras()
    inputs = {
        name: keras.Input((len(of_input),), name=name, dtype=layout.kind(name).dtype)
        for name, of_input in layout.columns.items()
    }
    encoded: list[Any] = []
    widths: list[tuple[ColumnKind, int]] = []
    for kind in sorted(dict.fromkeys(layout.kinds.values()), key=lambda kind: (not kind.is_numeric, kind.is_text)):
        names = [name for name in layout.columns if layout.kind(name) == kind]
        values = [columns[column] for name in names for column in layout.columns[name]]
        tensors = kind.encode([inputs[name] for name in names], values, encoding)
        encoded += tensors
        widths.append((kind, sum(tensor.shape[-1] for tensor in tensors)))
    fitted = encoding.text.vocabularies if encoding.text is not None else {}
    vocabularies = {name: fitted[name] for name in inputs if name in fitted}
    return EncodedColumns(inputs, joined(encoded, "encoded"), widths, vocabularies)


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


def _free_name(name: str, taken: Iterable[str]) -> str:
    """Returns a name that no other input has, also in another case: `_` is appended where one has it."""
    used = {other.lower() for other in taken}
    while name.lower() in used:
        name += "_"
    return name


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
