"""The occlusion of words: what decided the predictions of single texts, and the words with the largest effects in a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlcli.explain.context import ExplanationContext, example_caption, explained_places
from dlcli.explain.tables import answers
from dlcli.explain.texts import (
    MOST_CLASSES,
    Text,
    WordEffect,
    deciding,
    mean_effects,
    named_texts,
    own_texts,
    ranked,
)
from dlcli.runs.explanations import Explanation, file_name, write_numbers
from dlcli.runs.numbers import digits
from dlcli.runs.scored_splits import split_title
from dlcli.runtime.inputs import TableColumns
from dlcli.score.words import Occlusion, Word, columns_of
from dlcli.tasks import Decisions
from dlcli.visible import visible

_SHOWN, _NAMED = 20, 3
"""Words in a picture, and words of each sign in a description."""


def words_that_decided(context: ExplanationContext, files: Sequence[str]) -> list[Explanation]:
    """Explains the texts of files; or, without files, texts of the run's data and the split as a whole."""
    occlusion = _occlusion(context)
    if files:
        texts = named_texts(files, context.model_inputs, context.experiment, context.skip)
        return _of_texts(context, occlusion, texts)
    splits, split = context.data
    return [*_of_texts(context, occlusion, own_texts(context.run, splits, split)), *_of_split(context, occlusion)]


def _occlusion(context: ExplanationContext) -> Occlusion:
    layout = context.model_inputs.layout
    assert layout is not None  # as of every model of texts
    experiment = context.experiment
    vocabularies = context.run.vocabularies()
    return Occlusion(context.model, layout, experiment.data.text, vocabularies, experiment.task, context.classes)


def _of_texts(context: ExplanationContext, occlusion: Occlusion, texts: Sequence[Text]) -> list[Explanation]:
    layout = context.model_inputs.layout
    assert layout is not None
    inputs = TableColumns(columns_of([text.row for text in texts], layout), layout.kinds, layout)
    output = answers(context.model, inputs, context.experiment.task)
    places = explained_places(context, output)
    return [
        _of_text(context, occlusion, text, output[at], int(place))
        for at, (text, place) in enumerate(zip(texts, places, strict=True))
    ]


def _of_text(context: ExplanationContext, occlusion: Occlusion, text: Text, output: Any, place: int) -> Explanation:
    """Writes the effects of one text's words as picture and table and returns the explanation."""
    from dlcli.explain.pictures import draw_words

    words, effects = occlusion.effects(text.row)
    effects, name = effects[:, place], context.classes[place]
    title = f"Words for {name}: {text.name}"
    file = file_name("occlusion", title, f"{name} {text.name}")
    caption = example_caption(context, text.label, output, place)
    shown = [(_cell(text, word), effect) for word, effect in deciding(words, effects, _SHOWN)]
    draw_words(shown, f"{name}: {text.name}", caption, f"rise of {_score(context)} by the word", context.folder / file)
    rows = ((word.column, word.start, _cell(text, word), digits(effect)) for word, effect in zip(words, effects, strict=True))
    write_numbers(context.folder, file, ("column", "start", "word", "effect"), rows)
    return Explanation(file, "occlusion", visible(title), visible(f"{caption}; {_in_words(shown)}"))


def _cell(text: Text, word: Word) -> str:
    """Returns a word as it stands in its text."""
    return str(text.row[word.column][word.start : word.end])


def _in_words(shown: Sequence[tuple[str, float]]) -> str:
    """Returns the words with the largest effects in a sentence."""
    order = sorted(shown, key=lambda pair: -pair[1])
    groups = {
        "for it": [pair for pair in order if pair[1] > 0][:_NAMED],
        "against it": [pair for pair in reversed(order) if pair[1] < 0][:_NAMED],
    }
    parts = [
        f"{sign}: " + ", ".join(f"{word[:40]} {effect:+.2g}" for word, effect in pairs)
        for sign, pairs in groups.items()
        if pairs
    ]
    return "; ".join(parts) or "no word has an effect"


def _score(context: ExplanationContext) -> str:
    return "the log odds" if isinstance(context.experiment.task.output, Decisions) else "the value"


def _of_split(context: ExplanationContext, occlusion: Occlusion) -> list[Explanation]:
    splits, split = context.data
    count, effects = mean_effects(occlusion, splits, split)
    return [_of_class(context, ranked(effects, place), place, count) for place in _places(context)] if effects else []


def _places(context: ExplanationContext) -> list[int]:
    """Returns the explained classes: the requested one; of two the second, since a word for one is against the other."""
    if context.class_name:
        return [context.classes.index(context.class_name)]
    if len(context.classes) == 2 and context.experiment.task.units(2) == 1:
        return [1]
    return list(range(min(len(context.classes), MOST_CLASSES)))


def _of_class(context: ExplanationContext, rows: Sequence[WordEffect], place: int, texts: int) -> Explanation:
    """Writes the mean effects of words on one class as picture and table and returns the explanation."""
    from dlcli.explain.pictures import draw_words

    _, split = context.data
    name = context.classes[place]
    file = file_name("occlusion", f"Words for {name} in the {split} split", name)
    title = f"Words with the largest mean effect on {name} in the {split_title(context.run, split)} split"
    order = np.argsort([-abs(row.mean) for row in rows], kind="stable")[:_SHOWN]
    shown = [(f"{rows[at].word} ({rows[at].texts})", rows[at].mean) for at in sorted(order.tolist())]
    caption = f"words of {texts:,} texts, with the number of texts that have each"
    draw_words(shown, title, caption, f"mean rise of {_score(context)} by the word", context.folder / file)
    write_numbers(context.folder, file, ("word", "texts", "effect"), ((row.word, row.texts, digits(row.mean)) for row in rows))
    text = f"mean rise of {_score(context)} of {name} by a word in {texts:,} texts: {_in_words(_pairs(rows))}"
    return Explanation(file, "occlusion", visible(title), visible(text))


def _pairs(rows: Sequence[WordEffect]) -> list[tuple[str, float]]:
    return [(row.word, row.mean) for row in rows]
