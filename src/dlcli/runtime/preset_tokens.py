"""The tokenizer of a pretrained network: it belongs to the network's weights, and is part of the saved model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.upstream.keras import import_keras
from dlcli.upstream.keras_hub import import_tokenizers

_BLOCK = 4096
"""Texts that are split at once."""


@dataclass(frozen=True)
class PresetTokenizer:
    """The tokenizer of a preset, with the marks that its network expects at the start and the end of a text.

    Attributes:
        folder: the folder of the preset.
        longest: the most tokens that its network takes; None where there is no limit.
    """

    folder: Path
    longest: int | None = None

    @cached_property
    def vocabulary_size(self) -> int:
        """The number of tokens, those for padding and for unknown ones among them."""
        return int(self._any_length.tokenizer.vocabulary_size())

    def rows(self, texts: Any, max_length: int) -> Any:
        """Returns the numbers of tokens `(batch, max_length)` of a Keras tensor of texts `(batch, 1)`, int32.

        A number is that of the token in the preset, plus 1: 0 is padding, which has another number in each preset.
        """
        ops = import_keras().ops
        layer = self._layer(max_length)
        packed = layer(ops.squeeze(texts, -1))
        if not isinstance(packed, dict) or not {"token_ids", "padding_mask"} <= set(packed):
            raise DataError(f"model.backbone.preset: {type(layer).__name__} of {self.folder} gives no tokens with a mask")
        return ops.where(packed["padding_mask"], ops.cast(packed["token_ids"], "int32") + 1, 0)

    def count(self, texts: Array) -> tuple[Array, int]:
        """Returns the number of tokens of each text, int64 `(n,)`, before they are cut; and how many are unknown.

        The marks at the start and the end are counted, as they are in `max_length`.
        """
        from dlcli.runtime.engine import tf

        lengths, unknown, unknown_id = [np.zeros(0, "int64")], 0, _unknown_id(self._any_length.tokenizer)
        for start in range(0, len(texts), _BLOCK):
            tokens = self._split(tf.constant(texts[start : start + _BLOCK]))
            lengths.append(tokens.row_lengths().numpy())
            unknown += 0 if unknown_id is None else int((tokens.flat_values.numpy() == unknown_id).sum())
        return np.concatenate(lengths) + self.marks, unknown

    @cached_property
    def marks(self) -> int:
        """The number of tokens of a text without words: the marks at its start and its end."""
        from dlcli.runtime.engine import tf

        packed = self._any_length(tf.constant([""]))
        return int(np.asarray(packed["padding_mask"]).sum())

    @cached_property
    def _split(self) -> Any:
        """The function from texts to ragged numbers of tokens: a graph, as in a model, which is traced once."""
        from dlcli.runtime.engine import tf

        tokenizer = self._any_length.tokenizer
        return tf.function(lambda texts: tokenizer(texts), input_signature=[tf.TensorSpec((None,), tf.string)])

    @cached_property
    def _any_length(self) -> Any:
        """A layer for what does not depend on the length of texts."""
        return self._layer(8)

    def _layer(self, max_length: int) -> Any:
        """Returns KerasHub's layer from texts to the inputs of a network."""
        models = import_tokenizers().models
        try:
            return models.TextClassifierPreprocessor.from_preset(str(self.folder), sequence_length=max_length)
        except Exception as error:  # KerasHub raises what its readers of files raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"model.backbone.preset: no tokenizer can be read from {self.folder}: {reason[:400]}") from None


def _unknown_id(tokenizer: Any) -> int | None:
    """Returns the number of unknown tokens; None for a tokenizer of bytes, which has none."""
    hub = import_tokenizers()
    if isinstance(tokenizer, hub.tokenizers.SentencePieceTokenizer):
        return int(tokenizer.token_to_id("<unk>"))
    token = getattr(tokenizer, "oov_token", None)
    return None if token is None else int(tokenizer.token_to_id(token))
