"""Every kind of every union of the spec trains from a YAML file, and lowers the loss where it should."""

from __future__ import annotations

from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import GAUSSIANS, PLANE, column, losses, save_images, save_rows, save_series, save_volumes, trained, write_spec

from dlcli.runs import RunFolder
from dlcli.spec.base import OneOf, dump, walk
from dlcli.spec.load import load, to_flow
from dlcli.spec.training.metrics import higher_is_better
from dlcli.tasks import TASKS

pytestmark = pytest.mark.usefixtures("without_pictures")
UNIONS = OneOf.registry


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conformance")
    save_rows(folder / "rows.npz")
    save_images(folder / "images.npz")
    save_series(folder / "series.npz")
    save_series(folder / "steps.npz")
    save_volumes(folder / "volumes.npz")
    wave = [f"{20 + step / 40 + np.sin(step * np.pi / 2):.4f}" for step in range(160)]
    (folder / "wave.csv").write_text("\n".join(["y", *wave]) + "\n", encoding="utf-8")
    return folder


ROWS = {
    "classification": "{kind: npz, path: rows.npz, target: kinds}",
    "binary": "{kind: npz, path: rows.npz, target: yes}",
    "multilabel": "{kind: npz, path: rows.npz, target: labels}",
    "regression": "{kind: npz, path: rows.npz, target: y}",
    "forecast": "{kind: series, path: wave.csv, target: y, window: 8, season: 4, validation: 0.2, test: 0.2}",
}
WITHOUT_VALIDATION = "batch_size: 16, split: {validation: 0}"


def _fitting(kind: str) -> list[str]:
    member: Any = UNIONS["Loss"].kinds[kind]
    return [task for task in TASKS if member.model_construct(kind=kind).fits(TASKS[task])]


@pytest.mark.parametrize(("kind", "task"), [(kind, task) for kind in UNIONS["Loss"].kinds for task in _fitting(kind)])
def test_every_loss_goes_down_with_every_task_it_fits(folder: Path, kind: str, task: str) -> None:
    training = f"epochs: 3, loss: {kind}, metrics: [], optimizer: {{kind: adam, learning_rate: 0.03}}"
    data = "batch_size: 16" if task == "forecast" else WITHOUT_VALIDATION  # its source draws its own splits
    run = trained(write_spec(folder, ROWS[task], task=task, data=data, training=training))
    first, *_, last = losses(run)
    assert last < first
    assert run.metrics()["metrics"].keys() == {"loss"}
    assert isfinite(run.metrics()["metrics"]["loss"]["value"])


RATES = {"sgd": 0.1, "adadelta": 3.0, "adagrad": 0.1, "ftrl": 0.1, "lion": 3e-3}


@pytest.mark.parametrize("kind", UNIONS["Optimizer"].kinds)
def test_every_optimizer_lowers_the_loss(folder: Path, kind: str) -> None:
    training = f"epochs: 3, metrics: [], optimizer: {{kind: {kind}, learning_rate: {RATES.get(kind, 0.02)}}}"
    run = trained(write_spec(folder, GAUSSIANS, task="binary", data=WITHOUT_VALIDATION, training=training))
    first, *_, last = losses(run)
    assert last < 0.9 * first


SCHEDULES = {
    "exponential_decay": ("initial_learning_rate: 0.1, decay_rate: 0.1", 0.01),
    "inverse_time_decay": ("initial_learning_rate: 0.1, decay_rate: 1.0", 0.05),
    "piecewise_constant_decay": ("boundaries: [6], values: [0.1, 0.05]", 0.05),
    "polynomial_decay": ("initial_learning_rate: 0.1", 1e-4),
    "cosine_decay": ("initial_learning_rate: 0.1, alpha: 0.3", 0.03),
    "cosine_decay_restarts": ("initial_learning_rate: 0.1, first_decay_steps: 12, alpha: 0.2, m_mul: 0.5", 0.06),
    "warmup": ("learning_rate: 0.1, warmup_steps: 6", 0.1),
    "one_cycle": ("max_learning_rate: 0.1", 1e-5),
}


BY_PART = "by_part"
"""Rates of body and head: tests/training/test_stages.py trains with them, since they need a backbone."""


