"""Splits a source's examples into training, validation and test: by the spec's shares, or as a run recorded them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.spec.data.sources import Examples, Opened
from dlcli.spec.data.sources.part_names import SPLITS
from dlcli.spec.data.sources.row_ids import names_in
from dlcli.spec.experiment import Experiment

DEFAULT_SHARES = {"validation": 0.1, "test": 0.2}


@dataclass(frozen=True)
class SplitExamples:
    """The examples of the training, validation and test split.

    Attributes:
        train: the examples that the model is trained on.
        validation: the examples that select the best epoch; None without a validation split.
        test: the examples that the model is scored on; None without a test split.
        test_is_validation: whether the spec uses the validation split as the test split: `test` then has the same examples.
    """

    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    test_is_validation: bool = False

    @property
    def by_name(self) -> dict[str, Examples]:
        """The existing splits, by name."""
        return {name: examples for name in SPLITS if (examples := getattr(self, name)) is not None}

    @property
    def distinct(self) -> dict[str, Examples]:
        """The existing splits, by name, without a test split that is the validation split."""
        return {name: examples for name, examples in self.by_name.items() if not (self.test_is_validation and name == "test")}

    @property
    def scored(self) -> str:
        """The name of the split that is scored by default: test, else validation, else train."""
        return next(name for name in ("test", "validation", "train") if name in self)

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def __getitem__(self, name: str) -> Examples:
        return self.by_name[name]

    def changed(self, change: Callable[[Examples], Examples]) -> SplitExamples:
        """Returns the splits with `change` applied to the examples of each."""
        examples = {name: change(examples) for name, examples in self.distinct.items()}
        return split_examples(examples, test_is_validation=self.test_is_validation)


def split_examples(examples: Mapping[str, Examples], *, test_is_validation: bool) -> SplitExamples:
    """Returns the splits of these names; with `test_is_validation`, a validation split is also the test split."""
    validation = examples.get("validation")
    shares = test_is_validation and validation is not None
    test = validation if shares else examples.get("test")
    return SplitExamples(examples["train"], validation, test, test_is_validation=shares)


def drawn_splits(opened: Opened, experiment: Experiment) -> SplitExamples:
    """Returns the splits by the spec's shares: parts of the source stay, other splits are drawn from its training part."""
    settings, source, parts = experiment.data.split, opened.parts["train"], dict(opened.parts)
    strata = experiment.task.output.strata(source.targets) if settings.stratify else None
    random = np.random.default_rng([experiment.seed, 0x5B117])
    pool = np.arange(len(source))
    for name in ("test", "validation"):
        share = _share(name, getattr(settings, name), opened)
        if share:
            share *= len(source) / len(pool)
            chosen = _random(len(pool), share, random) if strata is None else _stratified(strata[pool], share, random)
            parts[name] = source.take(pool[chosen])
            pool = np.delete(pool, chosen)
    if not len(pool):
        raise DataError("the split leaves no training examples")
    parts["train"] = source.take(pool)
    examples = {name: examples for name, examples in parts.items() if len(examples)}
    return split_examples(examples, test_is_validation=settings.test == "validation")


def _share(name: str, setting: Any, opened: Opened) -> float:
    """Returns the share of the source's training part that becomes a split; 0 if the source has a part of that name.

    Raises:
        DataError: the spec sets a share of a part that the source has, or requires a part that the source lacks.
    """
    is_own = name in opened.parts
    if setting == "source" and not is_own:
        raise DataError(f"split.{name}: source, but the source has no {name} split")
    if is_own and setting not in ("auto", "source"):
        raise DataError(f"split.{name}: {setting}, but the source has its own {name} split; remove `split.{name}`")
    if is_own or setting == "validation":
        return 0.0
    return DEFAULT_SHARES[name] if setting == "auto" else float(setting)


def _random(examples: int, share: float, random: np.random.Generator) -> Array:
    """Returns the sorted positions of a random share of the examples, at least one."""
    count = min(max(1, round(share * examples)), examples - 1)
    return np.sort(random.permutation(examples)[:count])


def _stratified(targets: Array, share: float, random: np.random.Generator) -> Array:
    """Returns the sorted positions of a share of every class: at least one of a class of two or more, none of a single one.

    Fractions of examples are rounded by the largest remainder, so that the counts add up. scikit-learn's splitter
    refuses a class with one example, and its import would cost half a second before the first step.
    """
    order = random.permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    classes = np.split(order, np.flatnonzero(np.diff(targets[order])) + 1)
    sizes = np.array([len(members) for members in classes])
    shares = share * sizes
    counts = np.floor(shares).astype(int)
    largest = np.argsort(counts - shares, kind="stable")
    counts[largest[: round(share * len(targets)) - counts.sum()]] += 1
    counts = np.minimum(np.maximum(counts, 1), sizes - 1)
    return np.sort(np.concatenate([members[:count] for members, count in zip(classes, counts, strict=True)]))


def recorded_splits(opened: Opened, split: dict[str, str], experiment: Experiment) -> SplitExamples:
    """Returns the splits that a `split.csv` names.

    Raises:
        DataError: the file names an example that the source does not have, or has no training split.
    """
    by_split: dict[str, Examples] = {}
    unmatched = dict(split)
    for examples in opened.parts.values():
        names = names_in(examples.ids, split)
        split_names = [unmatched.pop(example_id, "") for example_id in names]
        if len(names) < len(examples):  # one name stands for all
            by_split[split_names[0]] = examples
            continue
        for name in SPLITS:
            positions = np.array([place for place, split_name in enumerate(split_names) if split_name == name], dtype="int64")
            if len(positions) and name in by_split:
                raise DataError(
                    f"the recorded split takes the {name} split from two splits of the source; only one is possible"
                )
            if len(positions):
                by_split[name] = examples.take(positions)
    if unmatched or "train" not in by_split:
        example = next(iter(unmatched), "a training split")
        count = len(unmatched)
        raise DataError(f"the recorded split names {count} examples that the source does not have, such as {example!r}")
    return split_examples(by_split, test_is_validation=experiment.data.split.test == "validation")
