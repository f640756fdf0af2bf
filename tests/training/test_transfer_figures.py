"""What transfer learning must show on real data: the figures of the guide, each as a bar. They take minutes."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, median

import numpy as np
import pytest
from conftest import REPOSITORY
from trainings import column

from dlcli.runs import RunFolder
from dlcli.runs.files import read_table, write_table
from dlcli.runs.reporter import Reporter
from dlcli.runtime.engine import keras
from dlcli.spec.load import load
from dlcli.training.train import train

pytestmark = pytest.mark.slow
SEEDS = (0, 1, 2)
HEAD = "training.stages=[{name: head, train: head, epochs: 10, optimizer: {kind: adam, learning_rate: 1e-3}}]"
LOGISTIC = ("training.stages=[]", "model.head={kind: logistic_regression, C: 0.01}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("figures")


@pytest.fixture(autouse=True)
def _photos(test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTS_BEES", str(test_data / "images" / "ants_bees"))
    monkeypatch.setenv("MOBILENET_WEIGHTS", str(test_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"))


def trained(name: str, runs: Path, *changes: str) -> RunFolder:
    """Trains a shipped spec with some changes."""
    keras.utils.clear_session()
    return train(load(REPOSITORY / "configs" / f"{name}.yaml", changes), runs, Reporter(), offline=True)


def photos(runs: Path, seed: int, *changes: str) -> RunFolder:
    """Trains on the photos of ants and bees."""
    return trained("ants_bees_mobilenet", runs, f"seed={seed}", *changes)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_frozen_backbone_reaches_080_and_unfreezing_never_costs_anything(runs: Path, seed: int) -> None:
    run = photos(runs, seed)
    head, _ = run.stages()
    assert head["best_value"] >= 0.80
    assert (run.status().best_value or 0) >= head["best_value"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hub_module_of_the_same_weights_reaches_the_same(runs: Path, test_data: Path, seed: int) -> None:
    own = photos(runs, seed, HEAD).status().best_value or 0
    module = test_data / "hub" / "mobilenet_v1_025_224_feature_vector"
    hub = photos(runs, seed, HEAD, f"model.backbone={{kind: hub, handle: {module}}}").status().best_value or 0
    assert abs(own - hub) <= 0.02


def test_logistic_regression_on_the_features_reaches_083_and_without_weights_far_less(runs: Path) -> None:
    assert (photos(runs, 0, *LOGISTIC).status().best_value or 0) >= 0.83
    for seed in SEEDS:
        assert (photos(runs, seed, *LOGISTIC, "model.backbone.weights=none").status().best_value or 0) <= 0.70


def test_kept_features_make_an_epoch_twelve_times_faster_with_the_same_history(runs: Path) -> None:
    plain = photos(runs, 0, HEAD, "training.features=off")
    kept = photos(runs, 0, HEAD)
    assert column(plain, "val_accuracy") == column(kept, "val_accuracy")
    np.testing.assert_allclose(column(plain, "val_loss"), column(kept, "val_loss"), rtol=1e-4)
    assert median(column(plain, "seconds")[1:]) / median(column(kept, "seconds")[1:]) >= 12


def _ten_of_each(run: RunFolder, path: Path, seed: int) -> None:
    """Writes a split with ten training examples a class, all others for testing."""
    rows = read_table(run.evaluation("test") / "predictions.csv")
    random = np.random.default_rng(seed)
    chosen: set[str] = set()
    for label in sorted({row["label"] for row in rows}):
        ids = [row["id"] for row in rows if row["label"] == label]
        chosen |= set(random.permutation(ids)[:10].tolist())
    write_table(path, ("id", "split"), ([row["id"], "train" if row["id"] in chosen else "test"] for row in rows))


def test_a_run_on_other_digits_helps_where_examples_are_few(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten examples each of 5 to 9: frozen convolutions of 0 to 4, against the same network from scratch, and the head alone."""
    monkeypatch.setenv("DIGITS_RUN", str(trained("digits_low", runs).path))
    high = "data.classes=['5', '6', '7', '8', '9']"
    listed = trained("digits_low", tmp_path, high, "training.epochs=0", "data.split.test=0.99", "data.split.validation=0")
    reached: dict[str, list[float]] = {"transfer": [], "whole network from scratch": [], "head on pixels": []}
    head = "training.stages=[{name: head, train: head, epochs: 60}]"
    pixels = "model={kind: mlp, units: [64]}"
    for seed in range(5):
        _ten_of_each(listed, tmp_path / "split.csv", seed)
        split = f"data.split={{file: {tmp_path / 'split.csv'}, validation: 0}}"
        common = (f"seed={seed}", split, "data.batch_size=10", "training.epochs=60")
        found = (
            trained("digits_transfer_run", runs, *common, head),
            trained("digits_low", runs, *common, high, "data.augment=[]"),
            trained("digits_low", runs, *common, high, "data.augment=[]", pixels),
        )
        for values, run in zip(reached.values(), found, strict=True):
            values.append(run.metrics()["metrics"]["accuracy"]["value"])
    print({name: (round(mean(values), 3), [round(value, 3) for value in values]) for name, values in reached.items()})
    assert mean(reached["transfer"]) > mean(reached["whole network from scratch"])
    assert mean(reached["transfer"]) > mean(reached["head on pixels"])
