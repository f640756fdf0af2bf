"""The explained images: files that a user names, or examples of the run's own data, wrong predictions first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ModelInputs
from dlcli.data.splits import Splits
from dlcli.errors import DataError, DlcliError
from dlcli.predict.batch import Skip
from dlcli.predict.inputs import batches, matching_files
from dlcli.runs import RunFolder
from dlcli.runtime.windows import Windows
from dlcli.score.outcome import has_outcome, read_outcome
from dlcli.spec.data.sources import Examples
from dlcli.spec.experiment import Experiment

WRONG, SHOWN = 4, 8
"""Examples that are shown where no file is named: up to 4 wrong predictions, then correct ones up to a total of 8."""
MOST_FILES = 100


@dataclass(frozen=True)
class Image:
    """An image to be explained: its name, pixels `(height, width, channels)`, and its label as text, if it has one."""

    name: str
    pixels: Array
    label: str = ""


def named_images(files: Sequence[str], model_inputs: ModelInputs, experiment: Experiment, skip: Skip) -> list[Image]:
    """Returns the images of files and folders, read as in training; at most 100.

    Raises:
        UsageError: a name matches no file.
        DataError: none can be read.
    """
    paths, _ = matching_files(files, model_inputs.kind)
    images: list[Image] = []
    for batch in batches(paths, model_inputs, experiment, size=16, skip=skip):
        images += [
            Image(example_id, pixels)
            for example_id, pixels in zip(batch.ids, batch.inputs.read(np.arange(len(batch.ids))), strict=True)
        ]
        if len(images) >= MOST_FILES:
            break
    if not images:
        raise DataError("nothing to explain: no image could be read")
    return images[:MOST_FILES]


def own_images(run: RunFolder, splits: Splits, split: str) -> list[Image]:
    """Returns images of a run's data: the most confident wrong predictions, then correct ones of different classes."""
    examples = splits[split]
    places = places_of(run, split, examples)
    pixels = examples.inputs.read(places)
    return [
        Image(examples.ids[place], image, splits.task.output.text(examples.targets[place], splits.classes))
        for place, image in zip(places.tolist(), pixels, strict=True)
    ]


def places_of(run: RunFolder, split: str, examples: Examples) -> Array:
    """Returns the indices of the shown examples; the first ones where the stored predictions do not show which are wrong."""
    first = np.arange(min(SHOWN, len(examples)))
    try:
        outcome = read_outcome(run, split) if has_outcome(run, split) else None
    except DlcliError:
        return first
    if outcome is None or not outcome.has_one_class or outcome.scores is None or outcome.ids != examples.ids:
        return first
    is_correct = outcome.predicted == outcome.truth
    confidence = outcome.scores.max(axis=1)
    wrong_places = np.flatnonzero(~is_correct)
    wrong_places = wrong_places[np.argsort(-confidence[wrong_places], kind="stable")][:WRONG]
    correct_places = np.flatnonzero(is_correct)
    ranks = _ranks_among_equals(outcome.truth[correct_places])
    return np.concatenate([wrong_places, correct_places[np.argsort(ranks, kind="stable")][: SHOWN - len(wrong_places)]])


def _ranks_among_equals(labels: Array) -> Array:
    """Returns for each label the number of equal labels before it."""
    counts: dict[int, int] = {}
    ranks = []
    for label in labels.tolist():
        ranks.append(counts.get(label, 0))
        counts[label] = ranks[-1] + 1
    return np.array(ranks, dtype="int64")


def sample(examples: Examples, most: int) -> Examples:
    """Returns at most `most` examples at even distances."""
    if len(examples) <= most:
        return examples
    return examples.take(np.linspace(0, len(examples) - 1, most).astype("int64"))


def as_columns(examples: Examples) -> dict[str, Array]:
    """Returns rows as columns by name: the table's names, or `feature 0` and so on; of windows the channels by their names."""
    prefix = "" if examples.inputs.columns or isinstance(examples.inputs, Windows) else "feature "
    return {f"{prefix}{name}": column for name, column in examples.inputs.table().items()}
