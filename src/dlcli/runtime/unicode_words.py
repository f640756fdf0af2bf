"""Words of any script inside a saved model, from layers of Keras alone.

Keras splits texts at spaces or into characters, and another way would be a function of Python, which a saved model cannot
bring along. So each character becomes a number, and the number a text with the spaces that separate the character from its
neighbours; these are joined again, and Keras splits the result at its spaces.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from dlcli.runtime.text_tokens import JOINERS, replacement
from dlcli.upstream.keras import import_keras

_UNKNOWN = "[UNK]"
"""Stands for a character that no token of the vocabulary has. It is no word, since brackets separate words."""
_STEPS = 8
"""Characters that are joined at once at first: slices of numbers are cheaper than those of texts."""
_ROUNDS = 15
"""How often neighbours are joined after that, which is enough for 8 * 2 ** 15 characters; a longer text is cut."""


def words_layer_name(first: str) -> str:
    """Returns the name of the layer that splits the spaced texts, from the name of the layer that splits into characters."""
    return f"{first}_of_words"


def spaced(tensor: Any, vocabulary: Sequence[str], standardize: str | None) -> tuple[Any, str]:
    """Returns texts `(batch, 1)` with spaces between their words, and the name of the first layer.

    Of the letters only those of the vocabulary are kept: a word with any other is unknown whatever it is.

    Args:
        tensor: the texts `(batch, 1)`.
        vocabulary: the tokens, without those of padding and of unknown tokens.
        standardize: the change of a text before it is split, as Keras names it.
    """
    keras = import_keras()
    known = sorted({letter for token in vocabulary for letter in token if letter != "\0" and replacement(letter).strip()})
    others = sorted(set(_alone()).difference(known))
    characters = [*known, *others, *_separators(), *JOINERS]
    first = keras.layers.TextVectorization(standardize=standardize, split="character", vocabulary=characters)
    numbers = _merged(first(tensor), len(known) + 2, len(others))
    replacements = [*map(replacement, known), f" {_UNKNOWN} ", " "]
    lookup = keras.layers.StringLookup(vocabulary=replacements, invert=True, mask_token="", oov_token=_UNKNOWN)
    nothing = keras.layers.StringLookup(vocabulary=["-"])(tensor) * 0
    return _joined(lookup(_steps(numbers, nothing))), first.name


def _merged(numbers: Any, others: int, count: int) -> Any:
    """Returns the numbers of replacements: one for all other words of one character, one for all separators, 0 for joiners."""
    ops, separators = import_keras().ops, others + count
    separated = ops.where(numbers >= separators, others + 1, ops.minimum(numbers, others))
    return ops.where(numbers >= separators + len(_separators()), 0, separated)


def _steps(numbers: Any, nothing: Any) -> Any:
    """Returns numbers `(batch, 1, steps + 1, 8, 1)` of which each step has neighbouring characters, the last of them none."""
    ops = import_keras().ops
    padded = ops.concatenate([numbers, *[nothing] * (2 * _STEPS - 1)], axis=1)
    slices = [padded[:, place : place + 1 - _STEPS or None : _STEPS] for place in range(_STEPS)]
    return ops.expand_dims(ops.expand_dims(ops.stack(slices, axis=2), 1), 4)


def _joined(parts: Any) -> Any:
    """Returns the texts `(batch, 1)` of parts `(batch, 1, steps + 1, 8, 1)`; those of the last step are empty.

    The second and the last axis have the length 1: otherwise Keras may add the second tensor as a bias, and there is no such
    operation for texts (Keras 3.15, github.com/keras-team/keras `src/backend/tensorflow/numpy.py`, `add`).
    """
    ops, width = import_keras().ops, _STEPS
    while width > 1:
        parts, width = ops.add(parts[:, :, :, ::2], parts[:, :, :, 1::2]), width // 2
    texts = parts[:, :, :, 0]
    nothing = texts[:, :, -1:]
    for _ in range(_ROUNDS):
        texts = ops.concatenate([texts, nothing], axis=2)
        texts = ops.add(texts[:, :, :-1:2], texts[:, :, 1::2])
    return texts[:, 0, 0]


@cache
def _characters() -> tuple[tuple[str, str], ...]:
    every = (chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    return tuple((character, replacement(character)) for character in every)


@cache
def _alone() -> tuple[str, ...]:
    """The characters that are words of their own."""
    return tuple(character for character, spaced in _characters() if len(spaced) > 1)


@cache
def _separators() -> tuple[str, ...]:
    return tuple(character for character, spaced in _characters() if spaced == " ")