@pytest.mark.parametrize("kind", [kind for kind in UNIONS["LearningRate"].kinds if kind != BY_PART])
def test_every_schedule_ends_at_its_rate_and_lowers_the_loss(folder: Path, kind: str) -> None:
    fields, last_rate = SCHEDULES[kind]
    training = f"epochs: 2, metrics: [], optimizer: {{kind: sgd, learning_rate: {{kind: {kind}, {fields}}}}}"
    run = trained(write_spec(folder, GAUSSIANS, task="binary", data=WITHOUT_VALIDATION, training=training))
    assert losses(run)[1] < losses(run)[0]
    assert column(run, "learning_rate")[-1] == pytest.approx(last_rate, rel=1e-4)


NETS = {
    "images": (
        "{kind: zero_padding2d}",
        "{kind: conv2d, filters: 8, kernel_size: 3, activation: relu}",
        "{kind: depthwise_conv2d, kernel_size: 3, padding: same}",
        "{kind: batch_normalization}",
        "{kind: leaky_relu}",
        "{kind: separable_conv2d, filters: 8, kernel_size: 3, padding: same}",
        "{kind: prelu, shared_axes: [1, 2]}",
        "{kind: residual, activation: relu, layers: [{kind: conv2d, filters: 12, kernel_size: 3, padding: same}]}",
        "{kind: branches, branches: [[], [{kind: conv2d, filters: 4, kernel_size: 1}]]}",
        "{kind: squeeze_excite, ratio: 4}",
        "{kind: max_pooling2d}",
        "{kind: spatial_dropout2d, rate: 0.05}",
        "{kind: local_response_normalization}",
        "{kind: layer_normalization}",
        "{kind: branches, branches: [[global_average_pooling2d], [global_max_pooling2d], [average_pooling2d, flatten]]}",
    ),
    "volumes": (
        "{kind: conv3d, filters: 4, kernel_size: 3, padding: same, activation: relu}",
        "{kind: max_pooling3d, pool_size: [1, 2, 2]}",
        "{kind: branches, branches: [[global_average_pooling3d], [flatten]]}",
    ),
    "series": (
        "{kind: reshape, target_shape: [6, 4]}",
        "{kind: reshape, target_shape: [12, -1]}",
        "{kind: rescaling, scale: 2.0}",
        "{kind: gaussian_noise, stddev: 0.05}",
        "{kind: conv1d, filters: 8, kernel_size: 3, padding: same, activation: relu}",
        "{kind: branches, branches: [[max_pooling1d], [average_pooling1d]]}",
        "{kind: branches, branches: [[flatten], [global_average_pooling1d], [global_max_pooling1d]]}",
        "{kind: dense, units: 8}",
        "{kind: activation, activation: silu}",
        "{kind: dropout, rate: 0.1}",
        "{kind: maxout, units: 6}",
    ),
    "steps": (
        "{kind: dense, units: 8}",
        "{kind: position_embedding}",
        "{kind: sine_position_encoding}",
        "{kind: spatial_dropout1d, rate: 0.05}",
        "{kind: branches, branches: [[], [attention]]}",
        "{kind: multi_head_attention, num_heads: 2, key_dim: 4}",
        "{kind: transformer_encoder, intermediate_dim: 8, num_heads: 2, normalize_first: true}",
        "{kind: bidirectional, layer: {kind: lstm, units: 4, return_sequences: true}}",
        "{kind: gru, units: 8, return_sequences: true}",
        "{kind: branches, branches: [[{kind: simple_rnn, units: 4}], [attention_pooling]]}",
    ),
}


@cache
def _net(folder: Path, name: str) -> RunFolder:
    model = f"{{kind: cnn, layers: [{', '.join(NETS[name])}]}}"
    source = f"{{kind: npz, path: {name}.npz}}"
    training = "epochs: 3, optimizer: {kind: adam, learning_rate: 0.01}"
    return trained(write_spec(folder, source, model=model, data="batch_size: 16", training=training, name=name))


def _kinds(run: RunFolder) -> set[str]:
    return {str(getattr(spec, "kind", "")) for _, spec in walk(run.experiment())}


