"""The data loss of predictions: of each example, and its mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.engine import keras
from dlcli.spec.experiment import Experiment


def mean_loss(experiment: Experiment, outputs: int, truth: Array, scores: Array) -> float:
    """Returns the mean loss over the examples that count, without regularisation penalties; NaN where none counts."""
    return _mean(each_loss(experiment, outputs, truth, scores))


def _mean(losses: Array) -> float:
    return float(np.mean(losses)) if losses.size else float("nan")


def each_loss(experiment: Experiment, outputs: int, truth: Array, scores: Array) -> Array:
    """Returns the loss of every example that counts, float64 `(n,)`, without regularisation penalties.

    The Dice loss is one number for all of them, shape `()`.
    """
    losses, counted = losses_of(experiment, outputs, truth, scores)
    counted_losses: Array = losses[counted]
    return counted_losses


def losses_of(experiment: Experiment, outputs: int, truth: Array, scores: Array) -> tuple[Array, Any]:
    """Returns the loss of every example, and which examples count; the loss of the others is NaN."""
    loss, output = experiment.training.loss, experiment.task.output
    labels = output.labels(truth)
    if labels.dtype.kind == "i" and not loss.integer_labels:
        labels = keras.utils.to_categorical(truth, outputs)
    tensors = (keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(output.model_output(scores)))
    losses, counted = np.asarray(loss.each(*tensors), dtype="float64"), loss.counted(truth)
    if losses.ndim > 1:  # of an output that is not a row
        losses = losses.reshape(len(losses), -1).mean(axis=1)
    return (losses, ...) if counted is None else (np.where(counted, losses, np.nan), counted)
