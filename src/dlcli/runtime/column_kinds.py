"""The interface of the kinds of columns of a table: how cells are read, encoded, counted and exported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.runtime.tokens import TokenSettings

Normalize = Literal["unit", "symmetric", "standard", "none"]
Dtype = Literal["float32", "string"]


@dataclass(frozen=True)
class CellForm:
    """How a table writes the cells of a column.

    Attributes:
        decimal: the decimal mark.
        thousands: the mark between groups of three digits, if any.
        decorated: whether numbers have currency or percent signs.
        revision: the revision of the rules by which cells are read.
    """

    decimal: str = "."
    thousands: str | None = None
    decorated: bool = False
    revision: int = 2


@dataclass(frozen=True)
class ReadCells:
    """The values of a column's cells.

    Attributes:
        values: the values `(n,)` as the model takes them, in the dtype of the kind.
        unreadable: which cells are not of the kind, as bool `(n,)`; gaps are readable.
        exact: the values before they were rounded to the dtype, where this differs.
    """

    values: Array
    unreadable: Array
    exact: Array | None = None


@dataclass(frozen=True)
class Encoding:
    """The settings of the encoding that do not depend on a column.

    Attributes:
        normalize: scale of numbers: `unit` to [0, 1], `symmetric` to [-1, 1], `standard` to mean 0 and deviation 1, `none`.
            A constant column becomes 0 (with `symmetric` and `unit` too).
        unseen_as_zeros: False gives an unseen category a 1 in its column's first feature, as in runs of revision 1.
        before_training: whether the layers of `ColumnKind.trained` follow; False for the models of scikit-learn, which need
            features that they can use as they are.
        text: how texts become tokens; None if there are none.
    """

    normalize: Normalize
    unseen_as_zeros: bool = True
    before_training: bool = True
    text: TokenSettings | None = None


class ColumnKind(ABC):
    """One kind of column. Everything that depends on what a column's cells are is a method or an attribute here.

    The kinds are listed in `dlcli.spec.data.sources.column_kinds`, one instance each. Columns of one kind are encoded
    together.

    >>> from dlcli.spec.data.sources.column_kinds import CATEGORY, NUMBER
    >>> import numpy as np
    >>> read = NUMBER.read(np.array(["1.5", None, "old"], dtype=object), CellForm())
    >>> read.values.tolist(), read.unreadable.tolist()
    ([1.5, nan, nan], [False, False, True])
    >>> NUMBER.fits(read), NUMBER.fault("old", CellForm())
    (False, "'old' is not a number, or too large")
    >>> CATEGORY.gaps(np.array(["red", ""], dtype=object)).tolist()
    [False, True]

    Attributes:
        name: the kind in notes, in `column_facts` and `column_kinds` of `data.json`.
        plural: the name of several such columns.
        dtype: the type of the model's input. Values of a `string` column are text objects in NumPy.
        is_numeric: whether values are quantities, which have an order and a mean.
        is_quantity: whether each column is one number, and these numbers are the first features of the kind. Noise may be added
            to them.
        has_categories: whether each different value is a separate feature, so that their number is limited and reported.
        is_text: whether its features are numbers of tokens, which only a `sequence` model reads.
        setting: the field of the `csv` source that lists the columns of this kind; empty if it has none.
        gap_replacement: what the model computes with in place of a gap that no training row has.
        exported_as: the type of the input and its value for a gap, for the README of an export.
        has_weights: whether `trained` adds layers with weights.
        can_share_input: whether many columns of the kind may share an input `(batch, columns)`, which has the name `plural`.
    """

    name: ClassVar[str]
    plural: ClassVar[str]
    dtype: ClassVar[Dtype]
    is_numeric: ClassVar[bool] = False
    is_quantity: ClassVar[bool] = False
    has_categories: ClassVar[bool] = False
    is_text: ClassVar[bool] = False
    setting: ClassVar[str] = ""
    gap_replacement: ClassVar[str]
    exported_as: ClassVar[str]
    has_weights: ClassVar[bool] = False
    can_share_input: ClassVar[bool] = False

    @property
    def numpy_dtype(self) -> str:
        """The type of the values in NumPy."""
        return "object" if self.dtype == "string" else self.dtype

    @abstractmethod
    def read(self, cells: Array, form: CellForm) -> ReadCells:
        """Returns the values of cells: text objects `(n,)`, None for gaps."""

    def fits(self, read: ReadCells) -> bool:
        """Whether a training column with these cells is of this kind, if the spec does not say what it is."""
        return not read.unreadable.any()

    def fault(self, cell: str, form: CellForm) -> str:
        """Returns what is wrong with one unreadable cell."""
        return f"{cell[:60]!r} is not a {self.name}"

    def refusal(self, cells: Array, read: ReadCells, form: CellForm, *, in_training: bool) -> str:
        """Returns what is wrong with a table whose column has unreadable cells, as the end of a sentence on the column."""
        return f"is a {self.name} column, but contains {cells[read.unreadable][0]!r}"

    @abstractmethod
    def gaps(self, values: Array) -> Array:
        """Returns which values are gaps, as bool `(n,)`."""

    @abstractmethod
    def typical(self, values: Array) -> float | str:
        """Returns a value for an example of a row."""

    @abstractmethod
    def encode(self, tensors: list[Any], columns: list[Array], encoding: Encoding) -> list[Any]:
        """Returns float32 tensors `(batch, features)` for all columns of this kind.

        The layers have constants of the training split and no weights: rows are encoded once, before training.

        Args:
            tensors: the Keras input `(batch, 1)` of each column; a single one `(batch, columns)` where they share it.
            columns: the training split's values `(n,)` of each column: arrays, or `StoredColumn` on the disk, which have a
                length and are read by slices.
            encoding: the settings of the run.
        """

    def trained(self, features: Any) -> Any:
        """Returns the features `(batch, n)` after layers whose weights are trained with the network, such as an embedding.

        Args:
            features: the encoded features of all columns of this kind, float32.
        """
        return features

    def lookups(self, model: Any) -> dict[str, Any]:
        """Returns the layers that turn the text of an input of this kind into the number of a category, by the input's name.

        Such a layer has a vocabulary, whose first entry stands for unknown text, and a one-hot output. It is used to name
        categories that did not occur in training, and by exports to formats without text.
        """
        return {}


def joined(tensors: list[Any], name: str) -> Any:
    """Returns tensors `(batch, n)` side by side, in float32."""
    from dlcli.upstream.keras import import_keras

    return tensors[0] if len(tensors) == 1 else import_keras().layers.Concatenate(name=name, dtype="float32")(tensors)
