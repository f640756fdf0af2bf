"""The penalties that weight regularisers add to the loss."""

from __future__ import annotations

from typing import Any

from dlcli.runtime.backbone_layer import BackboneLayer


def penalties(model: Any) -> float:
    """Returns the sum of the penalties of all trainable weights."""
    weights = (weight for weight in model.trainable_variables if weight.regularizer is not None)
    weight_penalties = sum(float(weight.regularizer(weight)) for weight in weights)
    return float(weight_penalties + sum(layer.penalty() for layer in model.layers if isinstance(layer, BackboneLayer)))


def has_penalties(model: Any) -> bool:
    """Whether weight regularisers may add a penalty to a model's loss in any stage."""
    is_regularized = any(getattr(weight, "regularizer", None) is not None for weight in model.weights)
    return is_regularized or any(layer.has_penalties for layer in model.layers if isinstance(layer, BackboneLayer))
