"""What `data.balance` makes of a training split: weights of classes, and the examples of each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from dlcli.arrays import Array
from dlcli.data.splits import Splits
from dlcli.errors import DataError, UsageError
from dlcli.runtime.epoch_draw import EpochDraw
from dlcli.runtime.inputs import Inputs
from dlcli.spec.data.balance import BalanceSpec
from dlcli.spec.data.balance.base import ClassCounts
from dlcli.spec.experiment import Experiment
from dlcli.visible import listed

WITHOUT_LABELS = "(no label)"
"""The name of the group of examples without any label."""


@dataclass(frozen=True)
class TrainingExamples:
    """The examples that a training reads.

    Attributes:
        inputs: their inputs: those of the training split, of `smote` followed by synthetic rows.
        targets: their targets.
        draw: which of them an epoch has; None for each of them once.
    """

    inputs: Inputs
    targets: Array
    draw: EpochDraw | None = None


def refuse_missing_balance(experiment: Experiment) -> None:
    """Raises UsageError if the balance needs a package that is not installed."""
    if missing := experiment.data.balance.missing:
        raise UsageError(missing)


def resolved_balance(experiment: Experiment, splits: Splits) -> BalanceSpec:
    """Returns the experiment's balance with the weights of the classes of its data.

    Raises:
        DataError: the data has no such classes, or `smote` cannot interpolate it.
    """
    balance = experiment.data.balance
    if not balance.is_active:
        return balance
    unknown = [name for name in balance.named_weights if name not in splits.classes]
    if unknown:
        near = get_close_matches(unknown[0], splits.classes, 1)
        guess = f"did you mean {near[0]!r}?" if near else f"it has {listed(splits.classes)}"
        raise DataError(f"data.balance.weights: the data has no class {unknown[0]!r}; {guess}")
    balance.refuse_unfit(splits.train.inputs, _changed_sizes(experiment, splits))
    return balance.resolved(_counts(splits))


def balance_in_words(experiment: Experiment, splits: Splits) -> str:
    """Returns the log line on what the balance does; empty for none."""
    balance = experiment.data.balance
    if not balance.is_active:
        return ""
    return f"balance: {balance.kind}: {balance.in_words(_counts(splits), _changed_sizes(experiment, splits))}"


def epoch_examples(experiment: Experiment, splits: Splits) -> int:
    """Returns the number of training examples in an epoch."""
    sizes = _sizes(experiment, splits)
    return len(splits.train) if sizes is None else sum(sizes)


def epoch_facts(experiment: Experiment, splits: Splits) -> dict[str, int]:
    """Returns the entry of `data.json` on the examples in an epoch, if they are not those of the training split."""
    return {"epoch_examples": epoch_examples(experiment, splits)} if experiment.data.balance.resamples else {}


def training_examples(experiment: Experiment, splits: Splits) -> TrainingExamples:
    """Returns the examples that the training of a resolved experiment reads: by construction of the training split alone."""
    train, balance, sizes = splits.train, experiment.data.balance, _sizes(experiment, splits)
    if sizes is None:
        return TrainingExamples(train.inputs, train.targets)
    if balance.adds_rows:
        return TrainingExamples(*balance.with_synthetic(train.inputs, train.targets, sizes, experiment.seed))
    return TrainingExamples(train.inputs, train.targets, EpochDraw(_groups(splits), sizes, experiment.seed))


def loss_weights(experiment: Experiment, classes: Sequence[str]) -> Array | None:
    """Returns the weights of a resolved experiment for `BalancedLoss`; None without weights."""
    output = experiment.task.output
    weights = experiment.data.balance.loss_weights(classes, of_labels=output.reads_columns)
    if weights is None:
        return None
    table = np.array(weights, "float32")
    return table[None] if output.has_thresholds and table.ndim == 1 else table


def _counts(splits: Splits) -> ClassCounts:
    output, targets = splits.task.output, splits.train.targets
    counts = output.counts(targets, splits.classes)
    return ClassCounts(splits.classes, [counts[name] for name in splits.classes], len(targets), output.reads_columns)


def _groups(splits: Splits) -> Array:
    groups = splits.task.output.groups(splits.train.targets)
    assert groups is not None
    return groups


def _sizes(experiment: Experiment, splits: Splits) -> list[int] | None:
    """Returns the examples of each group in an epoch; None for those of the training split."""
    balance = experiment.data.balance
    return balance.sizes(np.bincount(_groups(splits)).tolist()) if balance.resamples else None


def _changed_sizes(experiment: Experiment, splits: Splits) -> list[tuple[str, int, int]]:
    """Returns name, training examples and examples in an epoch of each group whose numbers differ."""
    sizes = _sizes(experiment, splits)
    if sizes is None:
        return []
    counts, names = np.bincount(_groups(splits)).tolist(), (*splits.classes, WITHOUT_LABELS)
    return [(names[place], counts[place], size) for place, size in enumerate(sizes) if size != counts[place]]
