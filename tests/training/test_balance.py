"""Trainings with `data.balance`: the weighted loss is Keras's, the reported one has no weights, and a resumed run has the bits
of one that was never interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.killing import assert_same_bits
from trainings import IRIS, Heard, column, trained, write_spec

from dlcli.runs import RunFolder
from dlcli.runtime.balanced_loss import BalancedLoss
from dlcli.runtime.engine import keras
from dlcli.score.evaluate import evaluate
from dlcli.spec.base import OneOf
from dlcli.spec.data.balance.base import ClassCounts
from dlcli.spec.data.balance.class_weights import ClassWeight
from dlcli.spec.load import load
from dlcli.training.finetune import continued
from dlcli.training.rate_trial import put_together
from training.test_resume import Stopping, gone_on, stopped

pytestmark = pytest.mark.usefixtures("without_pictures")


def rare_rows(folder: Path, *, examples: int = 120) -> str:
    """Writes a table in which every fifth row is of class `yes`, and returns its source."""
    random = np.random.default_rng(0)
    x = random.normal(size=(examples, 3))
    lines = [f"{a:.4f},{b:.4f},{c:.4f},{'yes' if place % 5 == 0 else 'no'}" for place, (a, b, c) in enumerate(x)]
    (folder / "rare.csv").write_text("a,b,c,kind\n" + "\n".join(lines) + "\n")
    return "{kind: csv, path: rare.csv, target: kind}"


def _weights_after(model: Any, start: list[Any], step: Callable[[Any, Any], Any], batches: list[Any]) -> list[Any]:
    model.set_weights(start)
    for inputs, labels in batches:
        step(inputs, labels)
    return [np.asarray(weight) for weight in model.get_weights()]


@pytest.mark.parametrize(
    ("task", "loss"),
    [
        ("classification", "sparse_categorical_crossentropy"),
        pytest.param("classification", "categorical_crossentropy", marks=pytest.mark.slow),
        ("binary", "auto"),
    ],
)
def test_an_epoch_gives_the_weights_of_keras_with_class_weight(tmp_path: Path, task: str, loss: str) -> None:
    source = rare_rows(tmp_path) if task == "binary" else IRIS
    classes = ("no", "yes") if task == "binary" else ("setosa", "versicolor", "virginica")
    weights = {name: place + 1 for place, name in enumerate(classes)}
    balance = f"balance: {{kind: class_weight, weights: {{{', '.join(f'{name}: {w}' for name, w in weights.items())}}}}}"
    training = f"epochs: 1, loss: {loss}, optimizer: {{kind: sgd, learning_rate: 0.1}}"
    spec = write_spec(tmp_path, source, task=task, data=f"{balance}, batch_size: 16", training=training)
    trial = put_together(load(spec).experiment, tmp_path, lambda _: None)
    model, start = trial.model, trial.model.get_weights()
    batches = [(inputs.numpy(), labels.numpy()) for inputs, labels in trial.stream.batches(0)]
    ours = _weights_after(model, start, lambda x, y: model.train_on_batch(x, y), batches)
    resolved = trial.setup.experiment
    plain = keras.Model(model.inputs, model.outputs)
    plain.compile(optimizer=keras.optimizers.SGD(0.1), loss=resolved.training.loss.build())
    by_number = {place: resolved.data.balance.weights[name] for place, name in enumerate(classes)}  # type: ignore[attr-defined]
    theirs = _weights_after(plain, start, lambda x, y: plain.train_on_batch(x, y, class_weight=by_number), batches)
    unweighted = _weights_after(plain, start, lambda x, y: plain.train_on_batch(x, y), batches)
    for mine, kerases in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, kerases, rtol=1e-5, atol=1e-6)
    assert max(np.abs(mine - other).max() for mine, other in zip(ours, unweighted, strict=True)) > 1e-3


LOSSES = {
    "classes": (
        "sparse_categorical_crossentropy",
        "{kind: sparse_categorical_crossentropy, label_smoothing: 0.1}",
        "categorical_crossentropy",
        "{kind: categorical_focal_crossentropy, gamma: 1.0}",
        "kl_divergence",
        "categorical_hinge",
    ),
    "yes_no": (
        "binary_crossentropy",
        "{kind: binary_focal_crossentropy, label_smoothing: 0.1}",
        "hinge",
        "squared_hinge",
        "mse",
    ),
}


@pytest.mark.parametrize("loss", LOSSES["classes"])
def test_every_loss_of_classes_weights_each_example_by_its_class(loss: str) -> None:
    from dlcli.spec.document import parse_value

    spec = OneOf.registry["Loss"].validate(parse_value(loss))
    outputs = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.8, 0.1]], "float32")
    numbers, weights = np.array([0, 2, 1], "int32"), np.array([0.5, 1.0, 4.0], "float32")
    labels = numbers if spec.integer_labels else np.eye(3, dtype="float32")[numbers]
    value = float(BalancedLoss(spec.each, weights)(labels, outputs))
    assert value == pytest.approx(float((np.asarray(spec.each(labels, outputs)) * weights[numbers]).mean()), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES["yes_no"])
def test_every_loss_of_labels_weights_each_decision(loss: str) -> None:
    from dlcli.spec.document import parse_value

    spec = OneOf.registry["Loss"].validate(parse_value(loss))
    labels = np.array([[1, 0], [0, 0], [1, 1]], "float32")
    outputs = np.array([[0.7, 0.2], [0.3, 0.6], [0.4, 0.9]], "float32")
    weights = np.array([[0.5, 2.0], [0.8, 3.0]], "float32")
    single = [
        float(np.asarray(spec.each(labels[row : row + 1, place : place + 1], outputs[row : row + 1, place : place + 1]))[0])
        * weights[place, int(labels[row, place])]
        for row in range(3)
        for place in range(2)
    ]
    assert float(BalancedLoss(spec.each, weights)(labels, outputs)) == pytest.approx(float(np.mean(single)), rel=1e-5)


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, list[str]]:
    """A run with weights of classes, and its log."""
    folder, heard = tmp_path_factory.mktemp("weighted"), Heard()
    data = "balance: class_weight, batch_size: 16, split: {validation: 0.25, test: 0.25}"
    spec = write_spec(folder, rare_rows(folder), task="binary", data=data, training="epochs: 2")
    return trained(spec, reporter=heard), heard.lines


def test_the_reported_loss_has_no_weights(weighted: tuple[RunFolder, list[str]]) -> None:
    run, _ = weighted
    best = run.status().best_epoch
    assert column(run, "val_loss")[best - 1] == pytest.approx(evaluate(run, "validation").metrics["loss"], rel=1e-5)


def test_the_resolved_spec_and_the_log_hold_the_weights(weighted: tuple[RunFolder, list[str]]) -> None:
    run, lines = weighted
    counts = run.data()["counts"]["train"]
    assert run.experiment().data.balance.weights == {  # type: ignore[attr-defined]
        name: pytest.approx(sum(counts.values()) / (2 * count), rel=1e-5) for name, count in counts.items()
    }
    assert any(line.startswith("balance: class_weight: weights in the minimised loss are 0.6") for line in lines)
    assert "epoch_examples" not in run.data()


def test_weights_are_computed_anew_for_other_data_and_kept_for_the_same(
    weighted: tuple[RunFolder, list[str]], tmp_path: Path
) -> None:
    run, _ = weighted
    rare_rows(tmp_path)

    def balance_of(*overrides: str) -> Any:
        loaded = continued(run, lambda _: None, train="all", learning_rate=None, epochs=1, overrides=[*overrides])
        return loaded.experiment.data.balance

    source = f"data.source={{kind: csv, path: {tmp_path / 'rare.csv'}, target: kind, drop: [c]}}"
    assert balance_of() == run.experiment().data.balance
    assert balance_of(source) == ClassWeight(kind="class_weight")
    chosen = ClassWeight(kind="class_weight", weights={"no": 1.0, "yes": 7.0})
    counts = ClassCounts(["no", "yes"], [48, 12], 60)
    assert chosen.unresolved(counts) == chosen
    assert ClassWeight(kind="class_weight").resolved(counts).unresolved(counts).weights is None


def test_the_best_epoch_is_that_of_the_macro_f1_unless_the_spec_names_another(
    weighted: tuple[RunFolder, list[str]], tmp_path: Path
) -> None:
    run, _ = weighted
    assert run.experiment().training.monitor == "val_macro_f1"
    assert run.status().best_epoch == int(np.argmax(column(run, "val_macro_f1"))) + 1
    spec = write_spec(tmp_path, data="balance: oversample")
    training = load(spec).experiment.training
    assert (training.monitor, [metric.name for metric in training.metrics or []]) == ("val_f1", ["accuracy", "f1"])
    sparse = load(spec, ["training.loss=sparse_categorical_crossentropy"]).experiment.training
    assert (sparse.monitor, sparse.loss.kind) == ("val_macro_f1", "sparse_categorical_crossentropy")
    assert load(spec, ["training.monitor=val_loss"]).experiment.training.monitor == "val_loss"
    assert load(spec, ["data.split.validation=0"]).experiment.training.monitor == "loss"
    assert load(spec, ["data.balance=none"]).experiment.training.monitor == "val_loss"


@pytest.mark.parametrize(
    ("balance", "steps"),
    [
        pytest.param("class_weight", 7, marks=pytest.mark.slow),
        pytest.param("oversample", 12, marks=pytest.mark.slow),
        ("undersample", 3),
        pytest.param("{kind: undersample, ratio: 0.5}", 5, marks=pytest.mark.slow),
        ("smote", 12),
    ],
)
def test_a_resumed_run_has_the_same_bits_and_the_steps_of_the_drawn_examples(tmp_path: Path, balance: str, steps: int) -> None:
    """Of 84 training rows, 67 are of one class; batches have 12 rows."""
    rate = "{kind: cosine_decay, initial_learning_rate: 0.01}"
    training = f"epochs: 3, optimizer: {{kind: adam, learning_rate: {rate}}}"
    spec = write_spec(
        tmp_path, rare_rows(tmp_path), task="binary", data=f"balance: {balance}, batch_size: 12", training=training
    )
    whole = trained(spec)
    run = stopped(spec, Stopping(step=steps + 1))
    gone_on(run)
    assert_same_bits(whole, run)
    assert int(whole.history()[-1]["epoch"]) == 3
    assert whole.experiment().stages[0].optimizer.learning_rate.decay_steps == 3 * steps  # type: ignore[union-attr]
    assert whole.status().step == 3 * steps


def test_a_full_batch_has_all_drawn_examples(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, rare_rows(tmp_path), task="binary", data="balance: oversample, batch_size: full")
    trial = put_together(load(spec).experiment, tmp_path, lambda _: None)
    assert trial.setup.batch_size == trial.setup.epoch_examples == 2 * 67
    (batch,) = list(trial.stream.batches(1))
    assert batch[1].numpy().mean() == 0.5
