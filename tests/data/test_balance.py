"""What `data.balance` makes of a training split: weights, groups, sizes, synthetic rows, and its faults."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import write_spec

from dlcli.data.balance import balance_in_words, loss_weights, refuse_missing_balance, resolved_balance, training_examples
from dlcli.data.splits import Splits, open_splits
from dlcli.errors import DataError, UsageError
from dlcli.spec.data.balance.base import ClassCounts
from dlcli.spec.data.balance.class_weights import ClassWeight, EffectiveNumber, SquareRoot
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import load

ROWS = {"train": 60, "val": 12, "test": 12}
SHIFT = {"train": 0.0, "val": 1e6, "test": -1e6}
KINDS = ("class_weight", "sqrt", "effective_number", "oversample", "undersample", "smote")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two numbers; those of the validation and the test split are far from the training rows. One class is rare."""
    folder, arrays = tmp_path_factory.mktemp("balance"), dict[str, Any]()
    for split, count in ROWS.items():
        random = np.random.default_rng(len(split))
        x = random.uniform(0, 1, (count, 2)).astype("float32") + np.float32(SHIFT[split])
        y = np.where(np.arange(count) % 6 == 5, 2, np.arange(count) % 2)
        labels = np.stack([y == 0, y == 2], axis=1).astype("int64")
        arrays |= {f"x_{split}": x, f"y_{split}": y, f"labels_{split}": labels}
    np.savez(folder / "rows.npz", **arrays)
    return folder


def _opened(folder: Path, balance: str, *, task: str = "classification", target: str = "y") -> tuple[Experiment, Splits]:
    source = f"{{kind: npz, path: rows.npz, features: x_train, target: {target}_train}}"
    spec = write_spec(folder, source, task=task, data=f"balance: {balance}")
    experiment = load(spec).experiment
    splits = open_splits(experiment)
    balanced = resolved_balance(experiment, splits)
    return experiment.model_copy(update={"data": experiment.data.model_copy(update={"balance": balanced})}), splits


def _counts(*counts: int, examples: int = 0, of_labels: bool = False) -> ClassCounts:
    names = [f"c{place}" for place in range(len(counts))]
    return ClassCounts(names, counts, examples or sum(counts), of_labels)


def test_class_weights_are_the_inverse_of_the_counts_with_the_mean_one() -> None:
    weights = ClassWeight(kind="class_weight").resolved(_counts(90, 9, 1)).weights
    assert weights == {"c0": pytest.approx(100 / 270, rel=1e-5), "c1": pytest.approx(100 / 27, rel=1e-5), "c2": 33.3333}
    assert ClassWeight(kind="class_weight").resolved(_counts(5, 0, 5)).weights == {"c0": 1.0, "c1": 1.0, "c2": 1.0}


def test_weights_of_the_other_kinds_follow_their_formulas() -> None:
    root = SquareRoot(kind="sqrt").resolved(_counts(90, 10)).weights or {}
    assert root["c1"] / root["c0"] == pytest.approx(3, rel=1e-4)
    effective = EffectiveNumber(kind="effective_number", beta=0.9).resolved(_counts(90, 10)).weights or {}
    assert effective["c1"] / effective["c0"] == pytest.approx((1 - 0.9**90) / (1 - 0.9**10), rel=1e-4)
    for weights in (root, effective):
        assert 0.9 * weights["c0"] + 0.1 * weights["c1"] == pytest.approx(1, rel=1e-4)
    assert EffectiveNumber(kind="effective_number", beta=0).resolved(_counts(90, 10)).weights == {"c0": 1.0, "c1": 1.0}


def test_weights_of_a_spec_are_scaled_and_stay_as_they_are_when_a_run_repeats_them() -> None:
    chosen = ClassWeight(kind="class_weight", weights={"c1": 3}).resolved(_counts(30, 10))
    assert chosen.weights == {"c0": pytest.approx(2 / 3, rel=1e-5), "c1": 2.0}
    assert chosen.resolved(_counts(30, 10)) == chosen


def test_each_label_has_weights_of_its_positive_and_negative_examples() -> None:
    weights = ClassWeight(kind="class_weight").resolved(_counts(10, 100, 0, examples=100, of_labels=True)).weights or {}
    assert weights["c0"] == {"negative": pytest.approx(100 / 180, rel=1e-5), "positive": 5.0}
    assert weights["c1"] == weights["c2"] == {"negative": 1.0, "positive": 1.0}
    chosen = ClassWeight(kind="class_weight", weights={"c0": 9}).resolved(_counts(10, 50, examples=100, of_labels=True))
    assert (chosen.weights or {})["c0"] == {"negative": pytest.approx(100 / 180, rel=1e-5), "positive": 5.0}


