"""Columns of texts: how long they are, and which tokens the vocabulary of the training split has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.splits import Splits
from dlcli.errors import DataError
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.tokens import TokenSettings, count_tokens, token_lengths, tokenizer
from dlcli.spec.data.text import TextSettings

_PERCENTILE, _LONGEST = 95, 500
"""`max_length: auto` is this percentile of the lengths, and at most so many tokens."""


@dataclass(frozen=True)
class PartOfTexts:
    """The tokens of a column in a split.

    Attributes:
        unknown: the share of the tokens that the vocabulary lacks.
        median: the median length of a text, in tokens.
        percentile: the 95th percentile of the lengths.
        longest: the length of the longest text.
        cut: the share of the texts that are longer than `max_length`.
        empty: the number of texts without a token.
    """

    unknown: float
    median: int
    percentile: int
    longest: int
    cut: float
    empty: int


@dataclass(frozen=True)
class TextFacts:
    """What is known of a column of texts.

    Attributes:
        vocabulary: the tokens of its vocabulary by their numbers, from those of padding and of unknown tokens.
        parts: the tokens in each split.
    """

    vocabulary: tuple[str, ...]
    parts: Mapping[str, PartOfTexts]

    def as_json(self) -> dict[str, Any]:
        """Returns the facts without the vocabulary, as plain data."""
        return {"vocabulary": len(self.vocabulary) - 2, "parts": {name: asdict(part) for name, part in self.parts.items()}}


def text_columns(inputs: Inputs) -> list[str]:
    """Returns the columns of texts."""
    return [name for name, kind in inputs.column_kinds.items() if kind.is_text]


def resolved_text(settings: TextSettings, splits: Splits) -> TextSettings:
    """Returns the settings with the length of texts that the training split decides.

    Raises:
        DataError: no training text of a column has a token.
    """
    inputs = splits.train.inputs
    columns = text_columns(inputs)
    if not columns or settings.max_length != "auto":
        return settings
    lengths = {name: token_lengths(inputs.columns[name], settings.token_settings()) for name in columns}
    for name, of_column in lengths.items():
        if not of_column.max():
            raise DataError(f"column `{name}`: no training text has a token")
    longest = max(int(np.percentile(of_column, _PERCENTILE)) for of_column in lengths.values())
    return settings.model_copy(update={"max_length": max(1, min(longest, _LONGEST))})


def text_facts(settings: TextSettings, splits: Splits) -> dict[str, TextFacts]:
    """Returns what is known of each column of texts; empty where there are none."""
    tokens = settings.token_settings()
    facts = {}
    for name in text_columns(splits.train.inputs):
        vocabulary = tokenizer(splits.train.inputs.columns[name], tokens, "tokens").get_vocabulary()
        parts = {split: _part(examples.inputs.columns[name], tokens, vocabulary) for split, examples in splits.distinct.items()}
        facts[name] = TextFacts(tuple(vocabulary), parts)
    return facts


def _part(texts: Array, settings: TokenSettings, vocabulary: Sequence[str]) -> PartOfTexts:
    lengths, unknown = count_tokens(texts, settings, vocabulary)
    return PartOfTexts(
        unknown=unknown / max(1, int(lengths.sum())),
        median=int(np.median(lengths)),
        percentile=int(np.percentile(lengths, _PERCENTILE)),
        longest=int(lengths.max()),
        cut=float((lengths > settings.max_length).mean()),
        empty=int((lengths == 0).sum()),
    )


def text_lines(settings: TextSettings, facts: Mapping[str, TextFacts]) -> list[str]:
    """Returns lines on each column of texts for the log."""
    lines = []
    for name, of_column in facts.items():
        train = of_column.parts["train"]
        unknown = ", ".join(f"{100 * part.unknown:.1f} % ({split})" for split, part in of_column.parts.items())
        lines.append(
            f"text: `{name}`: {len(of_column.vocabulary) - 2:,} tokens in the vocabulary; unknown tokens: {unknown};"
            f" a training text has {train.median:,} tokens (median), {train.percentile:,} (95th percentile),"
            f" {train.longest:,} (longest); {100 * train.cut:.1f} % are cut to {settings.max_length:,}"
        )
        lines += _notes(name, of_column, settings)
    return lines


def _notes(name: str, facts: TextFacts, settings: TextSettings) -> list[str]:
    notes = []
    held_out = [part.unknown for split, part in facts.parts.items() if split != "train"]
    if held_out and max(held_out) > _MANY_UNKNOWN:
        remedy = "; for a language without spaces between words, set `data.text.split: character`"
        notes.append(
            f"note: `{name}`: {100 * max(held_out):.0f} % of the tokens of new texts are not in the vocabulary"
            f"{remedy if settings.split == 'whitespace' else ''}"
        )
    if empty := sum(part.empty for part in facts.parts.values()):
        notes.append(f"note: `{name}`: {empty:,} text{' has' if empty == 1 else 's have'} no token")
    return notes


_MANY_UNKNOWN = 0.3
