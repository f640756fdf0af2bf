"""Explanations of texts: the words that decided single predictions, and the words with the largest effects in a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ModelInputs
from dlcli.data.splits import Splits
from dlcli.errors import DataError
from dlcli.explain.subjects import MOST_FILES, places_of, sample
from dlcli.predict.batch import Skip
from dlcli.predict.inputs import batches, matching_files
from dlcli.predict.texts import text_files_of
from dlcli.runs import RunFolder
from dlcli.score.words import Occlusion, Row, Word, rows_of
from dlcli.spec.experiment import Experiment

MOST_TEXTS, MOST_OCCLUSIONS = 1000, 10_000
"""The most texts of a split whose words are replaced, and the most replacements."""
FEWEST = 3
"""Texts that must have a word whose mean effect is shown; fewer if no word is in so many."""
MOST_CLASSES = 10
"""The most classes whose words are shown."""


@dataclass(frozen=True)
class Text:
    """An example with texts to be explained: its name, its columns, and its label as text, if it has one."""

    name: str
    row: Row
    label: str = ""


@dataclass(frozen=True)
class WordEffect:
    """The mean effect of a word on the score of a class, label or target, and the number of texts that have it."""

    word: str
    texts: int
    mean: float


def named_texts(files: Sequence[str], model_inputs: ModelInputs, experiment: Experiment, skip: Skip) -> list[Text]:
    """Returns the texts of files and folders, read as by `predict`; at most 100.

    Raises:
        UsageError: a name matches no file.
        DataError: none can be read.
    """
    paths, _ = matching_files(files, model_inputs.kind, text_files=text_files_of(experiment) is not None)
    texts: list[Text] = []
    for batch in batches(paths, model_inputs, experiment, size=MOST_FILES, skip=skip):
        if batch.ids:
            rows = rows_of(batch.inputs, np.arange(len(batch.ids)))
            texts += [Text(name, row) for name, row in zip(batch.ids, rows, strict=True)]
        if len(texts) >= MOST_FILES:
            break
    if not texts:
        raise DataError("nothing to explain: no text could be read")
    return texts[:MOST_FILES]


def own_texts(run: RunFolder, splits: Splits, split: str) -> list[Text]:
    """Returns texts of a run's data: the most confident wrong predictions, then correct ones of different classes."""
    examples = splits[split]
    places = places_of(run, split, examples)
    return [
        Text(examples.ids[place], row, splits.task.output.text(examples.targets[place], splits.classes))
        for place, row in zip(places.tolist(), rows_of(examples.inputs, places), strict=True)
    ]


def mean_effects(occlusion: Occlusion, splits: Splits, split: str) -> tuple[int, dict[str, list[Array]]]:
    """Returns the number of texts that were read, and the effects `(names,)` of each word in the texts that have it."""
    examples = sample(splits[split], MOST_TEXTS)
    order = np.random.default_rng(0).permutation(len(examples))  # a folder is sorted by class
    return occlusion.effects_of_all(rows_of(examples.inputs, order), MOST_OCCLUSIONS)


def ranked(effects: dict[str, list[Array]], place: int) -> list[WordEffect]:
    """Returns the words in at least three texts by their mean effects on a class, label or target, the largest first."""
    rows = [
        WordEffect(word, len(of_texts), float(np.mean([effect[place] for effect in of_texts])))
        for word, of_texts in effects.items()
    ]
    frequent = [row for row in rows if row.texts >= FEWEST] or rows
    return sorted(frequent, key=lambda row: (-row.mean, row.word))


def deciding(words: Sequence[Word], effects: Array, most: int) -> list[tuple[Word, float]]:
    """Returns the words with the largest effects, positive or negative, and their effects, in the order of the text."""
    order = np.argsort(-np.abs(effects), kind="stable")[:most]
    return [(words[place], float(effects[place])) for place in sorted(order.tolist()) if effects[place] != 0]
