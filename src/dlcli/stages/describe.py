"""Spec or run -> the course's table: layer, activation shape, activation size, parameters; memory; the data."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from dlcli.errors import DataError, UsageError
from dlcli.runs import Run
from dlcli.runtime.device import any_device, use_device
from dlcli.runtime.engine import keras
from dlcli.runtime.loading import load_model
from dlcli.spec.experiment import Experiment
from dlcli.spec.rules import input_shape
from dlcli.stages.build import build_model, shape_model
from dlcli.stages.data import open_splits
from dlcli.stages.evaluate import prediction_batch

_BYTES = {"float32": 4, "mixed_float16": 2, "mixed_bfloat16": 2}


@dataclass(frozen=True)
class LayerRow:
    """One layer: its output's shape without the batch, the number of its values, and its parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    size: int
    parameters: int


@dataclass(frozen=True)
class Description:
    """What `describe` shows. Memory in bytes: of the weights, and of all activations of one training batch."""

    name: str
    rows: list[LayerRow]
    trainable: int
    frozen: int
    weights_bytes: int
    activations_bytes: int
    batch_size: int
    normalize: str
    data: dict[str, Any]
    notes: list[str]


def describe_spec(experiment: Experiment) -> Description:
    """Describes an experiment; from what is known of its source where the data is not at hand.

    Raises:
        UsageError: the data is not at hand and its shape is not known.
    """
    use_device(experiment.hardware, experiment.seed)
    try:
        splits = open_splits(experiment, offline=True)
    except DataError as error:
        return _from_facts(experiment, error)
    data = splits.describe()
    data_settings = experiment.data
    normalize = data_settings.normalize
    if normalize == "auto":
        normalize = "unit" if splits.is_image else "standard"
    resolved = experiment.model_copy(update={"data": data_settings.model_copy(update={"normalize": normalize})})
    batch = len(splits.train) if data_settings.batch_size == "full" else int(data_settings.batch_size)
    return _described(resolved, build_model(resolved, splits).trained, data, batch, [])


def _from_facts(experiment: Experiment, error: DataError) -> Description:
    facts = experiment.data.facts(experiment.task)
    shape = input_shape(experiment, facts)
    outputs = 1 if experiment.task == "binary" else facts.outputs
    if shape is None or outputs is None:
        raise UsageError(f"the data is not at hand, and its shape is not known without it: {error}") from None
    model = shape_model(experiment, shape, outputs)
    data = {"classes": list(facts.classes), "shape": list(shape), "examples": {}, "counts": {}}
    batch = experiment.data.batch_size
    note = f"the data is not at hand; shapes are those known of the source ({str(error).splitlines()[0]})"
    return _described(experiment, model, data, prediction_batch(experiment) if batch == "full" else int(batch), [note])


def describe_run(run: Run) -> Description:
    """Describes a run's saved model and recorded data.

    Raises:
        UsageError: the run has no model yet.
    """
    if not run.model_path.exists():
        raise UsageError(f"{run.id} has no model: it has not finished an epoch")
    experiment = run.experiment()
    use_device(any_device(experiment.hardware), experiment.seed)
    model = load_model(run.model_path)
    data, size = run.data(), experiment.data.batch_size
    return _described(
        experiment, model, data, data["examples"]["train"] if size == "full" else int(size), data.get("notes", [])
    )


def _described(experiment: Experiment, model: Any, data: dict[str, Any], batch: int, notes: list[str]) -> Description:
    rows = [_row(operation) for operation in _operations(model)]
    trainable = sum(prod(weight.shape) for weight in model.trainable_weights)
    frozen = sum(prod(weight.shape) for layer in _operations(model) for weight in getattr(layer, "non_trainable_weights", []))
    activations = sum(row.size for row in rows) * batch * _BYTES.get(str(experiment.hardware.precision), 4)
    normalize = experiment.data.normalize
    if normalize == "auto":
        normalize = "unit" if len(rows[0].shape) == 3 else "standard"
    return Description(
        experiment.name, rows, trainable, frozen, 4 * (trainable + frozen), activations, batch, normalize, data, notes
    )


def _operations(model: Any) -> list[Any]:
    """Returns every layer and operation of a model in order, models inside it opened, its scaling left out."""
    found: list[Any] = []
    for operation in model.operations:
        if isinstance(operation, keras.Model):
            found += [inner for inner in _operations(operation) if not isinstance(inner, keras.layers.InputLayer)]
        elif operation.name != "normalize":
            found.append(operation)
    return found


def _row(operation: Any) -> LayerRow:
    output = operation.output
    shape = tuple((output[0] if isinstance(output, (list, tuple)) else output).shape[1:])
    parameters = sum(prod(weight.shape) for weight in getattr(operation, "weights", []))
    return LayerRow(operation.name, type(operation).__name__, shape, prod(shape), parameters)
