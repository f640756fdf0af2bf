"""Texts as numbers of tokens: vocabularies, and the lengths of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.text_tokens import SPLITS, STANDARDIZE
from dlcli.upstream.keras import import_keras

PADDING, UNKNOWN = 0, 1
"""The numbers of padding and of tokens outside the vocabulary."""
_BLOCK = 16_384
"""Texts that are split at once."""


class OwnTokenizer(Protocol):
    """A tokenizer that belongs to the weights of a network, in place of the settings of a spec."""

    @property
    def longest(self) -> int | None:
        """The most tokens of a text that the network takes; None where there is no limit."""

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens."""

    @property
    def marks(self) -> int:
        """The number of tokens of a text without words."""

    def rows(self, texts: Any, max_length: int) -> Any:
        """Returns the numbers of tokens, int32 `(batch, max_length)`, of a Keras tensor of texts `(batch, 1)`; 0 is padding."""

    def count(self, texts: Array) -> tuple[Array, int]:
        """Returns the number of tokens of each text, int64 `(n,)`, before they are cut; and how many are unknown."""


@dataclass(frozen=True)
class TokenSettings:
    """How texts become tokens.

    Attributes:
        max_tokens: the largest size of a vocabulary, with padding and unknown tokens.
        max_length: the number of tokens of each text.
        standardize: the change of a text before it is split, as `keras.layers.TextVectorization` names it; None for none.
        split: how it is split.
        ngrams: the most neighbouring words of a token; None for single words.
        vocabularies: the tokens of each input of texts by their numbers, by the input's name.
        own: the tokenizer of a pretrained network, which replaces all settings but `max_length`.
    """

    max_tokens: int
    max_length: int
    standardize: str | None = "lower_and_strip_punctuation"
    split: Literal["whitespace", "character", "unicode_words"] = "whitespace"
    ngrams: int | None = None
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own: OwnTokenizer | None = None

    @property
    def of_spaced(self) -> TokenSettings:
        """The same for texts with spaces between their tokens, if Keras cannot split them otherwise."""
        return replace(self, standardize=None, split="whitespace") if self.split == "unicode_words" else self

    def layer(self, **arguments: Any) -> Any:
        """Returns the Keras layer that splits texts, with further arguments."""
        return import_keras().layers.TextVectorization(
            standardize=self.standardize, split=self.split, ngrams=self.ngrams, output_mode="int", **arguments
        )


def fitted_vocabulary(texts: Array, settings: TokenSettings) -> tuple[str, ...]:
    """Returns the most frequent tokens of texts `(n,)` by their numbers, after those of padding and of unknown tokens.

    Equally frequent tokens are in reverse alphabetical order, as in Keras.
    """
    layer = settings.of_spaced.layer(max_tokens=settings.max_tokens)
    layer.adapt(_blocks(texts, settings))
    vocabulary = map(str, layer.get_vocabulary())
    if settings.split == "unicode_words":  # no layer of Keras can look up a NUL, and so the letters of these words
        return tuple(token for token in vocabulary if "\0" not in token)
    return tuple(vocabulary)


def tokenizer(vocabulary: Sequence[str], settings: TokenSettings) -> Callable[[Any], Any]:
    """Returns the layer, or the layers as a function, from texts `(batch, 1)` to numbers of tokens int64 `(batch, max_length)`.

    The vocabulary is an argument of the layer, so that it is saved in the model's configuration: that of an adapted layer is
    saved as lines of a text file, and a token with a line end or a separator of lines would become several tokens when the
    model is loaded (Keras 3.15, github.com/keras-team/keras `src/layers/preprocessing/index_lookup.py`, `save_assets`).
    """
    arguments: dict[str, Any] = {"vocabulary": list(vocabulary[2:]), "output_sequence_length": settings.max_length}
    if settings.split != "unicode_words":
        layer: Callable[[Any], Any] = settings.layer(**arguments)
        return layer

    def numbers(texts: Any) -> Any:
        from dlcli.runtime.unicode_words import spaced, words_layer_name

        with_spaces, first = spaced(texts, arguments["vocabulary"], settings.standardize)
        return settings.of_spaced.layer(name=words_layer_name(first), **arguments)(with_spaces)

    return numbers


def token_lengths(texts: Array, settings: TokenSettings) -> Array:
    """Returns the number of tokens of each text, int64 `(n,)`, before they are cut."""
    return count_tokens(texts, settings, ["", "[UNK]", "-"])[0]


def count_tokens(texts: Array, settings: TokenSettings, vocabulary: Sequence[str]) -> tuple[Array, int]:
    """Returns the number of tokens of each text, int64 `(n,)`, before they are cut; and how many the vocabulary lacks."""
    if settings.own is not None:
        return settings.own.count(texts)
    layer = settings.of_spaced.layer(vocabulary=list(vocabulary[2:]), ragged=True)
    lengths, unknown = [np.zeros(0, "int64")], 0
    for block in _blocks(texts, settings):
        numbers = layer(block)
        lengths.append(numbers.row_lengths().numpy())
        unknown += int((numbers.flat_values.numpy() == UNKNOWN).sum())
    return np.concatenate(lengths), unknown


def _blocks(texts: Array, settings: TokenSettings) -> Iterator[Any]:
    """Yields the texts as tensors `(rows, 1)`, with spaces between their tokens if Keras cannot split them otherwise."""
    from dlcli.runtime.engine import tf

    for start in range(0, len(texts), _BLOCK):
        block = texts[start : start + _BLOCK]
        if settings.split == "unicode_words":
            block = np.array([_with_spaces(text, settings) for text in block], dtype=object)
        yield tf.constant(block[:, None])


def _with_spaces(text: str, settings: TokenSettings) -> str:
    return " ".join(SPLITS[settings.split](STANDARDIZE[settings.standardize or "none"](text)))
