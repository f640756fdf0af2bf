"""What is explained: files that a user names, or examples of the run's own data, wrong answers first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ModelInputs
from dlcli.data.splits import Splits
from dlcli.errors import DataError, DlcliError
from dlcli.predict.inputs import Skip, batches, matching_files
from dlcli.runs import Run
from dlcli.score.outcome import has_outcome, read_outcome
from dlcli.spec.data.sources import Examples
from dlcli.spec.experiment import Experiment

WRONG, SHOWN = 4, 8
"""Examples that are shown where no file is named: up to 4 wrong answers, then right ones up to 8."""
MOST_FILES = 100


@dataclass(frozen=True)
class Image:
    """An image to be explained: its name, pixels `(height, width, channels)`, and its label in words, if it has one."""

    name: str
    pixels: Array
    label: str = ""


def named_images(files: Sequence[str], taken: ModelInputs, experiment: Experiment, skip: Skip) -> list[Image]:
    """Returns the images of files and folders, read as in training; 100 at most.

    Raises:
        UsageError: a name fits nothing.
        DataError: none can be read.
    """
    found, _ = matching_files(files, taken.kind)
    images: list[Image] = []
    for batch in batches(found, taken, experiment, size=16, skip=skip):
        images += [
            Image(one, pixels) for one, pixels in zip(batch.ids, batch.inputs.read(np.arange(len(batch.ids))), strict=True)
        ]
        if len(images) >= MOST_FILES:
            break
    if not images:
        raise DataError("nothing to explain: no image could be read")
    return images[:MOST_FILES]


def own_images(run: RunFolder, splits: Splits, part: str) -> list[Image]:
    """Returns some images of a run's data: the surest wrong answers, then right ones of different classes."""
    examples = splits[part]
    places = _places(run, part, examples)
    pixels = examples.inputs.read(places)
    return [
        Image(examples.ids[place], one, splits.task.output.text(examples.targets[place], splits.classes))
        for place, one in zip(places.tolist(), pixels, strict=True)
    ]


def _places(run: RunFolder, part: str, examples: Examples) -> Array:
    """Returns which examples are shown; the first ones where the run's predictions do not tell which are wrong."""
    first = np.arange(min(SHOWN, len(examples)))
    try:
        outcome = read_outcome(run, part) if has_outcome(run, part) else None
    except DlcliError:
        return first
    if outcome is None or not outcome.has_one_class or outcome.scores is None or outcome.ids != examples.ids:
        return first
    right = outcome.predicted == outcome.truth
    sure = outcome.scores.max(axis=1)
    wrong = np.flatnonzero(~right)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")][:WRONG]
    good = np.flatnonzero(right)
    turns = _turns(outcome.truth[good])
    return np.concatenate([wrong, good[np.argsort(turns, kind="stable")][: SHOWN - len(wrong)]])


def _turns(labels: Array) -> Array:
    """Returns for each label how many equal ones stand before it."""
    seen: dict[int, int] = {}
    turns = []
    for label in labels.tolist():
        turns.append(seen.get(label, 0))
        seen[label] = turns[-1] + 1
    return np.array(turns, dtype="int64")


def sample(examples: Examples, most: int) -> Examples:
    """Returns up to so many examples, drawn evenly."""
    if len(examples) <= most:
        return examples
    return examples.take(np.linspace(0, len(examples) - 1, most).astype("int64"))


def as_columns(examples: Examples) -> dict[str, Array]:
    """Returns rows as columns by name: their own names, or `feature 0` and so on."""
    prefix = "" if examples.inputs.columns else "feature "
    return {f"{prefix}{name}": column for name, column in examples.inputs.table().items()}
