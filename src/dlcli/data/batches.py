"""The batches that a model predicts on."""

from __future__ import annotations

from typing import Any

from dlcli.runtime.stream import ordered_batches
from dlcli.spec.experiment import Experiment


def prediction_batch(experiment: Experiment) -> int:
    """Returns the batch size for predictions: the training's, but at least 32 and at most 1,024.

    The size depends on the spec only, since sums over other batches may round differently in the last bit.
    """
    return min(max(experiment.data.examples_in_step(1024), 32), 1024)


def prediction_batches(inputs: Any, experiment: Experiment, examples: int) -> Any:
    """Returns the dataset of all inputs, in order, that `predictions` reads."""
    return ordered_batches(inputs, examples=examples, batch_size=prediction_batch(experiment))