@pytest.mark.parametrize("kind", UNIONS["Layer"].kinds)
def test_every_layer_trains_in_a_network_that_learns(folder: Path, kind: str) -> None:
    nets = [name for name, layers in NETS.items() if any(f"kind: {kind}," in layer.replace("}", ",") for layer in layers)]
    nets += [name for name, layers in NETS.items() if any(f"[{kind}" in layer or f" {kind}]" in layer for layer in layers)]
    assert nets, f"no network above holds a {kind}"
    run = _net(folder, nets[0])
    assert kind in _kinds(run)
    assert losses(run)[-1] < 0.8 * losses(run)[0]


@cache
def _parts(folder: Path) -> RunFolder:
    """One network with a dense branch for every regularizer, initializer and constraint."""
    layers = [f"{{kind: dense, units: 2, kernel_initializer: {kind}}}" for kind in UNIONS["Initializer"].kinds]
    layers += [f"{{kind: dense, units: 2, kernel_regularizer: {kind}}}" for kind in UNIONS["Regularizer"].kinds]
    layers += [f"{{kind: dense, units: 2, kernel_constraint: {kind}}}" for kind in UNIONS["Constraint"].kinds]
    model = f"{{kind: cnn, layers: [{{kind: branches, branches: [{', '.join(f'[{layer}]' for layer in layers)}]}}]}}"
    return trained(write_spec(folder, GAUSSIANS, task="binary", model=model, training="epochs: 3", name="parts"))


@pytest.mark.parametrize(
    "kind", [kind for union in ("Initializer", "Regularizer", "Constraint") for kind in UNIONS[union].kinds]
)
def test_every_initializer_regularizer_and_constraint_trains(folder: Path, kind: str) -> None:
    run = _parts(folder)
    assert kind in _kinds(run)
    assert losses(run)[-1] < losses(run)[0]


def test_constraints_hold_in_the_saved_model(folder: Path) -> None:
    import keras

    model = keras.saving.load_model(_parts(folder).model_path, compile=False)
    kernels = {
        type(layer.kernel_constraint).__name__: np.asarray(layer.kernel)
        for layer in model.layers
        if getattr(layer, "kernel_constraint", None) is not None
    }
    norms = {name: np.sqrt((kernel**2).sum(axis=0)) for name, kernel in kernels.items()}
    assert norms["UnitNorm"] == pytest.approx(1.0, abs=1e-5)
    assert (norms["MaxNorm"] <= 2.00001).all()
    assert (norms["MinMaxNorm"] <= 1.00001).all()
    assert (kernels["NonNeg"] >= 0).all()


CALLBACKS = {
    "early_stopping": ("min_delta: 100.0, patience: 1", "early stopping: val_loss has not improved for 1 epoch", 2),
    "reduce_lr_on_plateau": ("min_delta: 100.0, patience: 1, factor: 0.1", "", 4),
    "terminate_on_nan": ("", "", 4),
    "tensorboard": ("histogram_freq: 1, update_freq: batch", "", 4),
    "time_limit": ("minutes: 1e-6", "time limit of 1e-06 minutes reached", 1),
    "target_reached": ("value: 100.0", "target reached: val_loss has reached 100", 1),
}


TRACKERS = ("mlflow", "wandb")
"""Trackers: tests/training/test_trackers.py trains with them."""


@pytest.mark.parametrize("kind", [kind for kind in UNIONS["Callback"].kinds if kind not in TRACKERS])
def test_every_callback_has_its_effect(folder: Path, kind: str) -> None:
    fields, reason, epochs = CALLBACKS[kind]
    callback = f"{{kind: {kind}{', ' if fields else ''}{fields}}}"
    training = f"epochs: 4, metrics: [], callbacks: [{callback}], optimizer: {{kind: sgd, learning_rate: 0.1}}"
    run = trained(write_spec(folder, GAUSSIANS, task="binary", training=training))
    assert (run.status().reason, len(run.history())) == (reason, epochs)
    assert losses(run)[-1] <= losses(run)[0]
    if kind == "reduce_lr_on_plateau":
        assert column(run, "learning_rate") == pytest.approx([0.1, 0.1, 0.01, 0.001])
    if kind == "tensorboard":
        assert sum(path.stat().st_size for path in run.tensorboard_path.rglob("events*")) > 4000


