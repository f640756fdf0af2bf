"""Columns of categories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from dlcli.runtime.column_kinds import CellForm, ColumnKind, Dtype, Encoding, ReadCells

if TYPE_CHECKING:
    from dlcli.arrays import Array


class CategoryColumn(ColumnKind):
    """Categories, text with "" for gaps, which counts as a value.

    They are one-hot over the values of the training split, after a first feature that is always 0; an unseen value is all
    zeros, so that no untrained weight affects its prediction.
    """

    name: ClassVar[str] = "category"
    plural: ClassVar[str] = "categories"
    dtype: ClassVar[Dtype] = "string"
    has_categories: ClassVar[bool] = True
    setting: ClassVar[str] = "categorical"
    gap_replacement: ClassVar[str] = "no known category"
    exported_as: ClassVar[str] = 'text, "" if missing'

    def read(self, cells: Array, form: CellForm) -> ReadCells:
        """Returns the categories of cells; numbers among them have one form, so that 3.0 is 3. Every cell is readable."""
        import numpy as np

        from dlcli.spec.data.sources.table.cells import canonical

        texts = ("" if cell is None else canonical(cell) if form.revision > 1 else cell for cell in cells.tolist())
        return ReadCells(np.array(list(texts), dtype=object), np.zeros(len(cells), dtype=bool))

    def gaps(self, values: Array) -> Array:
        """Returns which values are empty."""
        gaps: Array = values == ""
        return gaps

    def typical(self, values: Array) -> str:
        """Returns the most frequent category."""
        import numpy as np

        texts, counts = np.unique(values.astype(str), return_counts=True)
        return str(texts[counts.argmax()])

    def encode(self, tensors: list[Any], columns: list[Array], encoding: Encoding) -> list[Any]:
        """Returns the one-hot encoding of each column."""
        encoded = []
        for tensor, values in zip(tensors, columns, strict=True):
            one_hot = _one_hot(tensor, values)
            encoded.append(_without_unseen(one_hot) if encoding.unseen_as_zeros else one_hot)
        return encoded

    def lookups(self, model: Any) -> dict[str, Any]:
        """Returns the layers that look up categories."""
        from dlcli.upstream.keras import import_keras

        lookup = import_keras().layers.StringLookup
        return {layer.input.name: layer for layer in model.layers if isinstance(layer, lookup)}


_BLOCK_ROWS = 65_536


def _one_hot(tensor: Any, values: Array) -> Any:
    """Returns the one-hot encoding of a text column: the first slot for unseen values, then the sorted values."""
    from dlcli.upstream.keras import import_keras

    blocks = (values[start : start + _BLOCK_ROWS] for start in range(0, len(values), _BLOCK_ROWS))
    vocabulary = sorted({text for block in blocks for text in block.tolist()})
    unseen = "[UNK]"
    while unseen in vocabulary:
        unseen = f"[{unseen}]"
    lookup = import_keras().layers.StringLookup(vocabulary=vocabulary, oov_token=unseen, output_mode="one_hot")
    return lookup(tensor)


def _without_unseen(one_hot: Any) -> Any:
    """Returns the one-hot encoding of a text column with 0 in its first slot.

    No training row has a 1 there, so the slot's weights stay at their initial random values, and predictions for unseen
    values would be random. The slot exists so that weights of earlier runs fit.
    """
    from dlcli.upstream.keras import import_keras

    scale = [0.0] + [1.0] * (one_hot.shape[-1] - 1)
    return import_keras().layers.Rescaling(scale, dtype="float32")(one_hot)
