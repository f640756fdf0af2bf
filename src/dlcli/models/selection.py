"""What a stage trains: the layers it selects, their blocks, and the flags set on every single layer."""

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
    """What one stage moves: `moving` are the variables that must change, all others must not."""

    stage: Stage
    rows: list[BlockRow]
    moving: list[Any]
    still: list[Any]

    @property
    def trainable(self) -> int:
        """The number of parameters that learn."""
        return sum(row.trainable for row in self.rows)

    @property
    def frozen(self) -> int:
        """The number of parameters that stay as they are."""
        return sum(row.frozen for row in self.rows)


def plan_stage(network: Network, stage: Stage) -> Plan:
    """Sets `trainable` on every layer for a stage and returns what it moves.

    BatchNorm layers are frozen one by one: `backbone(x, training=False)` alone does not keep their statistics still
    (Keras 3.15 lets them drift once the backbone is unfrozen; docs/design.md, "Stages").

    Raises:
        RunFailed: the stage names a layer that there is not, or more layers or blocks than there are.
    """
    body, head = network.blocks()
    why_frozen = network.backbone.why_frozen if isinstance(network.backbone, BackboneLayer) else ""
    if why_frozen and stage.trains_backbone:
        raise RunFailed(f"stage {stage.name}: the Hub module cannot be trained: {why_frozen}")
    selected = _selected(body, stage) if stage.trains_backbone else set()
    for _, layers in body:
        for layer in layers:
            frozen_norm = is_batch_norm(layer) and stage.batch_norm == "freeze"
            layer.trainable = id(layer) in selected and not frozen_norm
            if isinstance(layer, BackboneLayer):
                layer.inference_mode = stage.batch_norm == "freeze" or id(layer) not in selected
    for layer in head:
        layer.trainable = True
    named = isinstance(stage.train, dict)  # `all` has the head to train where the body learns nothing, as in a perceptron
    if named and not any(moving_variables(layer) for _, layers in body for layer in layers):
        raise RunFailed(f"stage {stage.name}: {words_of(stage.train)}: none of these layers has trainable weights")
    blocks = [*body, ("head", head)] if head else body
    rows = [_row(name, layers) for name, layers in blocks]
    moving = [variable for _, layers in blocks for layer in layers for variable in moving_variables(layer)]
    known = {id(variable) for _, layers in blocks for layer in layers for variable in free_variables(layer)}
    known |= {id(variable) for variable in moving}
    every = [variable for _, layers in blocks for layer in layers for variable in variables_of(layer)]
    still = [variable for variable in every if id(variable) not in known]
    return Plan(stage, [row for row in rows if row.trainable + row.frozen], moving, still)


def is_batch_norm(layer: Any) -> bool:
    """Whether a layer keeps statistics of its batches."""
    return isinstance(layer, keras.layers.BatchNormalization)


def variables_of(layer: Any) -> list[Any]:
    """Returns every variable of a layer, those of a Hub module that the layer does not track among them."""
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
    """Returns the variables that a step may change or not: a Hub module does not say which of its own are statistics."""
    learns = layer.trainable and isinstance(layer, BackboneLayer) and not layer.inference_mode
    return list(layer.non_trainable_weights) if learns else []


def _selected(body: Blocks, stage: Stage) -> set[int]:
    """Returns the ids of the body's layers that a stage selects."""
    layers = [layer for _, block in body for layer in block]
    if stage.train == "all":
        return set(map(id, layers))
    way, wanted = next(iter(stage.train.items()))
    if way == "last":
        _refuse_too_many(stage, wanted, len(layers), "layers")
        return set(map(id, layers[-wanted:]))
    if way == "blocks":
        _refuse_too_many(stage, wanted, len(body), "blocks")
        return {id(layer) for _, block in body[-wanted:] for layer in block}
    names = [layer.name for layer in layers]
    if wanted not in names:
        near = get_close_matches(wanted, names, 3, cutoff=0.4)
        guess = f"did you mean {' or '.join(near)}?" if near else f"its layers are {', '.join(names[:10])}, ..."
        raise RunFailed(f"stage {stage.name}: the backbone has no layer {wanted!r}; {guess}")
    return set(map(id, layers[names.index(wanted) :]))


def _refuse_too_many(stage: Stage, wanted: int, count: int, what: str) -> None:
    if wanted > count:
        raise RunFailed(
            f"stage {stage.name}: {wanted} {what} were requested, but the backbone has only {count}; use `train: all`"
        )


def _row(name: str, layers: list[Any]) -> BlockRow:
    trainable = sum(prod(weight.shape) for layer in layers if layer.trainable for weight in layer.trainable_weights)
    total = sum(prod(weight.shape) for layer in layers for weight in layer.weights)
    return BlockRow(name, trainable, total - trainable)