AUGMENTATIONS = {
    "images": {
        "random_flip": "mode: horizontal",
        "random_rotation": "factor: 0.02",
        "random_translation": "height_factor: 0.1, width_factor: 0.1",
        "random_zoom": "height_factor: 0.1",
        "random_crop": "height: 7, width: 7",
        "random_contrast": "factor: 0.2",
        "random_brightness": "factor: 0.1",
        "gaussian_noise": "stddev: 5.0",
        "random_erasing": "scale: [0.02, 0.05]",
    },
    "colours": {
        "random_rescale": "scale: [0.9, 1.1]",
        "random_padding": "factor: 0.1",
        "random_shear": "x_factor: 0.1",
        "random_affine": "rotation_factor: 0.02",
        "random_perspective": "factor: 0.2, scale: 0.1",
        "random_darken": "factor: 0.2",
        "illumination_gradient": "factor: 0.2",
        "random_hue": "factor: 0.1",
        "random_saturation": "factor: [0.4, 0.6]",
        "random_color_jitter": "brightness_factor: 0.1, saturation_factor: [0.4, 0.6]",
        "random_grayscale": "factor: 0.2",
        "random_posterization": "factor: [5, 7]",
        "solarization": "threshold_factor: [0.98, 1.0]",
        "equalization": "factor: 0.1",
        "auto_contrast": "factor: 0.1",
        "random_sharpness": "factor: [0.4, 0.6]",
        "random_gaussian_blur": "factor: 0.2",
        "salt_and_pepper": "factor: 0.02",
        "rand_augment": "num_ops: 1, factor: 0.1",
        "auto_augment": "policy: cifar10",
        "aug_mix": "chain_depth: 1, factor: 0.1",
        "mix_up": "alpha: 0.1",
        "cut_mix": "factor: 0.1",
    },
    "columns": {"column_noise": "stddev: 0.1"},
}
AUGMENTED = {"images": ["Flatten"], "colours": ["Flatten"], "columns": []}


@cache
def _augmented(folder: Path, group: str) -> RunFolder:
    augment = ", ".join(f"{{kind: {kind}, {fields}}}" for kind, fields in AUGMENTATIONS[group].items())
    if group == "colours":
        save_images(folder / "colours.npz", channels=3)
    return trained(
        write_spec(
            folder,
            ROWS["classification"] if group == "columns" else f"{{kind: npz, path: {group}.npz}}",
            model="{kind: mlp, units: [16]}",
            data=f"batch_size: 16, augment: [{augment}]",
            training="epochs: 4, optimizer: {kind: adam, learning_rate: 0.01}",
            name=f"augmented_{group}",
        )
    )


@pytest.mark.parametrize(
    "kind",
    [
        # A graph of so many takes ten seconds to make; `test_augmentations.py` calls each in a graph.
        pytest.param(kind, marks=[pytest.mark.slow] if kind in AUGMENTATIONS["colours"] else [])
        for kind in UNIONS["Augmentation"].kinds
    ],
)
def test_every_augmentation_trains_and_is_not_in_the_saved_model(folder: Path, kind: str) -> None:
    import keras

    group = next(group for group, kinds in AUGMENTATIONS.items() if kind in kinds)
    run = _augmented(folder, group)
    assert kind in _kinds(run)
    assert losses(run)[-1] < losses(run)[0]
    layers = keras.saving.load_model(run.model_path, compile=False).layers
    scaling = "Normalization" if group == "columns" else "Rescaling"
    assert [type(layer).__name__ for layer in layers] == ["InputLayer", scaling, *AUGMENTED[group], "Dense", "Dense"]


def _loss(task: str) -> str:
    """Returns a loss with which every metric of the task is defined."""
    return {"classification": "categorical_crossentropy", "forecast": "pinball"}.get(task, "auto")


def _metrics(task: str) -> list[Any]:
    """Returns every metric that fits a task, once per average and curve."""
    union = UNIONS["Metric"]
    settings = [{"kind": kind} for kind in union.kinds]
    settings += [
        {"kind": kind, "average": average} for kind in ("precision", "recall", "f1") for average in ("micro", "weighted")
    ]
    settings += [{"kind": "auc", "curve": "pr"}]
    specs = [union.validate({"k": 2} | spec if spec["kind"] == "top_k" else spec) for spec in settings]
    return [spec for spec in specs if spec.fits(TASKS[task])]


