"""Half precision on processors: which have units for it, which layers use it, and how much work these layers have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

from dlcli.runtime.multiply_adds import kernel_multiply_adds
from dlcli.upstream.keras import import_keras, maker_of, single_nodes_of

HALF = "mixed_bfloat16"
"""The policy under which layers compute in bfloat16 and keep their weights in float32."""
_UNITS = ("amx_bf16", "avx512_bf16")
"""The flags of processors whose units multiply bfloat16 and sum in float32; oneDNN, which TensorFlow calls, uses them."""
_PROCESSOR_FILE = "/proc/cpuinfo"
_MULTIPLYING = ("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Dense")
_PASSING = (
    *(f"MaxPooling{rank}D" for rank in (1, 2, 3)),
    *(f"SpatialDropout{rank}D" for rank in (1, 2, 3)),
    *(f"{kind}{rank}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for rank in (1, 2, 3)),
    *("Activation", "ReLU", "LeakyReLU", "Dropout", "Flatten", "Reshape", "Permute", "Concatenate"),
)
"""Layers that only select, move or scale numbers. Between layers that multiply they need no conversion."""


def half_unit() -> str:
    """Returns the processor's flag for bfloat16: `amx_bf16`, `avx512_bf16`, or an empty text.

    It is empty where oneDNN is switched off or limited by its environment variables, and outside Linux on x86-64.
    """
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" or os.environ.get("ONEDNN_MAX_CPU_ISA"):
        return ""
    with suppress(OSError), open(_PROCESSOR_FILE, encoding="utf-8", errors="replace") as lines:
        flags = next((line.partition(":")[2].split() for line in lines if re.match(r"flags\b", line)), [])
        return next((unit for unit in _UNITS if unit in flags), "")
    return ""


def half_layers(layers: Iterable[Any]) -> list[Any]:
    """Returns the layers that compute in bfloat16 under mixed precision on a processor.

    These are convolutions and dense layers, and the layers between them that only pass numbers on. Depthwise convolutions are
    slower in bfloat16; normalisation, softmax, averages and sums of branches need the digits of float32.
    """
    return [layer for layer in layers if type(layer).__name__ in (*_MULTIPLYING, *_PASSING) and not _is_softmax(layer)]


def _is_softmax(layer: Any) -> bool:
    return "softmax" in getattr(getattr(layer, "activation", None), "__name__", "")


def use_half(layers: Iterable[Any]) -> None:
    """Makes layers compute in bfloat16; their weights stay float32."""
    for layer in layers:
        layer.dtype_policy = import_keras().DTypePolicy(HALF)


@dataclass(frozen=True)
class HalfWork:
    """The work of a model's layers in bfloat16 for one example.

    Attributes:
        multiply_adds: multiplications of their weights, each with a sum.
        conversions: numbers that are converted from or to float32 between layers.
    """

    multiply_adds: int
    conversions: int

    @property
    def density(self) -> float:
        """Multiply-adds per converted number."""
        return self.multiply_adds / max(self.conversions, 1)


def half_work(model: Any, layers: Iterable[Any]) -> HalfWork:
    """Returns the work of a functional model if these of its layers compute in bfloat16.

    A layer whose shapes are not fixed counts as no work.
    """
    in_half = {id(layer) for layer in layers}
    nodes = single_nodes_of(model)
    work = sum(kernel_multiply_adds(node) for node in nodes if id(node.operation) in in_half)
    return HalfWork(work, sum(_converted(node, in_half) for node in nodes))


def _converted(node: Any, in_half: set[int]) -> int:
    """Returns how many numbers of a layer's inputs are in the other precision."""
    is_half = id(node.operation) in in_half
    others = [tensor for tensor in node.input_tensors if (id(maker_of(tensor)) in in_half) != is_half]
    return int(sum(prod(side or 1 for side in tensor.shape[1:]) for tensor in others))
