"""The folds of a cross-validation: the fold of every example, and the examples that are in none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dlcli.data.source_examples import open_readable, with_targets
from dlcli.data.split import folds_of
from dlcli.spec.data.sources import Examples, Opened
from dlcli.spec.experiment import Experiment


@dataclass(frozen=True)
class Folds:
    """The folds of a source's examples.

    Attributes:
        numbers: the fold of each example by its id, 1 to `data.split.folds`; 0 for the held-out examples.
        held_out: the examples that are in no fold, on which an ensemble of the folds is scored; None if all are in folds.
        groups: the group of each of these examples by its id; empty where examples are not split by groups.
    """

    numbers: dict[str, int]
    held_out: Examples | None
    groups: dict[str, str] = field(default_factory=dict)


def fold_numbers(opened: Opened, experiment: Experiment) -> Folds:
    """Returns the fold of each example of a source, and the held-out examples.

    The test split of a run with `data.split.fold: i` has exactly the examples of fold i. The folds depend on the source, the
    seed, `data.split.folds` and `data.split.repeat`, not on `fold`, which need not be set. Held out are the test part of the
    source or, if `data.split.test` is a fraction above 0, the examples of that share: those of the test split of the same
    spec without `folds`. With `test: auto` and no test part of the source, and with `test: 0`, there are none. The validation
    part of a source is in no fold, and not held out: it is the validation split of every run.

    Args:
        opened: the source without its unreadable files, as `open_folds` reads it.
        experiment: an experiment that sets `data.split.folds`.

    Raises:
        DataError: there are fewer examples, or groups, than folds.
    """
    source, numbers = opened.parts["train"], folds_of(opened, experiment)
    ids = dict(zip(source.ids, numbers.tolist(), strict=True))
    held_out = opened.parts.get("test")
    if (numbers == 0).any():
        held_out = source.take(np.flatnonzero(numbers == 0))
    ids |= dict.fromkeys(held_out.ids if held_out else (), 0)
    groups = {
        name: group
        for examples in (source, held_out)
        if examples is not None and examples.groups is not None
        for name, group in zip(examples.ids, examples.groups.tolist(), strict=True)
    }
    return Folds(ids, held_out and with_targets(held_out, experiment.task), groups)


def open_folds(experiment: Experiment, *, offline: bool = False) -> Folds:
    """Opens the source and returns its folds; images stay in their files until they are read.

    Args:
        experiment: a prepared experiment (`data.resolve.prepared`), or that of a fold's run.
        offline: whether nothing may be downloaded.

    Raises:
        DataError: the data cannot be read, or there are fewer examples, or groups, than folds.
    """
    return fold_numbers(open_readable(experiment, offline=offline).opened, experiment)