@cache
def _measured(folder: Path, task: str) -> RunFolder:
    metrics = _metrics(task)
    training = f"epochs: 2, loss: {_loss(task)}, metrics: {to_flow([dump(metric) for metric in metrics])}"
    return trained(write_spec(folder, ROWS[task], task=task, data="batch_size: 16", training=training, name=f"measured_{task}"))


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_of_a_task_is_in_the_history_and_the_scores(folder: Path, task: str) -> None:
    run = _measured(folder, task)
    names = [metric.name for metric in _metrics(task)]
    assert list(run.metrics()["metrics"]) == ["loss", *names]
    for name in names:
        assert isfinite(run.metrics()["metrics"][name]["value"]), name
        assert all(map(isfinite, column(run, f"val_{name}"))), name


@pytest.mark.parametrize(
    ("task", "metric"),
    [(task, metric) for task in TASKS for metric in _metrics(task)],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_metric_as_monitor_ranks_right_predictions_above_wrong_ones(folder: Path, task: str, metric: Any) -> None:
    """The spec loads with the metric as monitor, and right predictions have a better score than wrong ones."""
    spec = write_spec(folder, ROWS[task], task=task, training=_metric_training(metric, task), name="monitor")
    experiment = load(spec).experiment
    assert experiment.training.monitor == f"val_{metric.name}"
    truth, right, wrong = EXAMPLES[task]
    if metric.name == "mase":  # its scale is that of the training split
        metric = metric.model_copy(update={"scale": [2.0]})
    better, worse = (metric.score(truth, scores, experiment.task) for scores in (right, wrong))
    higher = higher_is_better(experiment.training.monitor, list(experiment.training.metrics or []))
    assert better > worse if higher else better < worse


def _two(second: list[float]) -> Any:
    """Returns the probabilities of both classes."""
    return np.stack([1 - np.array(second), np.array(second)], axis=1)


EXAMPLES = {
    "classification": (np.array([0, 1, 2, 0]), np.eye(3)[[0, 1, 2, 0]] * 0.8, (1 - np.eye(3)[[0, 1, 2, 0]]) * [0.5, 0.6, 0.4]),
    "binary": (np.array([0, 1, 1, 0]), _two([0.1, 0.8, 0.9, 0.2]), _two([0.9, 0.3, 0.4, 0.8])),
    "multilabel": (np.array([[0, 1], [1, 0]]), np.array([[0.1, 0.9], [0.8, 0.3]]), np.array([[0.9, 0.1], [0.2, 0.7]])),
    "regression": (np.array([[1.0], [2.0], [4.0]]), np.array([[1.1], [2.1], [3.9]]), np.array([[4.0], [1.0], [1.0]])),
    "forecast": (
        np.array([[1.0] * 3, [2.0] * 3, [4.0] * 3]),
        np.array([[1.1, 0.9, 1.3], [2.1, 1.9, 2.3], [3.9, 3.7, 4.1]]),
        np.array([[4.0, 3.8, 4.2], [1.0, 0.8, 1.2], [1.0, 0.8, 1.2]]),
    ),
}


def _metric_training(metric: Any, task: str) -> str:
    metrics = f"metrics: [{to_flow(dump(metric))}], monitor: val_{metric.name}"
    return f"epochs: 3, loss: {_loss(task)}, {metrics}, optimizer: {{kind: adam, learning_rate: 0.01}}"


@pytest.mark.parametrize(
    ("task", "name"), [("classification", "accuracy"), ("binary", "auc"), ("regression", "r2"), ("multilabel", "hamming")]
)
def test_the_best_epoch_of_the_monitor_is_recorded(folder: Path, task: str, name: str) -> None:
    """Metrics that Keras computes or that are scored after the epoch; higher or lower is better."""
    metric = next(metric for metric in _metrics(task) if metric.name == name)
    spec = write_spec(folder, ROWS[task], task=task, training=_metric_training(metric, task), name="monitored")
    run = trained(spec)
    values = column(run, f"val_{name}")
    best = min(values) if name == "hamming" else max(values)
    assert run.status().best_epoch == values.index(best) + 1
    assert run.status().best_value == pytest.approx(best)


def test_a_regression_learns_a_plane(folder: Path) -> None:
    training = "epochs: 4, optimizer: {kind: adam, learning_rate: 0.05}"
    run = trained(write_spec(folder, PLANE, task="regression", training=training))
    assert losses(run)[-1] < 0.2 * losses(run)[0]
