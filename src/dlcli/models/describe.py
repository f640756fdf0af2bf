"""Describes a spec or a run: a table of layers with shapes, sizes and parameters; the memory; the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from dlcli.data.balance import epoch_examples
from dlcli.data.batches import prediction_batch
from dlcli.data.open_run import open_run
from dlcli.data.resolve import fitting_text, prepared, usual_normalize
from dlcli.data.splits import Splits, open_splits
from dlcli.errors import DataError, UsageError
from dlcli.models.blocks import words_of
from dlcli.models.network import Network, build_model, shape_model
from dlcli.models.selection import plan_stage
from dlcli.runs import RunFolder
from dlcli.runtime.device import use_device
from dlcli.runtime.keras_file import load_keras_file
from dlcli.runtime.layers import single_operations
from dlcli.runtime.multiply_adds import model_multiply_adds
from dlcli.spec.base import dump
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.backbones.base import TARGET_UNITS
from dlcli.spec.rules.inputs import input_shape
from dlcli.spec.training.stages import Stage
from dlcli.upstream.keras import import_keras

_BYTES = {"float32": 4, "mixed_float16": 2, "mixed_bfloat16": 2}


@dataclass(frozen=True)
class LayerRow:
    """One layer or operation: its output's shape without the batch, the number of its values, and its parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    size: int
    parameters: int
    is_layer: bool = True


@dataclass(frozen=True)
class StageRow:
    """One stage: what it trains, its epochs and learning rate, and its trainable and frozen parameters."""

    name: str
    learns: str
    epochs: int
    optimizer: str
    learning_rate: Any
    trainable: int
    frozen: int


@dataclass(frozen=True)
class Description:
    """What `describe` shows. Memory in bytes: of the weights, and of all activations of one training batch.

    The multiply-adds are those of one example; None where they are not known.
    """

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
    stages: list[StageRow]
    multiply_adds: int | None = None


def describe_spec(experiment: Experiment) -> Description:
    """Describes an experiment; where the data is not available, from the documented shapes of its source.

    Raises:
        UsageError: the data is not available and its shape is unknown.
    """
    use_device(experiment.hardware, experiment.seed)
    experiment = prepared(experiment, offline=True)
    try:
        plans: list[str] = []
        splits = open_splits(experiment, offline=True, log=plans.append)
    except DataError as error:
        return _from_facts(experiment, error)
    data_settings = experiment.data
    normalize = data_settings.normalize
    if normalize == "auto":
        normalize = usual_normalize(splits)
    update = {"normalize": normalize, "text": fitting_text(experiment, splits)}
    resolved = experiment.model_copy(update={"data": data_settings.model_copy(update=update)})
    batch = data_settings.examples_in_step(epoch_examples(experiment, splits))
    network = build_model(resolved, splits, load_weights=False, offline=True)
    return _described(
        resolved, network.described, _with_plan(splits, plans), batch, list(splits.notes), _stage_rows(resolved, network)
    )


def _with_plan(splits: Splits, plans: Sequence[str]) -> dict[str, Any]:
    """Returns the facts on the data, with the plan for its memory as the first of the lines."""
    facts = splits.describe()
    return facts | {"lines": [*plans, *facts["lines"]]}


def _from_facts(experiment: Experiment, error: DataError) -> Description:
    facts = experiment.data.facts(experiment.task)
    shape = input_shape(experiment, facts)
    outputs = experiment.task.units(facts.outputs or 0) or None
    if shape is None or outputs is None:
        raise UsageError(f"the data is not available, and its shape is unknown without it: {error}") from None
    network = shape_model(experiment, shape, outputs)
    data = {"classes": list(facts.classes), "shape": list(shape), "examples": {}, "counts": {}}
    note = f"the data is not available; the shapes are those of the source ({str(error).splitlines()[0]})"
    size = experiment.data.examples_in_step(prediction_batch(experiment))
    return _described(experiment, network.described, data, size, [note], _stage_rows(experiment, network))


def describe_run(run: RunFolder) -> Description:
    """Describes a run's saved model and recorded data.

    Raises:
        UsageError: the run has no model yet.
    """
    with open_run(run) as opened:  # the model is loaded also where the classes are not recorded, whatever its output is
        experiment, model = opened.experiment, load_keras_file(run.model_path)
    data = run.data()
    batch = experiment.data.examples_in_step(data.get("examples", {}).get("train", 0))
    return _described(experiment, model, data, batch, data.get("notes", []), _finished_stages(run, experiment))


def _stage_rows(experiment: Experiment, network: Network) -> list[StageRow]:
    """Returns the stages that the spec names, or those of a transfer model; empty for any other spec."""
    if experiment.model.fitted_once or not (experiment.training.stages or experiment.model.has_backbone):
        return []
    plans = [plan_stage(network, stage) for stage in experiment.stages]
    return [_stage_row(plan.stage, plan.trainable, plan.frozen) for plan in plans]


def _stage_row(stage: Stage, trainable: int, frozen: int) -> StageRow:
    optimizer = stage.optimizer
    assert optimizer is not None
    rate = dump(optimizer.learning_rate)
    return StageRow(stage.name, words_of(stage.train), stage.epochs or 0, optimizer.kind, rate, trainable, frozen)


def _finished_stages(run: RunFolder, experiment: Experiment) -> list[StageRow]:
    """Returns the stages that a run has finished."""
    by_name = {stage.name: stage for stage in experiment.stages}
    entries = [entry for entry in run.stages() if entry["name"] in by_name and "trainable" in entry]
    return [_stage_row(by_name[entry["name"]], entry["trainable"], entry["frozen"]) for entry in entries]


def _described(
    experiment: Experiment, model: Any, data: dict[str, Any], batch: int, notes: list[str], stages: list[StageRow]
) -> Description:
    rows = [_row(operation) for operation in _operations(model)]
    trainable = sum(prod(weight.shape) for weight in model.trainable_weights)
    frozen = sum(prod(weight.shape) for layer in _operations(model) for weight in getattr(layer, "non_trainable_weights", []))
    activations = sum(row.size for row in rows) * batch * _BYTES.get(str(experiment.hardware.precision), 4)
    normalize = experiment.data.normalize
    if normalize == "auto":
        normalize = "unit" if len(rows[0].shape) == 3 else "standard"
    return Description(
        experiment.name,
        rows,
        trainable,
        frozen,
        weights_bytes=4 * (trainable + frozen),
        activations_bytes=activations,
        batch_size=batch,
        normalize=normalize,
        data=data,
        notes=notes,
        stages=stages,
        multiply_adds=model_multiply_adds(model),
    )


def _operations(model: Any) -> list[Any]:
    """Returns every layer and operation of a model in order, nested models included, without its scaling layers."""
    return [operation for operation in single_operations(model) if operation.name not in ("normalize", TARGET_UNITS)]


def _row(operation: Any) -> LayerRow:
    output = operation.output
    shape = tuple((output[0] if isinstance(output, (list, tuple)) else output).shape[1:])
    parameters = sum(prod(weight.shape) for weight in getattr(operation, "weights", []))
    is_layer = isinstance(operation, import_keras().layers.Layer)
    return LayerRow(operation.name, type(operation).__name__, shape, prod(shape), parameters, is_layer)
