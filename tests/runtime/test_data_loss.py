"""The data loss of a split is that of all its examples at once, however they are divided into batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from spec.members import UNIONS

from dlcli.runtime.data_loss import data_loss
from dlcli.runtime.engine import keras
from dlcli.tasks import TASKS

Array = np.ndarray[Any, Any]
KINDS: dict[str, Any] = UNIONS["Loss"].kinds
FITTING = [(kind, task) for kind in KINDS for task in TASKS if KINDS[kind].model_construct(kind=kind).fits(TASKS[task])]


def _loss(kind: str, **settings: Any) -> Any:
    return KINDS[kind].model_validate({"kind": kind, **settings})


def _labels_and_outputs(loss: Any, task: str, examples: int = 11) -> tuple[Array, Array]:
    random = np.random.default_rng(3)
    if task == "classification":
        classes = random.integers(0, 3, examples)
        labels = classes if loss.integer_labels else np.eye(3, dtype="float32")[classes]
        return labels, random.dirichlet(np.ones(3), examples).astype("float32")
    columns = {"binary": 1, "forecast": 3}.get(task, 2)  # a forecast has a column for each quantile
    outputs = random.uniform(0.05, 0.95, (examples, columns)).astype("float32")
    if task in ("regression", "forecast"):
        return random.uniform(0.5, 4, (examples, columns)).astype("float32"), outputs
    return random.integers(0, 2, (examples, columns)).astype("float32"), outputs


def _followed(loss: Any, labels: Array, outputs: Array, cuts: tuple[int, ...] = (7, 10)) -> float:
    metric = data_loss(loss)
    for batch in zip(np.split(labels, cuts), np.split(outputs, cuts), strict=True):
        metric.update_state(*batch)
    return float(metric.result())


def _of_keras(loss: Any, labels: Array, outputs: Array) -> float:
    """Returns the loss that Keras minimises on all examples in one batch."""
    model = keras.Sequential([keras.Input(outputs.shape[1:]), keras.layers.Identity()])
    model.compile(loss=loss.build())
    return float(model.evaluate(outputs, labels, batch_size=len(labels), verbose=0))


@pytest.mark.parametrize(("kind", "task"), FITTING)
def test_the_data_loss_over_unequal_batches_equals_kerass_loss_of_the_whole_split(kind: str, task: str) -> None:
    loss = _loss(kind)
    labels, outputs = _labels_and_outputs(loss, task)
    assert _followed(loss, labels, outputs) == pytest.approx(_of_keras(loss, labels, outputs), rel=2e-6)


def test_ignored_examples_do_not_count_in_the_mean() -> None:
    loss = _loss("sparse_categorical_crossentropy", ignore_class=2)
    labels, outputs = _labels_and_outputs(loss, "classification")
    counted = labels != 2
    assert 0 < counted.sum() < len(labels)
    right = float(-np.log(outputs[counted, labels[counted]].astype("float64")).mean())
    assert _followed(loss, labels, outputs) == pytest.approx(right, rel=2e-6)
    assert _of_keras(loss, labels, outputs) == pytest.approx(right, rel=2e-6)
    only_ignored = ~counted
    assert np.isnan(_followed(loss, labels[only_ignored], outputs[only_ignored], cuts=(1,)))
