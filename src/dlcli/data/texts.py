"""Columns of texts: how long they are, and which tokens the vocabulary of the training split has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.splits import Splits
from dlcli.errors import DataError
from dlcli.runs import RunFolder
from dlcli.runtime.tokens import UNKNOWN, TokenSettings, count_tokens, fitted_vocabulary, token_lengths
from dlcli.spec.data.text import TextSettings
from dlcli.spec.experiment import Experiment

_PERCENTILE, LONGEST = 95, 500
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
        size: the number of tokens in its vocabulary.
        vocabulary: the tokens of its vocabulary by their numbers, from those of padding and of unknown tokens; empty for a
            pretrained network, which has its own.
        parts: the tokens in each split.
    """

    size: int
    vocabulary: tuple[str, ...]
    parts: Mapping[str, PartOfTexts]

    def as_json(self) -> dict[str, Any]:
        """Returns the facts without the vocabulary, as plain data."""
        return {"vocabulary": self.size, "parts": {name: asdict(part) for name, part in self.parts.items()}}


def resolved_text(experiment: Experiment, splits: Splits) -> TextSettings:
    """Returns the settings with the length of texts that the training split decides."""
    settings, inputs = experiment.data.text, splits.train.inputs
    if not inputs.text_columns or settings.max_length != "auto":
        return settings
    tokens = experiment.model.token_settings(settings)
    lengths = [token_lengths(inputs.columns[name], tokens) for name in inputs.text_columns]
    longest = max(int(np.percentile(of_column, _PERCENTILE)) for of_column in lengths)
    most = LONGEST if tokens.own is None else min(LONGEST, tokens.own.longest or LONGEST)
    return settings.model_copy(update={"max_length": max(1, min(longest, most))})


def vocabularies_of(experiment: Experiment, splits: Splits) -> Mapping[str, tuple[str, ...]]:
    """Returns the vocabulary of each column of texts: those of the splits, if they are known.

    A training that starts from the weights of a run has the vocabularies of that run, since a weight belongs to a token;
    otherwise they are those of the training split. A pretrained network has its own, which is not repeated here.

    Raises:
        DataError: no training text of a column has a token, or the run split its texts in another way.
    """
    inputs = splits.train.inputs
    if splits.vocabularies or not inputs.text_columns or experiment.model.needs_texts:
        return splits.vocabularies
    if experiment.training.initial_weights:
        return _of_earlier_run(RunFolder(Path(experiment.training.initial_weights)), experiment)
    tokens = experiment.data.text.token_settings()
    vocabularies = {name: fitted_vocabulary(inputs.columns[name], tokens) for name in inputs.text_columns}
    for name, vocabulary in vocabularies.items():
        if len(vocabulary) <= UNKNOWN + 1:
            raise DataError(f"column `{name}`: no training text has a token")
    return vocabularies


def _of_earlier_run(run: RunFolder, experiment: Experiment) -> dict[str, tuple[str, ...]]:
    text, earlier = experiment.data.text, run.experiment().data.text
    if text.model_copy(update={"max_length": earlier.max_length, "batches": earlier.batches}) != earlier:
        raise DataError(f"data.text: {run.id}, whose weights the training starts from, split its texts in another way")
    return run.vocabularies()


def text_facts(experiment: Experiment, splits: Splits) -> dict[str, TextFacts]:
    """Returns what is known of each column with a vocabulary; empty where there are none."""
    tokens = experiment.model.token_settings(experiment.data.text)
    vocabularies = splits.vocabularies if tokens.own is None else dict.fromkeys(splits.train.inputs.text_columns, ())
    facts = {}
    for name, vocabulary in vocabularies.items():
        parts = {split: _part(examples.inputs.columns[name], tokens, vocabulary) for split, examples in splits.distinct.items()}
        size = len(vocabulary) - UNKNOWN - 1 if tokens.own is None else tokens.own.vocabulary_size
        facts[name] = TextFacts(size, vocabulary, parts)
    return facts


def _part(texts: Array, settings: TokenSettings, vocabulary: Sequence[str]) -> PartOfTexts:
    lengths, unknown = count_tokens(texts, settings, vocabulary)
    return PartOfTexts(
        unknown=unknown / max(1, int(lengths.sum())),
        median=int(np.median(lengths)),
        percentile=int(np.percentile(lengths, _PERCENTILE)),
        longest=int(lengths.max()),
        cut=float((lengths > settings.max_length).mean()),
        empty=int((lengths == (0 if settings.own is None else settings.own.marks)).sum()),
    )


def text_lines(settings: TextSettings, facts: Mapping[str, TextFacts]) -> list[str]:
    """Returns lines on each column of texts for the log."""
    lines = []
    for name, of_column in facts.items():
        train = of_column.parts["train"]
        unknown = ", ".join(f"{100 * part.unknown:.1f} % ({split})" for split, part in of_column.parts.items())
        lines.append(
            f"text: `{name}`: {of_column.size:,} tokens in the vocabulary; unknown tokens: {unknown};"
            f" a training text has {train.median:,} token{'' if train.median == 1 else 's'} (median), {train.percentile:,}"
            f" (95th percentile), {train.longest:,} (longest); {100 * train.cut:.1f} % are cut to {settings.max_length:,}"
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
            f"{remedy if facts.vocabulary and settings.split == 'whitespace' else ''}"
        )
    if empty := sum(part.empty for part in facts.parts.values()):
        notes.append(f"note: `{name}`: {empty:,} text{' has' if empty == 1 else 's have'} no token")
    return notes


_MANY_UNKNOWN = 0.3
