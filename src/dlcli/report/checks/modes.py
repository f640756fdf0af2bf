"""Predictions for the same training examples in training mode and in inference mode."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.splits import Splits
from dlcli.report.checks.sampling import sample
from dlcli.runs.checks import Modes
from dlcli.runtime.engine import keras
from dlcli.spec.data.sources import Examples
from dlcli.spec.experiment import Experiment
from dlcli.tasks import Task

MOST = 512
"""Training examples that are predicted in both modes."""


def modes(model: Any, experiment: Experiment, splits: Splits) -> Modes | None:
    """Returns the scores of a model with batch normalisation in both modes; None for a model without.

    Dropout and noise are off in both modes, since they make training harder on purpose. The batches have the training's size
    and are shuffled. The model's moving statistics change, so it must not be used afterwards.
    """
    layers = [layer for layer in _layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    if not layers:
        return None
    for layer in _layers(model):
        for name in ("rate", "stddev"):
            if hasattr(layer, name) and isinstance(layer, (keras.layers.Dropout, keras.layers.GaussianNoise)):
                setattr(layer, name, 0.0)
    examples = _mixed(sample(splits.train, MOST))
    size = experiment.data.examples_in_step(len(examples))
    inference, training = (
        splits.task.output.scores(_answers(model, examples, max(size, 2), training=mode)) for mode in (False, True)
    )
    return _compared(examples.targets, inference, training, splits.task, len(layers))


def _compared(truth: Array, inference: Array, training: Array, task: Task, layers: int) -> Modes:
    worse = errors_of_scores(truth, inference, task) - errors_of_scores(truth, training, task)
    values = [_score(truth, scores, task) for scores in (training, inference)]
    return Modes(
        layers=layers,
        examples=len(truth),
        score=task.output.score_name,
        training=values[0],
        inference=values[1],
        worse=int((worse > 0).sum()),
        better=int((worse < 0).sum()),
    )


def _score(truth: Array, scores: Array, task: Task) -> float | None:
    errors = errors_of_scores(truth, scores, task)
    value = 1 - float(errors.mean())
    return value if np.isfinite(value) else None


def errors_of_scores(truth: Array, scores: Array, task: Task) -> Array:
    """Returns the error of each example; see `OutputType.errors`."""
    return task.output.errors(truth, task.output.decide(scores))


def _layers(model: Any) -> list[Any]:
    """Returns every layer, also those of nested models."""
    return [
        inner
        for layer in model.layers
        for inner in (_layers(layer) if isinstance(layer, keras.Model) else [getattr(layer, "layer", layer)])
    ]


def _mixed(examples: Examples) -> Examples:
    return examples.take(np.random.default_rng(0).permutation(len(examples)))


def _answers(model: Any, examples: Examples, size: int, *, training: bool) -> Array:
    """Returns the model's output for whole batches; a single last example joins the
    batch before it, since one example has no variance."""
    starts = list(range(0, len(examples), size))
    if len(examples) - starts[-1] == 1 and len(starts) > 1:
        starts.pop()
    ends = [*starts[1:], len(examples)]
    outputs = [
        np.asarray(model(examples.inputs.read(np.arange(start, end)), training=training))
        for start, end in zip(starts, ends, strict=True)
    ]
    return np.concatenate(outputs)
