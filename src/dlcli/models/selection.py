"""Selects the layers and blocks that a stage trains and sets the `trainable` flag of every layer."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from math import prod
from typing import Any

from dlcli.errors import RunFailed
from dlcli.models.blocks import BlockRow, words_of
from dlcli.models.network import Blocks, Network
from dlcli.runtime.backbone_layer import BackboneLayer
from dlcli.runtime.engine import keras
from dlcli.spec.training.stages import Stage


@dataclass(frozen=True)
class Plan:
    """The variables that one stage changes: those in `moving` must change, those in `still` must not."""

    stage: Stage
    rows: list[BlockRow]
    moving: list[Any]
    still: list[Any]

    @property
    def trainable(self) -> int:
        """The number of trainable parameters."""
        return sum(row.trainable for row in self.rows)

    @property
    def frozen(self) -> int:
        """The number of frozen parameters."""
        return sum(row.frozen for row in self.rows)


def plan_stage(network: Network, stage: Stage) -> Plan:
    """Sets `trainable` on every layer for a stage and returns the variables that the stage changes.

    BatchNorm layers are frozen one by one: `backbone(x, training=False)` alone does not keep their statistics still
    (Keras 3.15 lets them drift once the backbone is unfrozen; docs/design.md, "Stages").

    Raises:
        RunFailed: the stage names a layer that does not exist, or more layers or blocks than exist.
    """
    body, head = network.blocks()
    why_frozen = network.backbone.why_frozen if isinstance(network.backbone, BackboneLayer) else ""
    if why_frozen and stage.trains_backbone:
        raise RunFailed(f"stage {stage.name}: the backbone cannot be trained: {why_frozen}")
    selected = _selected(body, stage) if stage.trains_backbone else set()
    for _, layers in body:
        for layer in layers:
            frozen_norm = is_batch_norm(layer) and stage.batch_norm == "freeze"
            layer.trainable = id(layer) in selected and not frozen_norm and id(layer) not in network.fixed
            if isinstance(layer, BackboneLayer):
                layer.inference_mode = stage.batch_norm == "freeze" or id(layer) not in selected
    for layer in head:
        layer.trainable = id(layer) not in network.fixed
    selects_layers = isinstance(stage.train, dict)  # `all` trains the head where the body has no weights, as in a perceptron
    if selects_layers and not any(moving_variables(layer) for _, layers in body for layer in layers):
        raise RunFailed(f"stage {stage.name}: {words_of(stage.train)}: none of these layers has trainable weights")
    blocks = [*body, ("head", head)] if head else body
    rows = [_row(name, layers) for name, layers in blocks]
    moving = [variable for _, layers in blocks for layer in layers for variable in moving_variables(layer)]
    accounted_ids = {id(variable) for _, layers in blocks for layer in layers for variable in free_variables(layer)}
    accounted_ids |= {id(variable) for variable in moving}
    all_variables = [variable for _, layers in blocks for layer in layers for variable in variables_of(layer)]
    still = [variable for variable in all_variables if id(variable) not in accounted_ids]
    return Plan(stage, [row for row in rows if row.trainable + row.frozen], moving, still)


def is_batch_norm(layer: Any) -> bool:
    """Whether a layer keeps statistics of its batches."""
    return isinstance(layer, keras.layers.BatchNormalization)


def variables_of(layer: Any) -> list[Any]:
    """Returns every variable of a layer, including those of a Hub module that the layer does not track."""
    return list(layer.weights) + (layer.untracked_variables() if isinstance(layer, BackboneLayer) else [])


def moving_variables(layer: Any) -> list[Any]:
    """Returns the variables of a layer that a training step must change by the layer's flags."""
    if not layer.trainable:
        return []
    moving = list(layer.trainable_weights)
    if is_batch_norm(layer):
        moving += list(layer.non_trainable_weights)
    if isinstance(layer, BackboneLayer):
        moving += layer.untracked_variables()
    return moving


def free_variables(layer: Any) -> list[Any]:
    """Returns the variables that a step may or may not change: a Hub module does not declare which ones are statistics."""
    learns = layer.trainable and isinstance(layer, BackboneLayer) and not layer.inference_mode
    return list(layer.non_trainable_weights) if learns else []


def _selected(body: Blocks, stage: Stage) -> set[int]:
    """Returns the ids of the body's layers that a stage selects."""
    layers = [layer for _, block in body for layer in block]
    if stage.train == "all":
        return set(map(id, layers))
    selector, selection = next(iter(stage.train.items()))
    if selector == "last":
        _refuse_too_many(stage, selection, len(layers), "layers")
        return set(map(id, layers[-selection:]))
    if selector == "blocks":
        _refuse_too_many(stage, selection, len(body), "blocks")
        return {id(layer) for _, block in body[-selection:] for layer in block}
    names = [layer.name for layer in layers]
    if selection not in names:
        suggestions = get_close_matches(selection, names, 3, cutoff=0.4)
        guess = f"did you mean {' or '.join(suggestions)}?" if suggestions else f"its layers are {', '.join(names[:10])}, ..."
        raise RunFailed(f"stage {stage.name}: the backbone has no layer {selection!r}; {guess}")
    return set(map(id, layers[names.index(selection) :]))


def _refuse_too_many(stage: Stage, selection: int, count: int, what: str) -> None:
    if selection > count:
        raise RunFailed(
            f"stage {stage.name}: {selection} {what} were requested, but the backbone has only {count}; use `train: all`"
        )


def _row(name: str, layers: list[Any]) -> BlockRow:
    trainable = sum(prod(weight.shape) for layer in layers if layer.trainable for weight in layer.trainable_weights)
    total = sum(prod(weight.shape) for layer in layers for weight in layer.weights)
    return BlockRow(name, trainable, total - trainable)
