"""Targets of a regression are scaled inside the model and reported in their own units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.killing import assert_same_bits
from conftest import Dlcli
from sklearn.metrics import r2_score
from training.test_resume import Stopping, gone_on, stopped
from trainings import Heard, trained, write_spec

from dlcli.data.splits import open_splits
from dlcli.errors import SpecError
from dlcli.models.targets import TargetScale, recorded_scale
from dlcli.report.diagnosis.evidence import read_evidence
from dlcli.runs import RunFolder, all_runs
from dlcli.runs.files import read_table
from dlcli.runs.reporter import Reporter
from dlcli.runtime.columns import InputLayout
from dlcli.runtime.engine import keras
from dlcli.runtime.loading import load_model
from dlcli.score.evaluate import evaluate
from dlcli.score.outcome import read_outcome
from dlcli.spec.base import OneOf
from dlcli.spec.data.sources.column_kinds import kinds_of
from dlcli.spec.load import load, to_yaml
from dlcli.training.finetune import continued
from dlcli.training.resume import resume
from dlcli.training.train import train

pytestmark = pytest.mark.usefixtures("without_pictures")
Array = np.ndarray[Any, Any]
SOURCE = "{kind: csv, path: prices.csv, target: price}"
MODEL = "{kind: mlp, units: [16]}"
TRAINING = "epochs: 30, optimizer: {kind: adam, learning_rate: 0.02}"


def save_prices(folder: Path, *, count: int = 300, columns: str = "price") -> None:
    """Writes a table of two numbers, a category, and targets of different scales that depend on them."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, count))
    kind = random.integers(0, 3, count)
    value = a + 0.5 * b**2 + kind
    targets = {"price": 200_000 + 80_000 * value, "share": 0.002 * (b - kind), "year": 2000 + value, "flat": 0.1 + 0 * a}
    names = columns.split(",")
    lines = [",".join(["a", "b", "kind", *names])]
    for index in range(count):
        lines.append(
            f"{a[index]:.4f},{b[index]:.4f},k{kind[index]}," + ",".join(f"{targets[name][index]:.9g}" for name in names)
        )
    (folder / "prices.csv").write_text("\n".join(lines) + "\n")


def predictions(run: RunFolder, split: str = "test") -> dict[str, Array]:
    """Returns the columns of a split's predictions, without ids."""
    table = read_table(run.evaluation(split) / "predictions.csv")
    return {name: np.array([float(row[name]) for row in table]) for name in table[0] if name != "id"}


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes runs write the spec of a version without the field `scale_targets`; such a run's targets are not scaled."""
    writes = "dlcli.training.train.to_yaml"
    monkeypatch.setattr(writes, lambda experiment: _without_field(to_yaml(experiment)))


def _without_field(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if "scale_targets" not in line)


