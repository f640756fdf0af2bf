"""Losses and metrics: right numbers for every task they fit, and training values equal to the reported scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlcli.spec.base import OneOf
from dlcli.spec.training.metrics import higher_is_better
from dlcli.tasks import TASKS
from spec.members import UNIONS, kinds, sample

CLASSES = 4
EXAMPLES = 60


def _data(task: str) -> tuple[Any, Any]:
    """Returns targets and plausible float32 outputs of a model for a task, in the forms that runs have them."""

    random = np.random.default_rng(7)
    if task == "classification":
        targets = random.integers(0, CLASSES, EXAMPLES)
        logits = random.normal(size=(EXAMPLES, CLASSES)) + 1.5 * np.eye(CLASSES)[targets]
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    elif task in ("regression", "forecast"):
        targets = random.uniform(1, 5, (EXAMPLES, 3)).astype("float32")
        scores = targets + random.normal(size=targets.shape) * [0.1, 1.0, 0.5]
    else:
        targets = random.integers(0, 2, (EXAMPLES, 3) if task == "multilabel" else EXAMPLES)
        scores = 1 / (1 + np.exp(-(random.normal(size=targets.shape) + 2 * targets - 1)))
    if task == "binary":
        scores = np.stack([1 - scores, scores], axis=1)
    return targets, scores.astype("float32")


def _for_keras(task: str, targets: Any, scores: Any, *, integer_labels: bool) -> tuple[Any, Any]:

    if task == "classification" and not integer_labels:
        targets = np.eye(CLASSES)[targets]
    if task == "binary":
        targets, scores = targets[:, None], scores[:, 1:]
    return targets.astype("int64" if integer_labels else "float32"), scores


NOT_IN_SCIKIT_LEARN = ("mase", "smape", "coverage")
FITTING_LOSSES = [(kind, task) for _, kind in kinds("Loss") for task in TASKS if sample("Loss", kind).fits(TASKS[task])]


@pytest.mark.parametrize(("kind", "task"), FITTING_LOSSES)
def test_every_loss_is_smaller_for_right_answers(kind: str, task: str) -> None:

    loss = sample("Loss", kind)
    targets, scores = _for_keras(task, *_data(task), integer_labels=loss.integer_labels)
    right = np.eye(CLASSES)[targets] if loss.integer_labels else targets
    mean = [float(np.mean(loss.build()(targets, one))) for one in (right.astype("float32"), scores, 1 - scores)]
    assert np.isfinite(mean).all()
    assert mean[0] < mean[1] < mean[2]


def test_every_task_has_a_fitting_default_loss_and_metrics() -> None:
    for task in TASKS.values():
        assert sample("Loss", task.loss).fits(task)
        assert all(sample("Metric", metric).fits(task) for metric in task.metrics)


@pytest.mark.parametrize(("kind", "power"), [("hinge", 1), ("squared_hinge", 2)])
def test_hinge_reads_labels_and_probabilities_as_minus_one_to_one(kind: str, power: int) -> None:

    labels, probabilities = np.array([[0.0], [1.0], [1.0]]), np.array([[0.25], [0.9], [0.5]])
    signs, margins = 2 * labels - 1, 2 * probabilities - 1
    expected = np.maximum(1 - signs * margins, 0) ** power
    each = np.asarray(sample("Loss", kind).build()(labels.astype("float32"), probabilities.astype("float32")))
    np.testing.assert_allclose(each, expected[:, 0], rtol=1e-6)


def test_a_weighted_example_counts_by_its_weight_under_hinge() -> None:
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, activation="sigmoid", kernel_initializer="ones")])
    model.compile(loss=sample("Loss", "hinge").build())
    x, y = np.array([[3.0], [-3.0]]), np.array([[0.0], [0.0]])
    values = [model.test_on_batch(x, y, sample_weight=np.array(weights)) for weights in ((2.0, 0.0), (0.0, 2.0), (1.0, 1.0))]
    wrong, right = (1 + 2 / (1 + np.exp(-z)) - 1 for z in (3.0, -3.0))
    np.testing.assert_allclose(np.ravel(values), [wrong, right, (wrong + right) / 2], rtol=1e-5)


def _metrics() -> list[tuple[str, str, str]]:
    variants = {
        "top_k": ("k: 2", "k: 3"),
        "precision": ("", "average: micro", "average: weighted"),
        "recall": ("", "average: micro", "average: weighted"),
        "f1": ("", "average: micro", "average: weighted"),
        "auc": ("", "curve: pr"),
    }
    return [
        (kind, fields, task)
        for _, kind in kinds("Metric")
        for fields in variants.get(kind, ("",))
        for task in TASKS
        if sample("Metric", kind, fields).fits(TASKS[task])
    ]


def _by_scikit_learn(kind: str, fields: str, task: str, truth: Any, scores: Any) -> float:
    from sklearn import metrics

    average = "binary" if task == "binary" else fields.removeprefix("average: ") or "macro"
    predicted = TASKS[task].output.decide(scores)
    scores = scores[:, 1] if task == "binary" else scores
    one_hot = np.eye(CLASSES)[truth] if task == "classification" else truth
    direct = {
        "accuracy": lambda: metrics.accuracy_score(truth.ravel(), predicted.ravel()),
        "top_k": lambda: metrics.top_k_accuracy_score(truth, scores, k=int(fields[-1])),
        "precision": lambda: metrics.precision_score(truth, predicted, average=average, zero_division=0),
        "recall": lambda: metrics.recall_score(truth, predicted, average=average, zero_division=0),
        "f1": lambda: metrics.f1_score(truth, predicted, average=average, zero_division=0),
        "auc": lambda: (metrics.average_precision_score if fields else metrics.roc_auc_score)(one_hot, scores),
        "balanced_accuracy": lambda: metrics.balanced_accuracy_score(truth, predicted),
        "macro_f1": lambda: metrics.f1_score(truth, predicted, average="macro", zero_division=0),
        "mcc": lambda: metrics.matthews_corrcoef(truth, predicted),
        "kappa": lambda: metrics.cohen_kappa_score(truth, predicted),
        "hamming": lambda: metrics.hamming_loss(truth, predicted),
        "mae": lambda: metrics.mean_absolute_error(truth, scores),
        "mse": lambda: metrics.mean_squared_error(truth, scores),
        "rmse": lambda: metrics.mean_squared_error(truth, scores) ** 0.5,
        "mape": lambda: 100 * metrics.mean_absolute_percentage_error(truth, scores),
        "r2": lambda: metrics.r2_score(truth, scores),
    }
    return float(direct[kind]())


@pytest.mark.parametrize(("kind", "fields", "task"), [row for row in _metrics() if row[0] not in NOT_IN_SCIKIT_LEARN])
def test_scores_are_scikit_learns_and_keras_follows_the_same_number(kind: str, fields: str, task: str) -> None:
    metric = sample("Metric", kind, fields)
    truth, scores = _data(task)
    score = metric.score(truth, scores, TASKS[task])
    assert score == pytest.approx(_by_scikit_learn(kind, fields, task, truth, scores), rel=1e-6)
    for integer_labels in {False, task == "classification" and not metric.one_hot(TASKS[task])}:
        followed = metric.follow(TASKS[task], integer_labels=integer_labels)
        if followed is not None:
            targets, outputs = _for_keras(task, truth, scores, integer_labels=integer_labels)
            for start in range(0, EXAMPLES, 16):
                followed.update_state(targets[start : start + 16], outputs[start : start + 16])
            assert followed.name == metric.name
            assert float(followed.result()) == pytest.approx(score, rel=1e-5)


def test_followed_metrics_are_those_that_check_lets_be_monitored_without_a_validation_part() -> None:
    for kind, fields, task in _metrics():
        metric = sample("Metric", kind, fields)
        assert metric.is_followed(TASKS[task]) == (metric.follow(TASKS[task], integer_labels=False) is not None), (kind, task)


def test_a_score_of_exactly_one_half_is_no_yes_as_in_keras() -> None:

    scores = np.array([[0.5], [0.500001], [0.4]], "float32")
    assert TASKS["multilabel"].output.decide(scores)[:, 0].tolist() == [0, 1, 0]
    assert TASKS["binary"].output.decide(TASKS["binary"].output.scores(scores)).tolist() == [0, 1, 0]


def test_scores_survive_classes_that_are_never_predicted_or_never_there() -> None:

    truth, scores = np.array([0, 0, 1]), np.array([[0.9, 0.1, 0.0]] * 3)
    for kind in ("precision", "recall", "f1", "balanced_accuracy", "mcc", "kappa", "auc"):
        assert np.isfinite(sample("Metric", kind).score(truth, scores, TASKS["classification"])), kind
    assert np.isnan(sample("Metric", "auc").score(np.array([1, 1]), np.array([[0.8, 0.2], [0.3, 0.7]]), TASKS["binary"]))


@pytest.mark.parametrize(
    ("monitor", "higher"), [("val_loss", False), ("val_accuracy", True), ("rmse", False), ("val_r2", True)]
)
def test_which_way_a_monitor_improves(monitor: str, higher: bool) -> None:
    metrics = [UNIONS["Metric"].validate(name) for name in ("accuracy", "rmse", "r2")]
    assert higher_is_better(monitor, metrics) is higher


def test_smoothed_class_numbers_lose_as_much_as_smoothed_one_hot_labels() -> None:
    labels = np.array([0, 2, 1, 2])
    scores = np.random.default_rng(0).dirichlet(np.ones(3), 4).astype("float32")
    sparse = OneOf.registry["Loss"].validate({"kind": "sparse_categorical_crossentropy", "label_smoothing": 0.2}).build()
    dense = OneOf.registry["Loss"].validate({"kind": "categorical_crossentropy", "label_smoothing": 0.2}).build()
    np.testing.assert_allclose(np.mean(sparse(labels, scores)), dense(np.eye(3, dtype="float32")[labels], scores), rtol=1e-6)