def test_the_line_of_the_log_says_what_the_balance_does(folder: Path) -> None:
    lines = {kind: balance_in_words(*_opened(folder, kind)) for kind in (*KINDS, "none")}
    assert lines["class_weight"] == (
        "balance: class_weight: weights in the minimised loss are 0.667 for '0', 1 for '1', 2 for '2'; the reported loss and"
        " all metrics have no weights and are of the natural distribution"
    )
    assert lines["undersample"] == (
        "balance: undersample: an epoch has 10 examples of '0' in place of 30, 10 examples of '1' in place of 20; training"
        " columns of the history are of these examples, validation and test scores of the natural distribution"
    )
    assert lines["smote"].startswith(
        "balance: smote: an epoch has 10 synthetic rows of '1' beside 20, 20 synthetic rows of '2' beside 10; training columns"
    )
    assert lines["none"] == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_reads_rows_of_the_training_split_alone(folder: Path, kind: str) -> None:
    """Those of the other splits are a million away, from which no row between training rows comes near."""
    experiment, splits = _opened(folder, kind)
    examples = training_examples(experiment, splits)
    rows = np.asarray(examples.inputs.read(np.arange(len(examples.targets))))
    assert rows.min() >= 0
    assert rows.max() <= 1
    assert (rows[:60] == splits.train.inputs.read(np.arange(60))).all()
    drawn = np.arange(len(rows)) if examples.draw is None else examples.draw.order(3)
    sizes = {"oversample": [30, 30, 30], "undersample": [10, 10, 10], "smote": [30, 30, 30]}.get(kind, [30, 20, 10])
    assert np.bincount(examples.targets[drawn]).tolist() == sizes
    assert splits.counts()["validation"] == {"0": 6, "1": 4, "2": 2}


def test_synthetic_rows_lie_between_rows_of_their_class_and_depend_on_the_seed(folder: Path) -> None:
    experiment, splits = _opened(folder, "smote")
    first, again = (training_examples(experiment, splits) for _ in range(2))
    other = training_examples(experiment.model_copy(update={"seed": 1}), splits)
    rows = [np.asarray(examples.inputs.read(np.arange(90))) for examples in (first, again, other)]
    assert (rows[0] == rows[1]).all()
    assert (rows[0][60:] != rows[2][60:]).any()
    rare = rows[0][:60][splits.train.targets == 2].astype("float64")
    synthetic = rows[0][60:][first.targets[60:] == 2].astype("float64")
    lengths = np.linalg.norm(rare[:, None] - rare[None], axis=2)
    for row in synthetic:  # on a line between two rows, the distances to both add up to that between them
        distances = np.linalg.norm(rare - row, axis=1)
        assert np.abs(distances[:, None] + distances[None] - lengths)[lengths > 0].min() < 1e-6


def test_categories_of_synthetic_rows_are_those_of_the_table(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = [f"{random.normal():.3f},{'red' if place % 3 else 'blue'},{place % 7 == 0}" for place in range(120)]
    (tmp_path / "rows.csv").write_text("size,colour,kind\n" + "\n".join(lines) + "\n")
    spec = write_spec(tmp_path, "{kind: csv, path: rows.csv, target: kind}", task="binary", data="balance: smote")
    experiment = load(spec).experiment
    splits = open_splits(experiment)
    columns = training_examples(experiment, splits).inputs.table()
    count = len(splits.train)
    assert len(columns["size"]) > count
    assert set(columns["colour"][count:]) <= {"red", "blue"}
    assert np.isfinite(columns["size"]).all()


@pytest.mark.parametrize(("kind", "group_sizes"), [("oversample", [30, 30, 30]), ("undersample", [10, 10, 10])])
def test_examples_with_labels_belong_to_the_rarest_of_them(folder: Path, kind: str, group_sizes: list[int]) -> None:
    experiment, splits = _opened(folder, kind, task="multilabel", target="labels")
    draw = training_examples(experiment, splits).draw
    assert draw is not None
    assert np.bincount(draw.groups).tolist() == [30, 10, 20]
    assert draw.sizes == group_sizes
    both = np.array([[1, 1], [0, 1], [1, 0], [0, 0], [1, 0]])
    assert splits.task.output.groups(both.astype("float32")).tolist() == [1, 1, 0, 2, 0]  # type: ignore[union-attr]


def test_the_weights_of_the_loss_have_the_form_of_the_labels(folder: Path) -> None:
    experiment, splits = _opened(folder, "class_weight")
    assert loss_weights(experiment, splits.classes).tolist() == [pytest.approx(2 / 3, rel=1e-5), 1.0, 2.0]  # type: ignore[union-attr]
    experiment, splits = _opened(folder, "class_weight", task="multilabel", target="labels")
    assert loss_weights(experiment, splits.classes).tolist() == [[1.0, 1.0], [pytest.approx(0.6), 3.0]]  # type: ignore[union-attr]
    experiment, splits = _opened(folder, "oversample")
    assert loss_weights(experiment, splits.classes) is None


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ("{kind: class_weight, weights: {'3': 2}}", "data.balance.weights: the data has no class '3'; it has 0, 1, 2"),
        (
            "{kind: smote, k_neighbors: 10}",
            "data.balance.k_neighbors: class '2' has 10 training rows, but 10 neighbours need at least 11; set a smaller number"
            " or use `oversample`",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_refused(folder: Path, balance: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        _opened(folder, balance)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((60, 4, 2), "float32"), "smote interpolates rows of a table; use `oversample` for images and other arrays"),
        (
            np.where(np.arange(120) == 3, np.nan, 1.0).reshape(60, 2),
            "column '1' has 1 gaps in the training split, which smote cannot interpolate; use `oversample` or `class_weight`",
        ),
    ],
)
def test_smote_refuses_other_arrays_and_gaps(folder: Path, tmp_path: Path, x: Any, message: str) -> None:
    from dlcli.runtime.inputs import Arrays
    from dlcli.spec.data.balance.smote import Smote

    with pytest.raises(DataError) as error:
        Smote(kind="smote").refuse_unfit(Arrays(x), [])
    assert str(error.value) == f"data.balance: {message}"


def test_a_missing_package_is_named_with_its_installation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, _ = _opened(folder, "smote")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "imblearn" else find_spec(name))
    with pytest.raises(UsageError, match=r"`data\.balance: smote` needs imbalanced-learn, .*install.*balance"):
        refuse_missing_balance(experiment)
