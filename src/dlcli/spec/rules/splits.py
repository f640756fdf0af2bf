"""Rules on `data.split`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from dlcli.spec.experiment import Experiment

Finding = tuple[tuple[str | int, ...], str]


def _splits_leave_training(experiment: Experiment) -> Iterator[Finding]:
    split = experiment.data.split
    shares = [share for share in (split.validation, split.test) if isinstance(share, float)]
    if sum(shares) >= 1:
        yield ("data", "split"), f"validation and test add up to {sum(shares):g}, which leaves too few training examples"
    if split.validation == "validation":
        yield ("data", "split", "validation"), "expected a fraction from 0 to below 1, `auto` or `source`"
    if split.test == "validation" and split.validation == 0:
        yield ("data", "split", "test"), "there is no validation split to test on: `validation` is 0"
    if split.file is not None and not Path(split.file).is_file():
        yield ("data", "split", "file"), f"no file {split.file}"


def _explicit_splits_fit(experiment: Experiment) -> Iterator[Finding]:
    facts, split = experiment.data.facts(experiment.task), experiment.data.split
    for part, setting, share in (
        ("validation", facts.has_validation, split.validation),
        ("test", facts.has_test, split.test),
    ):
        if setting and (isinstance(share, float) or share == "validation"):
            yield ("data", "split", part), f"the source has its own {part} split; remove this field, or set `auto`"
        if setting is False and share == "source" and not any(experiment.data.source.faults()):
            yield ("data", "split", part), f"the source has no {part} split"


def _folds_are_complete(experiment: Experiment) -> Iterator[Finding]:
    split = experiment.data.split
    if split.folds is None:
        if split.fold is not None:
            yield ("data", "split", "fold"), "set the number of folds too, such as `folds: 5`"
        if split.repeat != 1:
            yield ("data", "split", "repeat"), "has no effect without `folds`"
        return
    if split.fold is None:
        yield ("data", "split", "folds"), "set `fold` too: the number of the fold that is the test split"
    elif split.fold > split.folds:
        yield ("data", "split", "fold"), f"expected 1 to {split.folds}, the number of folds"
    if split.test == "validation":
        yield ("data", "split", "test"), "the test split is a fold; remove `test: validation` or `folds`"
    if split.file is not None:
        yield ("data", "split", "folds"), "`file` sets the split of each example; remove `folds` or `file`"


RULES: tuple[Callable[[Experiment], Iterator[Finding]], ...] = (
    _splits_leave_training,
    _explicit_splits_fit,
    _folds_are_complete,
)
