"""Examples of a source -> training, validation and test splits: drawn by the spec's shares, or as a run recorded them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.spec.data.sources import Examples, Opened
from dlcli.spec.data.sources.part_names import SPLITS
from dlcli.spec.experiment import Experiment

DEFAULT_SHARES = {"validation": 0.1, "test": 0.2}


@dataclass(frozen=True)
class SplitExamples:
    """The examples of the training, validation and test split.

    Attributes:
        train: the examples that are trained on.
        validation: those that choose the best epoch; None where there are none.
        test: those that the model is scored on; None where there are none.
        test_is_validation: whether the test split is the validation split, by the spec: `test` has the same examples then.
    """

    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    test_is_validation: bool = False

    @property
    def by_name(self) -> dict[str, Examples]:
        """The splits that there are, by name."""
        return {name: examples for name in SPLITS if (examples := getattr(self, name)) is not None}

    @property
    def distinct(self) -> dict[str, Examples]:
        """The splits that there are, by name; without a test split that is the validation split."""
        return {name: examples for name, examples in self.by_name.items() if not (self.test_is_validation and name == "test")}

    @property
    def scored(self) -> str:
        """The name of the split that is scored where none is named: test, else validation, else train."""
        return next(name for name in ("test", "validation", "train") if name in self)

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def __getitem__(self, name: str) -> Examples:
        return self.by_name[name]

    def changed(self, change: Callable[[Examples], Examples]) -> SplitExamples:
        """Returns the splits with the examples of each changed, one after the other."""
        examples = {name: change(examples) for name, examples in self.distinct.items()}
        return split_examples(examples, test_is_validation=self.test_is_validation)


def split_examples(examples: Mapping[str, Examples], *, test_is_validation: bool) -> SplitExamples:
    """Returns the splits of these names; by choice of the spec a validation split is the test split too."""
    validation = examples.get("validation")
    shares = test_is_validation and validation is not None
    test = validation if shares else examples.get("test")
    return SplitExamples(examples["train"], validation, test, test_is_validation=shares)


def drawn_splits(opened: Opened, experiment: Experiment) -> SplitExamples:
    """Returns the parts by the spec's shares: what the source gives is kept, the rest is taken from its training split."""
    settings, source, parts = experiment.data.split, opened.parts["train"], dict(opened.parts)
    strata = experiment.task.output.strata(source.targets) if settings.stratify else None
    random = np.random.default_rng([experiment.seed, 0x5B117])
    pool = np.arange(len(source))
    for part in ("test", "validation"):
        share = _share(part, getattr(settings, part), opened)
        if share:
            share *= len(source) / len(pool)
            chosen = _random(len(pool), share, random) if strata is None else _stratified(strata[pool], share, random)
            parts[part] = source.take(pool[chosen])
            pool = np.delete(pool, chosen)
    if not len(pool):
        raise DataError("the split leaves no training examples")
    parts["train"] = source.take(pool)
    examples = {part: examples for part, examples in parts.items() if len(examples)}
    return split_examples(examples, test_is_validation=settings.test == "validation")


def _share(part: str, setting: Any, opened: Opened) -> float:
    """Returns the share of the source's training split that becomes a part; 0 where the source gives that part itself.

    Raises:
        DataError: the spec asks for a share of what the source gives, or for a part that the source does not have.
    """
    is_own = part in opened.parts
    if setting == "source" and not is_own:
        raise DataError(f"split.{part}: source, but the source has no {part} split")
    if is_own and setting not in ("auto", "source"):
        raise DataError(f"split.{part}: {setting}, but the source has its own {part} split; remove `split.{part}`")
    if is_own or setting == "validation":
        return 0.0
    return DEFAULT_SHARES[part] if setting == "auto" else float(setting)


def _random(examples: int, share: float, random: np.random.Generator) -> Array:
    """Returns the sorted positions of a random share, at least one."""
    count = min(max(1, round(share * examples)), examples - 1)
    return np.sort(random.permutation(examples)[:count])


def _stratified(targets: Array, share: float, random: np.random.Generator) -> Array:
    """Returns the sorted positions of a share of every class: at least one of a class with two, none of a single one.

    Whole examples go to the classes by the largest remainder, so that the shares add up. scikit-learn's splitter
    refuses a class with one example, and importing it here would cost half a second before the first step.
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
    """Returns the parts that a `split.csv` names.

    Raises:
        DataError: it names an example that the source does not have, or none of them.
    """
    parts: dict[str, Examples] = {}
    left = dict(split)
    for examples in opened.parts.values():
        part_names = [left.pop(name, "") for name in examples.ids]
        for part in SPLITS:
            positions = np.array([place for place, name in enumerate(part_names) if name == part], dtype="int64")
            if len(positions) and part in parts:
                raise DataError(
                    f"the recorded split takes the {part} split from two splits of the source; only one is possible"
                )
            if len(positions):
                parts[part] = examples.take(positions)
    if left or "train" not in parts:
        example = next(iter(left), "a training split")
        raise DataError(f"the recorded split names {len(left)} examples that the source does not have, such as {example!r}")
    return split_examples(parts, test_is_validation=experiment.data.split.test == "validation")
