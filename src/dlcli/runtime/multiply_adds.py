"""Counts the multiply-adds of a Keras model for one example."""

from __future__ import annotations

from math import prod
from typing import Any

from dlcli.upstream.keras import has_nodes, single_nodes_of

_WITHOUT = ("BatchNormalization", "LayerNormalization", "GroupNormalization", "Normalization", "Embedding", "PReLU")
"""Layers with weights whose work papers do not count: a few operations for each value."""


def model_multiply_adds(model: Any) -> int | None:
    """Returns the multiply-adds of the convolutions and dense layers of a model for one example.

    It is None for a model with other layers that multiply, such as recurrent ones and attention, for one whose shapes are not
    fixed, and for a subclass of `keras.Model` with its own `call`.
    """
    if not has_nodes(model):
        return None
    counts = [_counted(node) for node in single_nodes_of(model)]
    return None if None in counts else sum(filter(None, counts))


def _counted(node: Any) -> int | None:
    layer = node.operation
    if not getattr(layer, "weights", None) or type(layer).__name__ in _WITHOUT:
        return 0
    shapes = [tensor.shape[1:] for tensor in (*node.input_tensors, *node.output_tensors)]
    return None if any(None in shape for shape in shapes) else kernel_multiply_adds(node) or None


def kernel_multiply_adds(node: Any) -> int:
    """Returns the multiply-adds of a layer for one example: each position takes every number of the kernel once.

    The positions are those of the output; of a transposed convolution, those of the input. It is 0 for a layer without a
    kernel, or whose shapes are not fixed.
    """
    layer = node.operation
    kernel = getattr(layer, "kernel", None)
    shape = (node.input_tensors if "Transpose" in type(layer).__name__ else node.output_tensors)[0].shape[1:]
    if kernel is None or None in shape:
        return 0
    return int(prod(kernel.shape) * prod(shape[:-1]))
