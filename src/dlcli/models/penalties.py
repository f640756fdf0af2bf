"""What regularisers of weights add to the loss that a model minimises."""

from __future__ import annotations

from typing import Any

from dlcli.runtime.backbone_layer import BackboneLayer


def penalties(model: Any) -> float:
    """Returns what regularisers of learning weights add to the loss that a model minimises."""
    weights = (weight for weight in model.trainable_variables if weight.regularizer is not None)
    own = sum(float(weight.regularizer(weight)) for weight in weights)
    return float(own + sum(layer.penalty() for layer in model.layers if isinstance(layer, BackboneLayer)))


def has_penalties(model: Any) -> bool:
    """Whether regularisers of weights may add to a model's loss in some stage."""
    own = any(getattr(weight, "regularizer", None) is not None for weight in model.weights)
    return own or any(layer.has_penalties for layer in model.layers if isinstance(layer, BackboneLayer))