def test_prices_are_learned_and_reported_in_their_own_unit(tmp_path: Path) -> None:
    save_prices(tmp_path)
    heard = Heard()
    spec = write_spec(tmp_path, SOURCE, task="regression", model=MODEL, training=TRAINING)
    run = trained(spec, reporter=heard)
    assert run.metrics()["metrics"]["r2"]["value"] > 0.8
    facts = run.data()
    target_lines = [line for line in heard.lines if line.startswith("targets:")]
    assert target_lines == [
        f"targets: scaled inside the model (price: mean {facts['means'][0]:.6g}, deviation {facts['deviations'][0]:.6g});"
        " loss, scores and predictions are in the unit of the target"
    ]
    assert run.experiment().data.scale_targets is True
    table = predictions(run)
    error = table["predicted_price"] - table["label_price"]
    scores = {name: entry["value"] for name, entry in run.metrics()["metrics"].items()}
    assert scores["loss"] == pytest.approx(np.mean(error**2), rel=1e-5)
    assert scores["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    # The best epoch's row holds the scores that `evaluate` computes for the validation split.
    best = run.history()[run.status().best_epoch - 1]
    again = evaluate(run, "validation").metrics
    assert {name: float(best[f"val_{name}"]) for name in ("loss", "mae", "rmse", "r2")} == pytest.approx(
        {name: again[name] for name in ("loss", "mae", "rmse", "r2")}, rel=1e-4
    )
    # Plain Keras predicts in the unit of the price, and the file holds no compile settings.
    model = keras.models.load_model(run.model_path)
    assert not any(getattr(layer, "compiled", False) for layer in [model, *model.layers])
    row = {"a": np.zeros(1), "b": np.zeros(1), "kind": np.array(["k1"], dtype=object)}
    assert 200_000 < float(model(InputLayout.of(kinds_of(row)).tensors(row))[0, 0]) < 380_000


def test_targets_of_different_scales_have_equal_weight(tmp_path: Path) -> None:
    save_prices(tmp_path, columns="price,share,year")
    source = "{kind: csv, path: prices.csv, target: [price, share, year]}"
    spec = write_spec(tmp_path, source, task="regression", model=MODEL, training=TRAINING)
    assert load(spec).experiment.training.monitor == "val_r2"
    run = trained(spec)
    table = predictions(run)
    scores = {name: r2_score(table[f"label_{name}"], table[f"predicted_{name}"]) for name in ("price", "share", "year")}
    assert min(scores.values()) > 0.8, scores
    # The loss is that of all values in their own units, and R2 of years is right although years are far from 0.
    errors = np.stack([table[f"label_{name}"] - table[f"predicted_{name}"] for name in scores])
    assert run.metrics()["metrics"]["loss"]["value"] == pytest.approx(np.mean(errors**2), rel=1e-5)
    best = run.history()[run.status().best_epoch - 1]
    assert float(best["val_r2"]) == pytest.approx(evaluate(run, "validation").metrics["r2"], abs=1e-4)
    # So is the baseline's loss, which the diagnosis compares it with.
    skills = read_evidence(run).scored_skills
    assert skills["loss"] == pytest.approx(skills["rmse"], abs=1e-3)


def test_scaling_can_be_turned_off_and_a_constant_target_is_not_scaled(tmp_path: Path) -> None:
    save_prices(tmp_path, columns="price,flat", count=60)
    off = write_spec(tmp_path, SOURCE, task="regression", model=MODEL, data="scale_targets: false", training="epochs: 1")
    heard = Heard()
    run = trained(off, reporter=heard)
    assert not [line for line in heard.lines if line.startswith("targets:")]
    assert np.abs(predictions(run)["predicted_price"]).max() < 1000
    source = "{kind: csv, path: prices.csv, target: flat}"
    flat = trained(write_spec(tmp_path, source, task="regression", model=MODEL, training="epochs: 12", name="flat"))
    scale = recorded_scale(flat.experiment(), flat.data())
    assert scale is not None
    assert scale.deviation == 1
    assert predictions(flat)["predicted_flat"] == pytest.approx(0.1, abs=2)


def test_a_constant_target_is_reported(tmp_path: Path) -> None:
    save_prices(tmp_path, columns="price,flat")
    spec = write_spec(tmp_path, task="regression", source="{kind: csv, path: prices.csv, target: [price, flat]}", model=MODEL)
    splits = open_splits(load(spec).experiment)
    assert splits.notes[-1] == "the target `flat` is 0.1 in all training examples, so there is nothing to predict"


def test_only_a_regression_has_targets_to_scale(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, data="scale_targets: true")
    with pytest.raises(SpecError) as caught:
        load(spec)
    assert "data.scale_targets: only a regression scales its targets; `task: classification` cannot" in str(caught.value)
    assert trained(write_spec(tmp_path, training="epochs: 0", name="auto")).experiment().data.scale_targets is False


@pytest.mark.parametrize("kind", ["mse", "mae", "mape", "msle", "log_cosh", "{kind: huber, delta: 2.0}"])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e5])
def test_the_minimised_loss_is_divided_by_the_loss_of_one_deviation(kind: str, size: float) -> None:
    loss = OneOf.registry["Loss"].validate({"kind": "huber", "delta": 2.0} if "huber" in kind else kind)
    random = np.random.default_rng(1)
    labels = (size * (5 + random.normal(size=(64, 1)))).astype("float32")
    outputs = (labels + size * random.normal(size=(64, 1))).astype("float32")
    scale = TargetScale(np.array([5 * size]), np.array([size]))
    minimised = float(np.mean(scale.weighted(loss)(labels, outputs)))
    plain = float(loss.build()(labels, outputs))
    cost = {"mse": size**2, "mae": size, "log_cosh": size * min(size, 1), "huber": size * min(size, 2.0)}.get(loss.kind, 1.0)
    assert minimised == pytest.approx(plain / cost, rel=1e-4)
    if loss.kind not in ("mape", "msle"):  # losses relative to the target have no unit
        assert 0.05 < minimised < 3


def test_a_run_with_scaled_targets_stopped_within_an_epoch_resumes_bit_for_bit(tmp_path: Path) -> None:
    save_prices(tmp_path, columns="price,year", count=120)
    source = "{kind: csv, path: prices.csv, target: [price, year]}"
    training = "epochs: 3, optimizer: {kind: adam, learning_rate: 0.02}"
    spec = write_spec(tmp_path, source, task="regression", model=MODEL, data="batch_size: 8", training=training)
    whole, run = trained(spec), stopped(spec, Stopping(step=14))
    heard = gone_on(run)
    assert not [line for line in heard if "last bits" in line]
    assert_same_bits(whole, run)


