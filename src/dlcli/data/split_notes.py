"""Notes on how examples were split: groups, times, shares that groups do not allow, and examples in no split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dlcli.data.split import HELD_OUT, SplitExamples, share_of
from dlcli.data.time_split import time_in_words, times_of
from dlcli.spec.data.sources import Examples, Opened
from dlcli.spec.data.sources.labels import target_notes
from dlcli.spec.data.split import TimeSettings
from dlcli.spec.experiment import Experiment
from dlcli.tasks import Task
from dlcli.visible import listed

_FAR_SHARE = 0.03
"""A share that differs by more than this from the spec's is reported."""
_FAR_CLASS = 0.1
"""The share of a class in a split that differs by more than this from that of all examples is reported."""


def split_notes(splits: SplitExamples, opened: Opened, experiment: Experiment) -> list[str]:
    """Returns notes for the user on splits that the spec's settings made.

    Args:
        splits: the splits.
        opened: the source that was split.
        experiment: the experiment.
    """
    settings = experiment.data.split
    notes = [
        f"{count:,} example{' is' if count == 1 else 's are'} in no split: {reason}" for reason, count in splits.unused.items()
    ]
    if settings.time is not None:
        notes.append(_time_note(splits, opened.parts["train"], settings.time))
    if settings.group is not None:
        notes += _group_notes(splits, opened, experiment)
    if settings.method == "hash" and settings.group is None and settings.stratify:
        notes.append("the split by hashes does not stratify: every example has its split by itself")
    return notes


def _group_notes(splits: SplitExamples, opened: Opened, experiment: Experiment) -> Iterator[str]:
    groups = {name: examples.groups for name, examples in splits.distinct.items() if examples.groups is not None}
    counts = {name: len(set(values.tolist())) for name, values in groups.items()}
    yield "groups: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())
    if experiment.data.split.method == "random":
        yield from _far_shares(splits, opened, experiment)
        yield from _far_classes(splits, opened, experiment)


def _far_shares(splits: SplitExamples, opened: Opened, experiment: Experiment) -> Iterator[str]:
    settings, total = experiment.data.split, len(opened.parts["train"])
    expected = {name: share_of(name, opened, experiment) for name in ("validation", "test")}
    if settings.folds:
        expected = {"test": 1 / settings.folds}
        total -= splits.unused.get(HELD_OUT, 0) if "test" not in opened.parts else 0
    for name, share in expected.items():
        if share and name in splits and abs(len(splits[name]) / total - share) > _FAR_SHARE:
            actual = len(splits[name]) / total
            yield f"the groups allow no nearer share: the {name} split has {actual:.1%} of the examples instead of {share:.1%}"


def _far_classes(splits: SplitExamples, opened: Opened, experiment: Experiment) -> Iterator[str]:
    strata = experiment.task.output.strata(opened.parts["train"].targets)
    if strata is None or not experiment.data.split.stratify:
        return
    overall = np.bincount(strata, minlength=len(opened.classes)) / len(strata)
    for name, examples in splits.distinct.items():
        if name in opened.parts and name != "train":
            continue
        shares = np.bincount(examples.targets, minlength=len(opened.classes)) / len(examples)
        worst = int(np.abs(shares - overall).argmax())
        if abs(shares[worst] - overall[worst]) > _FAR_CLASS:
            yield (
                f"the groups allow no nearer proportions: class {opened.classes[worst]!r} is {shares[worst]:.1%} of the {name}"
                f" split and {overall[worst]:.1%} of all examples"
            )


def _time_note(splits: SplitExamples, source: Examples, settings: TimeSettings) -> str:
    times, is_date = times_of(source, settings)
    time_by_id = dict(zip(source.ids, times.tolist(), strict=True))
    ranges = []
    for name, examples in splits.distinct.items():
        values = [time_by_id[example] for example in examples.ids if example in time_by_id]
        if values:
            first, last = (time_in_words(value, is_date=is_date) for value in (min(values), max(values)))
            ranges.append(f"{name} {first} to {last}")
    return f"split by `{settings.column}`: {', '.join(ranges)}"


def note_of_ignored(splits: SplitExamples, opened: Opened) -> list[str]:
    """Returns a note on the examples that a split file does not name, if there are any."""
    used = sum(map(len, splits.distinct.values())) + sum(splits.unused.values())
    count = sum(map(len, opened.parts.values())) - used
    subject, verb = ("1 example", "is") if count == 1 else (f"{count:,} examples", "are")
    return [f"{subject} {verb} not in the split file and {verb} ignored"] if count else []


def class_notes(splits: SplitExamples, opened: Opened, task: Task) -> list[str]:
    """Returns notes on the classes, or the targets, of the splits, and on a validation split that is the test split."""
    shared = [
        "the test split is the validation split (data.split.test): it selects the best epoch, so its score is not a test score"
    ]
    notes = shared if splits.test_is_validation else []
    strata = task.output.strata(splits.train.targets)
    if not task.output.is_row:
        return notes
    if strata is None:
        return [*notes, *target_notes(splits.train.targets, opened.classes)]
    present = np.bincount(strata, minlength=len(opened.classes))
    notes += [f"class {opened.classes[index]!r} has no training examples" for index in np.flatnonzero(present == 0)[:5]]
    if splits.test is not None:
        tested = np.bincount(splits.test.targets, minlength=len(opened.classes))
        missing_classes = [opened.classes[index] for index in np.flatnonzero((tested == 0) & (present > 0))]
        if missing_classes:
            subject = "1 class has" if len(missing_classes) == 1 else f"{len(missing_classes)} classes have"
            notes.append(f"{subject} too few examples for the test split: {listed(tuple(missing_classes))}")
    return notes
