"""Lists the layers of a Keras model, including those of nested models."""

from __future__ import annotations

from typing import Any


def single_layers(model: Any) -> list[Any]:
    """Returns the layers of a model in order, including those of nested models, without inputs; for a layer, the layer."""
    return _single(model, "layers")


def single_operations(model: Any) -> list[Any]:
    """Returns all layers and operations of a model in order, including those of nested models, and the model's own inputs."""
    return [
        single
        for operation in getattr(model, "operations", model.layers)  # a Sequential model has layers only
        for single in ([operation] if _is_input(operation) else _single(operation, "operations"))
    ]


def _single(part: Any, inside: str) -> list[Any]:
    parts = getattr(part, inside, getattr(part, "layers", None))  # a Sequential model has layers only
    if parts is None:
        return [] if _is_input(part) else [part]
    return [single for inner in parts for single in _single(inner, inside)]


def _is_input(layer: Any) -> bool:
    return type(layer).__name__ == "InputLayer"