@pytest.mark.slow
def test_sweep_and_batch_find_work_with_scaled_targets(tmp_path: Path, dlcli: Dlcli) -> None:
    pytest.importorskip("optuna", reason="the extra `sweep` is not installed")
    save_prices(tmp_path, count=120)
    space = "sweep: {trials: 2, sampler: random, space: {training.optimizer.learning_rate: {log: [0.01, 0.05]}}}"
    spec = write_spec(tmp_path, SOURCE, task="regression", model=MODEL, training=TRAINING, more=space)
    done = dlcli("sweep", spec, timeout=240)
    assert done.returncode == 0, done.stderr
    runs = list(all_runs(tmp_path / "runs"))
    assert [run.experiment().data.scale_targets for run in runs] == [True, True]
    assert min(run.metrics()["metrics"]["r2"]["value"] for run in runs) > 0.7
    done = dlcli("batch-find", spec, "--from", "64", "--seconds", "0.2", "--json", timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["largest"] == 84, "84 are all training examples"


def test_a_single_example_and_targets_in_the_millions_train_in_half_precision(tmp_path: Path) -> None:
    lines = ["a,price", *(f"{index},{1_000_000 + 250_000 * index}" for index in range(24))]
    (tmp_path / "prices.csv").write_text("\n".join(lines) + "\n")
    more = "hardware: {precision: mixed_float16}"
    spec = write_spec(tmp_path, SOURCE, task="regression", model=MODEL, training="epochs: 20", more=more)
    assert 1_000_000 < predictions(trained(spec))["predicted_price"].mean() < 8_000_000
    (tmp_path / "prices.csv").write_text("a,price\n1,5000000\n")
    split = "split: {validation: 0, test: 0}"
    alone = trained(write_spec(tmp_path, SOURCE, task="regression", data=split, training="epochs: 1", name="alone"))
    assert alone.data()["deviations"] == [0.0]
    assert predictions(alone, "train")["predicted_price"] == pytest.approx(5_000_000, abs=10)


def test_a_loss_without_a_gradient_below_zero_starts_from_positive_predictions(tmp_path: Path) -> None:
    """A third of the prices lies within a deviation below the mean: a network that starts below 0 would stay there."""
    random = np.random.default_rng(1)
    x = random.normal(size=(600, 5)).astype("float32")
    np.savez(tmp_path / "rows.npz", x=x, y=1e5 * np.exp(x[:, 0]))
    source = "{kind: npz, path: rows.npz, features: x, target: y}"
    heard = Heard()
    run = trained(write_spec(tmp_path, source, task="regression", training="epochs: 20, loss: msle"), reporter=heard)
    mean = run.data()["means"][0]
    (target_lines,) = [line for line in heard.lines if line.startswith("targets:")]
    assert f"mean {mean:.6g}, divided by {mean / 3:.6g})" in target_lines
    outcome = read_outcome(run, "test")
    guess = np.log1p(np.full_like(outcome.truth, mean)) - np.log1p(outcome.truth)
    assert run.metrics()["metrics"]["loss"]["value"] < 0.5 * float(np.mean(guess**2))


@pytest.mark.usefixtures("older")
def test_runs_of_versions_without_the_field_stay_unscaled(tmp_path: Path) -> None:
    save_prices(tmp_path, count=60)
    spec = write_spec(tmp_path, SOURCE, task="regression", model=MODEL, data="scale_targets: false", training="epochs: 2")
    run = trained(spec)
    assert "scale_targets" not in (run.path / "spec.yaml").read_text()
    longer = trained(spec, ["training.epochs=3"])
    resume(run, Reporter(), overrides=["training.epochs=3"], schedule=None, offline=True)
    assert [row["val_loss"] for row in run.history()] == [row["val_loss"] for row in longer.history()]
    assert evaluate(run, "").metrics["loss"] == longer.metrics()["metrics"]["loss"]["value"]
    tuned = continued(run, print, train="all", learning_rate=None, epochs=1, overrides=[])
    assert tuned.experiment.data.scale_targets is False


def test_initial_weights_of_an_unscaled_run_give_the_same_predictions(tmp_path: Path) -> None:
    save_prices(tmp_path, count=100)
    off = write_spec(tmp_path, SOURCE, task="regression", model=MODEL, data="scale_targets: false", training=TRAINING)
    old = trained(off)
    from_old = f"epochs: 0, initial_weights: {old.path}"
    new = trained(write_spec(tmp_path, SOURCE, task="regression", model=MODEL, training=from_old, name="new"))
    assert new.experiment().data.scale_targets is True
    expected = predictions(old)["predicted_price"]
    rounded = 8 * float(np.spacing(np.float32(300_000)))  # predictions are sums with the mean price
    assert predictions(new)["predicted_price"] == pytest.approx(expected, abs=rounded)
    # Fine-tuning the new run keeps its weights bit for bit: the scale is the same.
    tuned = train(continued(new, print, train="all", learning_rate=1e-9, epochs=1, overrides=[]), tmp_path / "runs", Reporter())
    assert predictions(tuned)["predicted_price"] == pytest.approx(expected, abs=rounded)


def test_a_run_with_scaled_targets_serves_as_a_backbone_without_its_output_layer(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 4)).astype("float32")
    np.savez(tmp_path / "rows.npz", x=features, y=1e5 * (3 + features[:, :1]))
    source = "{kind: npz, path: rows.npz, features: x, target: y}"
    first = trained(write_spec(tmp_path, source, task="regression", model=MODEL, training="epochs: 1"))
    model = f"{{kind: transfer, backbone: {{kind: run, run: {first.path}}}}}"
    second = trained(write_spec(tmp_path, source, task="regression", model=model, training="epochs: 6", name="second"))
    whole = load_model(second.model_path)
    assert whole.get_layer("backbone").output_shape == (None, 16)
    losses = [float(row["loss"]) for row in second.history()]
    assert losses[-1] < losses[0] < 1e11
