"""The tasks beyond one class of several, and the settings that change how a run proceeds."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from trainings import GAUSSIANS, SMALL_CNN, column, losses, outputs, save_images, save_rows, trained, write_spec

from dlcli.runs.files import read_table
from dlcli.runtime.engine import keras
from dlcli.score.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("without_pictures")


def test_several_label_columns_of_a_table(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(80, 2)).round(3)
    lines = [f"{a},{b},{int(a > 0)},{'true' if b > 0 else 'false'},{int(a + b > 1)}" for a, b in rows]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,happy,calm,wide awake", *lines]))
    source = "{kind: csv, path: rows.csv, target: [happy, calm, wide awake]}"
    run = trained(write_spec(tmp_path, source, task="multilabel", training="epochs: 2"))
    assert run.data()["classes"] == ["happy", "calm", "wide awake"]
    predicted = read_table(run.evaluation("test") / "predictions.csv")
    names = ("happy", "calm", "wide awake")
    assert list(predicted[0]) == ["id", *(f"label_{name}" for name in names), *(f"predicted_{name}" for name in names)]
    assert {row["label_calm"] for row in predicted} == {"0", "1"}
    assert losses(run)[-1] < losses(run)[0]


def test_several_targets_of_a_regression(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npz")
    source = "{kind: npz, path: rows.npz, target: y2}"
    run = trained(write_spec(tmp_path, source, task="regression", training="epochs: 2"))
    scores = run.metrics()
    assert scores["metrics"].keys() == {"loss", "mae", "rmse", "r2"}
    assert scores["baseline"]["name"] == "always the mean"
    assert evaluate(run, "").metrics["rmse"] ** 2 == pytest.approx(scores["metrics"]["loss"]["value"], rel=1e-5)
    assert len(read_table(run.evaluation("test") / "predictions.csv")[0]) == 1 + 2 * 2


@pytest.mark.parametrize(("size", "steps"), [("1", 23), ("full", 1), ("1000", 1)])
def test_batch_size_from_one_example_to_all(tmp_path: Path, size: str, steps: int) -> None:
    source = "{kind: playground, name: gaussians, examples: 33}"
    data = f"batch_size: {size}"
    run = trained(write_spec(tmp_path, source, task="binary", data=data, training="epochs: 2, metrics: [accuracy]"))
    assert run.status().step == 2 * steps
    assert run.data()["examples"]["train"] == 23


def test_no_epochs_saves_and_scores_the_model_as_it_is(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, training="epochs: 0"))
    assert run.status().state == "completed"
    assert run.history() == []
    assert not (run.path / "history.csv").exists()
    assert isfinite(run.metrics()["metrics"]["accuracy"]["value"])


@pytest.mark.parametrize("metrics", ["[accuracy, auc]", "[]"])
def test_averaged_weights_are_what_is_validated_saved_and_scored(tmp_path: Path, metrics: str) -> None:
    """With a slow average the raw weights are far from it, so that mixing the two up would show in every score."""
    optimizer = "{kind: sgd, learning_rate: 0.5, use_ema: true, ema_momentum: 0.95}"
    training = f"epochs: 3, metrics: {metrics}, optimizer: {optimizer}"
    run = trained(write_spec(tmp_path, GAUSSIANS, task="binary", training=training))
    row = run.history()[run.status().best_epoch - 1]
    for name, value in evaluate(run, "validation").metrics.items():
        assert value == pytest.approx(float(row[f"val_{name}"]), rel=1e-5), name
    assert float(row["val_loss"]) > 2 * float(row["loss"])


def test_without_a_validation_part_the_training_loss_is_the_monitor(tmp_path: Path) -> None:
    callback = "callbacks: [{kind: early_stopping, patience: 9}]"
    run = trained(write_spec(tmp_path, data="split: {validation: 0}", training=f"epochs: 2, {callback}"))
    assert run.status().monitor == "loss"
    assert list(run.data()["examples"]) == ["train", "test"]
    assert "val_loss" not in run.history()[0]
    assert run.experiment().training.callbacks[0].monitor == "loss"


def test_without_a_test_part_the_validation_part_is_scored(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, data="split: {test: 0}", training="epochs: 1"))
    assert list(run.data()["examples"]) == ["train", "validation"]
    assert run.scored_splits() == ["validation"]


def test_the_validation_part_may_serve_as_test_part(tmp_path: Path) -> None:
    run = trained(write_spec(tmp_path, data="split: {test: validation}", training="epochs: 1"))
    assert set(run.split().values()) == {"train", "validation"}
    assert run.scored_splits() == ["test"]
    before = run.metrics()
    evaluate(run, "validation")
    assert run.metrics("validation")["metrics"] == before["metrics"]
    evaluate(run, "")
    assert run.metrics() == before


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_and_gives_float32(tmp_path: Path, precision: str) -> None:
    import keras

    save_images(tmp_path / "images.npz")
    more = f"hardware: {{precision: {precision}}}"
    training = "epochs: 3, optimizer: {kind: adam, learning_rate: 0.01}"
    run = trained(write_spec(tmp_path, "{kind: npz, path: images.npz}", model=SMALL_CNN, training=training, more=more))
    assert run.environment()["precision"] == precision
    assert losses(run)[-1] < losses(run)[0]
    assert column(run, "learning_rate") == pytest.approx([0.01] * 3)
    keras.config.set_dtype_policy("float32")
    model = keras.saving.load_model(run.model_path, compile=False)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    """The resolved spec of a run must load again, also where an image setting could not have been written by hand."""
    save_images(tmp_path / "images.npz", examples=40, channels=channels)
    run = trained(write_spec(tmp_path, "{kind: npz, path: images.npz}", model=SMALL_CNN, training="epochs: 1"))
    before = run.metrics()
    evaluate(run, "")
    assert run.metrics() == before


def test_gradient_accumulation_and_clipping(tmp_path: Path) -> None:
    optimizer = "{kind: sgd, learning_rate: 0.1, gradient_accumulation_steps: 2, global_clipnorm: 1.0}"
    run = trained(write_spec(tmp_path, GAUSSIANS, task="binary", training=f"epochs: 3, metrics: [], optimizer: {optimizer}"))
    assert losses(run)[-1] < losses(run)[0]


def test_inputs_are_scaled_in_float32_under_mixed_precision(tmp_path: Path) -> None:
    """Half precision would make an infinite variance of the large features, and one number of 1065 and 1067."""
    spec = write_spec(tmp_path, "{kind: builtin, name: breast_cancer}", task="binary", training="epochs: 1")
    try:
        run = trained(spec, ["hardware.precision=mixed_float16"])
        model = keras.saving.load_model(run.model_path, compile=False)
        scaled = keras.Model(model.input, model.get_layer("normalize").output)
        rows = load_breast_cancer().data.astype("float32")
        features = outputs(scaled, rows)
    finally:
        keras.config.set_dtype_policy("float32")
    assert features.dtype == np.float32
    worst_area = features[:, 23]
    assert np.unique(worst_area).size == np.unique(rows[:, 23]).size
    assert 0.8 < worst_area.std() < 1.2
