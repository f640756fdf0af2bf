"""Columns of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from dlcli.runtime.column_kinds import CellForm, ColumnKind, Dtype, Encoding, ReadCells

if TYPE_CHECKING:
    from dlcli.arrays import Array


class TextColumn(ColumnKind):
    """Texts, with "" for gaps, which are texts without tokens.

    Columns are encoded as the numbers of their tokens: 0 for padding, 1 for a token outside the vocabulary of the training
    split; a pretrained network has its own numbers. A column is of this kind only if the spec says so.
    """

    name: ClassVar[str] = "text"
    plural: ClassVar[str] = "texts"
    dtype: ClassVar[Dtype] = "string"
    is_text: ClassVar[bool] = True
    setting: ClassVar[str] = "text"
    gap_replacement: ClassVar[str] = "a text without tokens"
    exported_as: ClassVar[str] = 'text, "" if missing'

    def read(self, cells: Array, form: CellForm) -> ReadCells:
        """Returns the texts of cells. Every cell is readable."""
        import numpy as np

        texts = np.array(["" if cell is None else cell for cell in cells.tolist()], dtype=object)
        return ReadCells(texts, np.zeros(len(cells), dtype=bool))

    def fits(self, read: ReadCells) -> bool:
        """False: a spec lists the columns of texts."""
        return False

    def gaps(self, values: Array) -> Array:
        """Returns which texts are empty."""
        gaps: Array = values == ""
        return gaps

    def typical(self, values: Array) -> str:
        """Returns the first text."""
        return str(values[0])

    def encode(self, tensors: list[Any], columns: list[Array], encoding: Encoding) -> list[Any]:
        """Returns the numbers of the tokens of all columns, float32 `(batch, max_length * columns)`.

        They are in the order of the steps, so that a prefix of a row has the beginnings of all texts.
        """
        from dlcli.runtime.tokens import tokenizer
        from dlcli.upstream.keras import import_keras

        assert encoding.text is not None
        ops, own = import_keras().ops, encoding.text.own
        if own is not None:
            return [ops.cast(own.rows(tensor, encoding.text.max_length), "float32") for tensor in tensors]
        vocabularies = encoding.text.vocabularies
        tokens = [tokenizer(vocabularies[tensor.name], encoding.text)(tensor) for tensor in tensors]
        together = tokens[0]
        if len(tokens) > 1:
            together = ops.reshape(ops.stack(tokens, axis=2), (-1, len(tokens) * encoding.text.max_length))
        return [ops.cast(together, "float32")]
