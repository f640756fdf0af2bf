"""One definition of the loss: in the history, for the best epoch, and by `evaluate`; penalties have a column of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trainings import column, save_rows, trained, write_spec

from dlcli.charts.learning import learning_charts
from dlcli.runs import RunFolder
from dlcli.runs.folder import now
from dlcli.runs.reporter import Reporter
from dlcli.runtime.loading import load_model
from dlcli.score.compare import compare_losses
from dlcli.score.evaluate import evaluate
from dlcli.score.outcome import read_outcome
from dlcli.spec.load import load, to_yaml
from dlcli.training.lr_find import Search, find_rate
from dlcli.training.resume import resume

pytestmark = pytest.mark.usefixtures("without_pictures")
L2 = "{kind: mlp, units: [48, 48], activation: tanh, kernel_regularizer: {kind: l2, l2: 0.05}}"
EPOCHS = "epochs: 8, optimizer: {kind: adam, learning_rate: 0.02}"
DATA = "batch_size: 8, split: {validation: 0.3, test: 0.2}"


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec of labels that are noise: the data loss of the validation split rises while the penalty falls."""
    folder = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(0)
    np.savez(folder / "noise.npz", x=random.normal(size=(120, 12)).astype("float32"), y=random.integers(0, 2, 120))
    return write_spec(folder, "{kind: npz, path: noise.npz}", model=L2, data=DATA, training=EPOCHS, name="noise")


def test_a_penalty_decides_nothing_and_is_a_column_of_its_own(noise: Path) -> None:
    run = trained(noise)
    scored, penalty = column(run, "val_loss"), column(run, "penalty")
    best = int(np.argmin(scored)) + 1
    assert int(np.argmin(np.add(scored, penalty))) + 1 != best, "the case shows nothing"
    assert run.status().best_epoch == best
    assert run.status().best_value == pytest.approx(scored[best - 1])
    assert evaluate(run, "validation").metrics["loss"] == pytest.approx(scored[best - 1], rel=1e-5)
    model = load_model(run.model_path)
    kernels = [weight.numpy() for weight in model.trainable_weights if weight.name == "kernel"]
    assert penalty[best - 1] == pytest.approx(0.05 * sum(float((kernel**2).sum()) for kernel in kernels[:2]), rel=1e-5)
    chart = next(chart for chart in learning_charts(run.history(), best) if chart.title == "penalty")
    assert "penalty over 8 epochs: weights from" in chart.text


def test_a_rate_is_found_by_the_data_loss(noise: Path, tmp_path: Path) -> None:
    found = find_rate(load(noise).experiment, tmp_path, lambda _: None, Search(steps=12))
    assert found.losses[0] < 1.5  # the penalty alone is above 2


def test_an_unfinished_run_of_the_first_revision_keeps_its_loss(noise: Path, tmp_path: Path) -> None:
    loaded = load(noise, ["training.epochs=2"])
    run = RunFolder.create(tmp_path, "noise", spec=to_yaml(loaded.experiment), source=loaded.source_text)
    run.write_environment({"device": {"kind": "cpu", "name": "1 core"}, "precision": "float32"})
    run.update_status(state="failed", started=now())
    resume(run, Reporter(), overrides=[], schedule=None, offline=True)
    assert run.revision() == 1
    assert "penalty" not in run.history()[0]
    best = run.status().best_epoch
    assert column(run, "val_loss")[best - 1] > evaluate(run, "validation").metrics["loss"] + 0.1


def test_ignored_examples_count_neither_in_the_history_nor_in_evaluate(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npz", examples=200)
    loss = "loss: {kind: sparse_categorical_crossentropy, ignore_class: 1}"
    training = f"epochs: 2, {loss}, optimizer: {{kind: sgd, learning_rate: 1e-30}}, metrics: [accuracy]"
    spec = write_spec(tmp_path, "{kind: npz, path: rows.npz, target: kinds}", data="batch_size: 17", training=training)
    run = trained(spec)
    for part, name in (("train", "loss"), ("validation", "val_loss")):
        value = evaluate(run, part).metrics["loss"]
        assert column(run, name)[-1] == pytest.approx(value, rel=1e-5)
        rows = np.genfromtxt(run.evaluation(part) / "predictions.csv", delimiter=",", names=True, dtype=None, encoding=None)
        labels = rows["label"].astype(int)
        shares = np.stack([rows[f"p_{name}"] for name in (0, 1, 2)], axis=1)
        counted = labels != 1
        kept = read_outcome(run, part)
        assert kept.losses is not None
        assert (np.isfinite(kept.losses) == counted).all()
        assert compare_losses(kept, kept).first == pytest.approx(value)
        assert value == pytest.approx(-np.log(shares[counted, labels[counted]]).mean(), rel=1e-5)
