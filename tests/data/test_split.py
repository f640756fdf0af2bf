"""Splits by shares: today's are recorded, and folds and fractions of the training split are drawn beside them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import trained, write_spec

from dlcli.data.folds import open_folds
from dlcli.data.split import SplitExamples
from dlcli.data.splits import Splits, open_splits
from dlcli.errors import DataError
from dlcli.runs import RunFolder
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import load_text

RECORDED = [
    ("digits", "{}", 0, "75a5ffeca039efdf"),
    ("digits", "{validation: 0.25, test: 0.1}", 3, "c26a693d7d440281"),
    ("digits", "{test: validation}", 1, "cc0d45e0fff9efa9"),
    ("digits", "{stratify: false}", 0, "c516d22334a30090"),
    ("digits", "{test: 0}", 0, "befc5dc08d8f8eb1"),
    ("iris", "{}", 7, "737d83b008f2cfa8"),
    ("diabetes", "{}", 0, "6d1c659edef8570e"),
    ("diabetes", "{validation: 0, test: 0.3}", 5, "cd25a848ef5d22d5"),
]
"""Source, split, seed, and the digest of the splits that the first version drew."""


def experiment_of(source: str, split: str, *, seed: int = 0, task: str = "classification") -> Experiment:
    text = (
        f"name: t\nseed: {seed}\ntask: {task}\ndata: {{source: {source}, split: {split}}}\nmodel: {{kind: mlp, units: [4]}}\n"
    )
    return load_text(text, Path("spec.yaml"), []).experiment


def builtin(name: str, split: str, *, seed: int = 0) -> Experiment:
    task = "regression" if name == "diabetes" else "classification"
    return experiment_of(f"{{kind: builtin, name: {name}}}", split, seed=seed, task=task)


def opened(name: str, split: str, *, seed: int = 0) -> Splits:
    return open_splits(builtin(name, split, seed=seed))


def ids(splits: SplitExamples, name: str) -> set[str]:
    return set(splits[name].ids)


def digest(splits: SplitExamples) -> str:
    lines = [f"{example},{name}" for name, examples in splits.by_name.items() for example in examples.ids]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("name", "split", "seed", "recorded"), RECORDED)
def test_splits_of_the_first_version_stay(name: str, split: str, seed: int, recorded: str) -> None:
    assert digest(opened(name, split, seed=seed)) == recorded


def test_every_example_is_in_one_fold() -> None:
    folds = [opened("digits", f"{{folds: 4, fold: {number}}}") for number in range(1, 5)]
    tests = [ids(fold, "test") for fold in folds]
    assert sum(map(len, tests)) == len(set().union(*tests)) == 1797
    for fold in folds:
        assert ids(fold, "train") | ids(fold, "validation") | ids(fold, "test") == set().union(*tests)
        assert abs(len(fold.test or ()) - 1797 / 4) < 1
        assert len(fold.validation or ()) == round(0.1 * (1797 - len(fold.test or ())))
        classes = np.bincount(fold["test"].targets) * 4 / sum(np.bincount(fold[name].targets) for name in fold.by_name)
        assert np.abs(classes - 1).max() < 0.03


def test_folds_are_the_same_for_every_fold_and_differ_by_repeat_and_seed() -> None:
    def numbers(split: str, seed: int = 0) -> dict[str, int]:
        return open_folds(builtin("iris", split, seed=seed)).numbers

    first = numbers("{folds: 3, fold: 1}")
    assert numbers("{folds: 3, fold: 3}") == first
    assert numbers("{folds: 3, fold: 1, repeat: 2}") != first
    assert numbers("{folds: 3, fold: 1}", seed=1) != first
    assert {example for example, number in first.items() if number == 3} == ids(opened("iris", "{folds: 3, fold: 3}"), "test")


def test_a_test_share_is_held_out_of_the_folds() -> None:
    held_out = ids(opened("iris", "{test: 0.2}"), "test")
    folds = open_folds(builtin("iris", "{folds: 3, fold: 1, test: 0.2}"))
    assert folds.held_out is not None
    assert set(folds.held_out.ids) == held_out == {example for example, number in folds.numbers.items() if number == 0}
    splits = opened("iris", "{folds: 3, fold: 1, test: 0.2}")
    assert not held_out & set().union(*(examples.ids for examples in splits.by_name.values()))
    assert "30 examples are in no split: held out from the folds" in splits.notes


@pytest.mark.parametrize("test", ["auto", "0"])
def test_without_a_test_part_all_examples_are_in_folds(test: str) -> None:
    folds = open_folds(builtin("iris", f"{{folds: 3, fold: 1, test: {test}}}"))
    assert folds.held_out is None
    assert sorted(np.bincount(list(folds.numbers.values()))) == [0, 50, 50, 50]


def test_the_test_part_of_a_source_is_held_out(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    np.savez(tmp_path / "parts.npz", x_train=x, x_test=-x, y_train=y, y_test=y)
    experiment = experiment_of(f"{{kind: npz, path: {tmp_path / 'parts.npz'}}}", "{folds: 2, fold: 2}")
    folds, splits = open_folds(experiment), open_splits(experiment)
    assert folds.held_out is not None
    assert set(folds.held_out.ids) == {f"test/{row}" for row in range(40)}
    assert ids(splits, "test") == {example for example, number in folds.numbers.items() if number == 2}
    assert all(example.startswith("train/") for example in ids(splits, "test"))


def test_more_folds_than_examples_are_refused() -> None:
    with pytest.raises(DataError, match=r"data\.split\.folds: 150 examples cannot be divided into 200 folds"):
        opened("iris", "{folds: 200, fold: 1}")


def test_fractions_of_the_training_split_are_nested_and_change_no_other_split() -> None:
    whole = opened("digits", "{}")
    smaller: set[str] = set()
    for fraction in (0.005, 0.01, 0.1, 0.3, 0.95):
        splits = opened("digits", f"{{train_fraction: {fraction}}}")
        train = ids(splits, "train")
        assert len(train) == max(10, round(fraction * len(whole.train)))
        assert smaller < train < ids(whole, "train")
        assert ids(splits, "test") == ids(whole, "test")
        assert ids(splits, "validation") == ids(whole, "validation")
        expected = fraction * np.bincount(whole.train.targets)
        assert np.abs(np.bincount(splits.train.targets) - expected).max() <= 1
        smaller = train
    assert digest(opened("digits", "{train_fraction: 1}")) == digest(whole)


@pytest.fixture(scope="module")
def fold_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    split = "split: {folds: 3, fold: 2, test: 0.2, train_fraction: 0.5}"
    return trained(write_spec(tmp_path_factory.mktemp("fold"), data=split, training="epochs: 1"))


@pytest.mark.usefixtures("without_pictures")
def test_a_run_of_a_fold_records_its_split_and_is_opened_again(fold_run: RunFolder) -> None:
    from dlcli.data.open_run import open_run

    split: Any = fold_run.experiment().data.split
    assert (split.folds, split.fold, split.test, split.validation, split.train_fraction) == (3, 2, 0.2, 0.1, 0.5)
    assert fold_run.data()["unused"] == {"held out from the folds": 30, "beyond data.split.train_fraction": 36}
    with open_run(fold_run) as again:
        assert {name: set(examples.ids) for name, examples in again.splits.by_name.items()} == {
            name: ids(open_splits(fold_run.experiment()), name) for name in ("train", "validation", "test")
        }


@pytest.mark.usefixtures("without_pictures")
def test_a_run_of_a_fold_is_finetuned_on_its_own_split(fold_run: RunFolder) -> None:
    from dlcli.training.finetune import continued

    loaded = continued(fold_run, print, train="all", learning_rate=None, epochs=1, overrides=[])
    assert digest(open_splits(loaded.experiment)) == digest(open_splits(fold_run.experiment()))
    copy = ["data.source={kind: builtin, name: iris}"]
    assert continued(fold_run, print, train="all", learning_rate=None, epochs=1, overrides=copy).experiment.data.split.file
