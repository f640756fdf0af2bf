"""Initial weights from an earlier run's model of the same architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlcli.arrays import Array
from dlcli.data.splits import Splits
from dlcli.errors import RunFailed
from dlcli.models.network import Network
from dlcli.models.targets import TargetScale, recorded_scale, target_scale
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runtime.engine import keras
from dlcli.runtime.layers import single_layers
from dlcli.runtime.loading import load_model
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.backbones.base import TARGET_UNITS
from dlcli.spec.support import refuse_unsupported


def start_from_run(experiment: Experiment, network: Network, splits: Splits, log: Callable[[str], None]) -> bool:
    """Copies a run's weights into the model; those of the output layer only if the classes are the same.

    Returns whether all weights were copied.

    Raises:
        RunFailed: the architectures differ; the message names the first variable or layer that differs.
        UsageError: the run's model is not one to start from.
    """
    path = str(experiment.training.initial_weights)
    run = RunFolder(Path(path))
    if not run.model_path.exists():
        raise RunFailed(f"training.initial_weights: {path} has no model")
    recorded = run.experiment()
    refuse_unsupported(recorded, "finetune", f"training.initial_weights: a training from {run.id}")
    source, target = _inner(load_model(run.model_path)), network.functional
    pairs = list(zip(source.weights, target.weights, strict=False))
    output = len(_output(target).weights)
    body = len(target.weights) - output
    for position, (source_weight, weight) in enumerate(pairs[:body]):
        if source_weight.shape != weight.shape:
            raise RunFailed(
                _differs(
                    run,
                    f"{source_weight.path} is {tuple(source_weight.shape)}",
                    f"{weight.path} {tuple(weight.shape)}",
                    position,
                )
            )
    if len(source.weights) != len(target.weights):
        raise RunFailed(_differs(run, f"it has {len(source.weights)} variables", str(len(target.weights)), len(pairs)))
    _refuse_other_layers(run, source, target)
    source_normalize = recorded.data.normalize
    if source_normalize != experiment.data.normalize:
        scaled = f"it was trained on inputs scaled by `normalize: {source_normalize}`, here it is `{experiment.data.normalize}`"
        raise RunFailed(f"training.initial_weights: {run.id}: {scaled}")
    same = run.data().get("classes") == list(splits.classes) and all(
        source_weight.shape == weight.shape for source_weight, weight in pairs[body:]
    )
    for source_weight, weight in pairs[:body]:
        weight.assign(source_weight)
    if same:
        _take_output(
            [source_weight.numpy() for source_weight, _ in pairs[body:]], _output(target), run, target_scale(experiment, splits)
        )
    log(f"initial weights: {run.id}" + ("" if same else "; the classes differ, so the output layer is initialised again"))
    return same


def _take_output(weights: list[Array], output: Any, run: RunFolder, ours: TargetScale | None) -> None:
    """Copies another run's weights into an output layer, rescaled so that its predictions in the targets' units stay equal."""
    theirs = recorded_scale(run.experiment(), run.data())
    if theirs is not None or ours is not None:
        (offset, factor), (our_offset, our_factor) = _offset_and_factor(theirs), _offset_and_factor(ours)
        kernel, bias = weights
        weights = [kernel * (factor / our_factor), (bias * factor + (offset - our_offset)) / our_factor]
    for variable, value in zip(output.weights, weights, strict=True):
        variable.assign(value)


def _offset_and_factor(scale: TargetScale | None) -> tuple[Any, Any]:
    return (0.0, 1.0) if scale is None else (scale.mean, scale.deviation)


def _refuse_other_layers(run: RunFolder, source: Any, target: Any) -> None:
    """Raises RunFailed where a layer differs in kind or activation: its weights would fit but have no meaning."""
    pairs = zip(_kinds(source), _kinds(target), strict=False)
    for position, (theirs, ours) in enumerate(pairs):
        if theirs != ours:
            raise RunFailed(_differs(run, f"layer {position + 1} is {theirs}", ours, position))


def _kinds(model: Any) -> list[str]:
    """Returns class and activation of every layer except scaling layers."""
    layers = [layer for layer in single_layers(model) if layer.name not in ("normalize", TARGET_UNITS)]
    named = [(type(layer).__name__, getattr(getattr(layer, "activation", None), "__name__", "")) for layer in layers]
    return [f"{kind} ({activation})" if activation else kind for kind, activation in named]


def _differs(run: RunFolder, theirs: str, ours: str, position: int) -> str:
    return (
        f"training.initial_weights: the model of {run.id} differs: {theirs}, here {ours} (variable {position});"
        f" `{command()} describe` shows both"
    )


def _inner(model: Any) -> Any:
    """Returns the submodel of a saved model that a run trains: for named columns the nested model, else the model itself."""
    if not isinstance(model.input, dict) and not (isinstance(model.input, list) and len(model.input) > 1):
        return model
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def _output(model: Any) -> Any:
    """Returns the output layer, before any rescaling of targets, also of a transfer model's nested head."""
    layer = next(layer for layer in reversed(model.layers) if layer.name != TARGET_UNITS)
    return _output(layer) if isinstance(layer, keras.Model) else layer
