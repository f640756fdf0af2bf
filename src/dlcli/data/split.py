"""Splits a source's examples into training, validation and test: by the spec's shares, or as a run recorded them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dlcli.arrays import Array
from dlcli.data.division import Pool
from dlcli.data.groups import group_numbers
from dlcli.data.hash_split import divided_by_hash, sampled_by_hash
from dlcli.data.time_split import divided_by_time
from dlcli.errors import DataError
from dlcli.spec.data.sources import Examples, Opened
from dlcli.spec.data.sources.part_names import SPLITS
from dlcli.spec.data.sources.row_ids import names_in
from dlcli.spec.data.split import TimeSettings
from dlcli.spec.experiment import Experiment

DEFAULT_SHARES = {"validation": 0.1, "test": 0.2}
HELD_OUT = "held out from the folds"
GAP = "within data.split.time.gap"
FRACTION = "beyond data.split.train_fraction"
"""Why examples are in no split."""


@dataclass(frozen=True)
class SplitExamples:
    """The examples of the training, validation and test split.

    Attributes:
        train: the examples that the model is trained on.
        validation: the examples that select the best epoch; None without a validation split.
        test: the examples that the model is scored on; None without a test split.
        test_is_validation: whether the spec uses the validation split as the test split: `test` then has the same examples.
        unused: the number of the source's examples in no split, by the reason; empty where a run's splits are opened again.
    """

    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    test_is_validation: bool = False
    unused: Mapping[str, int] = field(default_factory=dict, kw_only=True)

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
        return split_examples(examples, test_is_validation=self.test_is_validation, unused=self.unused)


def split_examples(
    examples: Mapping[str, Examples], *, test_is_validation: bool, unused: Mapping[str, int] | None = None
) -> SplitExamples:
    """Returns the splits of these names; with `test_is_validation`, a validation split is also the test split."""
    validation = examples.get("validation")
    shares = test_is_validation and validation is not None
    test = validation if shares else examples.get("test")
    return SplitExamples(examples["train"], validation, test, test_is_validation=shares, unused=unused or {})


def drawn_splits(opened: Opened, experiment: Experiment) -> SplitExamples:
    """Returns the splits by the spec's shares: parts of the source stay, other splits are drawn from its training part.

    Raises:
        DataError: the examples, or their groups, are too few.
    """
    settings, source = experiment.data.split, opened.parts["train"]
    if settings.folds:
        division = _fold(opened, experiment)
    elif settings.time:
        division = _times(opened, settings.time, experiment)
    elif settings.method == "hash":
        division = _hashes(opened, experiment)
    else:
        division = _shares(opened, experiment)
    if not len(division.places["train"]):
        raise DataError("the split leaves no training examples")
    parts = opened.parts | {name: source.take(places) for name, places in division.places.items()}
    examples = {name: examples for name, examples in parts.items() if len(examples)}
    splits = split_examples(examples, test_is_validation=settings.test == "validation", unused=division.unused)
    return with_train_fraction(splits, experiment)


@dataclass(frozen=True)
class _Division:
    """How the training part of a source is divided.

    Attributes:
        places: the sorted places of the examples of each split, int64 `(n,)`.
        unused: the number of the examples in no split, by the reason.
    """

    places: dict[str, Array]
    unused: dict[str, int] = field(default_factory=dict)


def _shares(opened: Opened, experiment: Experiment) -> _Division:
    """Returns the training part divided by shares: first the test split, then the validation split."""
    places, rest = {}, pool_of(opened.parts["train"], experiment)
    left = np.arange(len(rest))
    random = np.random.default_rng([experiment.seed, 0x5B117])
    shares = {name: share_of(name, opened, experiment) for name in ("test", "validation")}
    names = [name for name in SPLITS if name == "train" or shares[name]]
    if rest.groups is not None:
        rest.refuse_fewer(len(names), f"{len(names)} splits ({', '.join(names)})")
    for name, share in shares.items():
        if share:
            names.remove(name)
            chosen = rest.share(share * (len(opened.parts["train"]) / len(rest)), random, left=len(names))
            places[name] = left[chosen]
            left = np.delete(left, chosen)
            rest = rest.take(np.delete(np.arange(len(rest)), chosen))
    return _Division(places | {"train": left})


def _times(opened: Opened, settings: TimeSettings, experiment: Experiment) -> _Division:
    """Returns the training part divided by time."""
    split = divided_by_time(opened.parts["train"], settings, _set_shares(opened, experiment))
    return _Division(split.places, {GAP: split.gap} if split.gap else {})


def _hashes(opened: Opened, experiment: Experiment) -> _Division:
    """Returns the training part divided by hashes."""
    shares, has_files = _set_shares(opened, experiment), experiment.data.source.has_files
    return _Division(divided_by_hash(opened.parts["train"], shares, experiment.seed, has_files=has_files))


def _set_shares(opened: Opened, experiment: Experiment) -> dict[str, float]:
    """Returns the shares of the splits to draw."""
    return {name: share for name in ("validation", "test") if (share := share_of(name, opened, experiment))}


def _fold(opened: Opened, experiment: Experiment) -> _Division:
    """Returns the training part with one of its folds as the test split; the validation split is a share of the others."""
    settings, pool = experiment.data.split, pool_of(opened.parts["train"], experiment)
    numbers = folds_of(opened, experiment)
    left = np.flatnonzero((numbers != settings.fold) & (numbers > 0))
    places = {"test": np.flatnonzero(numbers == settings.fold)}
    share = share_of("validation", opened, experiment)
    if share:
        random = np.random.default_rng([experiment.seed, 0xF01D, settings.repeat, settings.fold or 0])
        rest = pool.take(left)
        rest.refuse_fewer(2, "2 splits (train, validation) beside the fold")
        chosen = rest.share(share, random)
        places["validation"] = left[chosen]
        left = np.delete(left, chosen)
    held_out = int((numbers == 0).sum()) + len(opened.parts.get("test", ()))
    return _Division(places | {"train": left}, {HELD_OUT: held_out} if held_out else {})


def folds_of(opened: Opened, experiment: Experiment) -> Array:
    """Returns the fold of each example of the training part, from 1, int64 `(n,)`; 0 for those that are held out.

    The examples of a share `test` are held out: those of the test split that the spec draws without folds. The folds depend on
    the seed and `repeat` alone, not on `fold`.

    Raises:
        DataError: there are fewer examples, or groups, than folds.
    """
    settings, pool = experiment.data.split, pool_of(opened.parts["train"], experiment)
    assert settings.folds is not None
    numbers, left = np.zeros(len(pool), dtype="int64"), np.arange(len(pool))
    share = 0.0 if settings.test == "auto" else share_of("test", opened, experiment)
    if share:
        pool.refuse_fewer(settings.folds + 1, f"{settings.folds} folds and a test split")
        left = np.delete(left, pool.share(share, np.random.default_rng([experiment.seed, 0x5B117]), left=settings.folds))
    random = np.random.default_rng([experiment.seed, 0xF01D, settings.repeat])
    numbers[left] = pool.take(left).folds(settings.folds, random)
    return numbers


def with_train_fraction(splits: SplitExamples, experiment: Experiment) -> SplitExamples:
    """Returns the splits with a sample of the training split, of the size that `train_fraction` sets."""
    fraction = experiment.data.split.train_fraction
    if fraction == 1:
        return splits
    if experiment.data.split.method == "hash":
        has_files = experiment.data.source.has_files
        chosen = sampled_by_hash(splits.train, fraction, experiment.seed, has_files=has_files)
    else:
        random = np.random.default_rng([experiment.seed, 0xF2AC])
        chosen = pool_of(splits.train, experiment).sample(fraction, random)
    unused = {**splits.unused, FRACTION: len(splits.train) - len(chosen)}
    return replace(splits, train=splits.train.take(chosen), unused=unused)


def pool_of(examples: Examples, experiment: Experiment) -> Pool:
    """Returns the examples with the classes and groups by which they are divided."""
    strata = experiment.task.output.strata(examples.targets) if experiment.data.split.stratify else None
    return Pool(len(examples), strata, None if examples.groups is None else group_numbers(examples.groups))


def share_of(name: str, opened: Opened, experiment: Experiment) -> float:
    """Returns the share of the source's training part that becomes a split; 0 if the source has a part of that name.

    Raises:
        DataError: the spec sets a share of a part that the source has, or requires a part that the source lacks.
    """
    setting, is_own = getattr(experiment.data.split, name), name in opened.parts
    if setting == "source" and not is_own:
        raise DataError(f"split.{name}: source, but the source has no {name} split")
    if is_own and setting not in ("auto", "source"):
        raise DataError(f"split.{name}: {setting}, but the source has its own {name} split; remove `split.{name}`")
    if is_own or setting == "validation" or experiment.data.source.splits_itself:
        return 0.0
    return DEFAULT_SHARES[name] if setting == "auto" else float(setting)


def recorded_splits(opened: Opened, split: dict[str, str], experiment: Experiment) -> SplitExamples:
    """Returns the splits that a `split.csv` names.

    Raises:
        DataError: the file names an example that the source does not have, or has no training split.
    """
    by_split: dict[str, Examples] = {}
    unmatched = dict(split)
    for part, examples in opened.parts.items():
        names = names_in(examples.ids, split)
        split_names = [unmatched.pop(example_id, "") for example_id in names]
        if experiment.data.source.splits_itself and not {*split_names} <= {"", part}:
            raise DataError(
                "the recorded split takes windows from other times than those of the source's splits, so that windows of two"
                " splits would overlap; use the same `validation`, `test` and `end`"
            )
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
