"""The texts of notable examples, shortened, with the words that decided the most confident mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dlcli.arrays import Array
from dlcli.runs.notable_texts import NotableText, Piece
from dlcli.score.notable import NotableExample
from dlcli.score.outcome import Outcome
from dlcli.score.words import Occlusion, Row, Word, rows_of
from dlcli.spec.data.sources import Examples
from dlcli.tasks import Classes

_EXPLAINED_KINDS = ("confident_error", "largest_error")
_MOST_EXPLAINED = 12
"""Examples whose words are replaced: a text of 200 words takes 200 predictions."""
_WORDS = 6
"""Words that are marked in a text."""
_SMALLEST_SHARE = 0.1
"""The effect of a marked word, as a share of the largest one."""
_AROUND, _BEGINNING = 60, 240
"""Characters that are shown on both sides of a marked word, and of the beginning of a text without any."""
_OMITTED = "…"


def notable_texts(
    notable: Sequence[NotableExample], examples: Examples, outcome: Outcome, occlusion: Occlusion | None
) -> list[NotableText]:
    """Returns the texts of notable examples.

    Args:
        notable: the examples.
        examples: all examples of the split.
        outcome: the predictions for them.
        occlusion: replaces words and asks the model; None where there is no model, so that no words are marked.
    """
    places = list(dict.fromkeys(example.place for example in notable))
    explained = [example.place for example in notable if example.kind in _EXPLAINED_KINDS][:_MOST_EXPLAINED]
    texts: list[NotableText] = []
    for place, row in zip(places, rows_of(examples.inputs, np.array(places, dtype="int64")), strict=True):
        name, words = "", list[tuple[Word, float]]()
        if occlusion is not None and place in explained:
            at = _explained_name(outcome, place)
            name, words = outcome.classes[at], _deciding(occlusion, row, at)
        for column in examples.inputs.text_columns:
            of_column = [(word, effect) for word, effect in words if word.column == column]
            pieces = list(excerpt(str(row[column]), of_column))
            texts.append(NotableText(id=examples.ids[place], column=column, explained=name, pieces=pieces))
    return texts


def _explained_name(outcome: Outcome, place: int) -> int:
    """Returns the predicted class, or the first target."""
    return int(outcome.predicted[place]) if isinstance(outcome.task.output, Classes) else 0


def _deciding(occlusion: Occlusion, row: Row, name: int) -> list[tuple[Word, float]]:
    """Returns the words with the largest effects, positive or negative, with their effects."""
    words, effects = occlusion.effects(row)
    if not words:
        return []
    sizes: Array = np.abs(effects[:, name])
    order = np.argsort(-sizes, kind="stable")[:_WORDS]
    smallest = max(_SMALLEST_SHARE * float(sizes.max()), np.finfo("float64").tiny)
    return [(words[place], float(effects[place, name])) for place in sorted(order.tolist()) if sizes[place] >= smallest]


def excerpt(text: str, words: Sequence[tuple[Word, float]]) -> Iterator[Piece]:
    """Yields a text in pieces: words with their effects, and what is around them; or its beginning if there are no words.

    Args:
        text: the text.
        words: words of it with their effects, in order.
    """
    if not words:
        yield from _cut(text, 0, min(len(text), _BEGINNING))
        return
    end = 0
    for number, (word, effect) in enumerate(words):
        start = max(end, word.start - _AROUND)
        yield from _cut(text, start, word.start, ends=False, begins=start > end)
        yield Piece(text=text[word.start : word.end], effect=effect)
        following = words[number + 1][0].start if number + 1 < len(words) else len(text)
        end = min(word.end + _AROUND, following)
        yield from _cut(text, word.end, end, begins=False, ends=number + 1 == len(words))


def _cut(text: str, start: int, end: int, *, begins: bool = True, ends: bool = True) -> Iterator[Piece]:
    """Yields a part of a text, with dots where something before it (`begins`) or after it (`ends`) is left out."""
    before = _OMITTED if begins and start > 0 else ""
    after = _OMITTED if ends and end < len(text) else ""
    if part := before + text[start:end] + after:
        yield Piece(text=part)
