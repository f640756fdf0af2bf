"""Decides `hardware.precision: auto` on a processor, by its units and the model's layers: two runs of a spec decide alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlcli.data.splits import Splits
from dlcli.models.network import Network
from dlcli.runtime.engine import keras
from dlcli.runtime.layers import single_layers
from dlcli.runtime.learner import has_own_step
from dlcli.runtime.precision import HALF, HalfWork, half_layers, half_unit, half_work, use_half
from dlcli.spec.experiment import Experiment

LEAST_WORK = 50_000_000
"""Multiply-adds of a step from which bfloat16 pays. With `avx512_bf16`, the CPU time of a step in bfloat16 per float32 was 0.94
to 1.16 at 4 million (a CNN on 8x8 images), 0.91 to 1.05 at 30 million (an MLP), 0.77 to 0.83 at 53 million (LeNet-5), and 0.60
to 0.69 at 240 and 310 million (`benchmarks/half_steps.py`)."""
LEAST_DENSITY = {"amx_bf16": 300, "avx512_bf16": 40}
"""Multiply-adds per number that is converted between layers, from which bfloat16 pays. With `amx_bf16`, a U-Net with BatchNorm
at 141 took 1.21 of the time in float32 and MobileNetV2 at 18 took 1.30; keras.io's MNIST convnet at 1,017 took 0.45, four
convolutions at 2,683 took 0.2. With `avx512_bf16`, whose units are slower, so that conversions weigh less, CNNs with BatchNorm
took 0.91 at 50, 0.83 at 85, 0.71 at 141, ResNet-50 at 161 took 0.75, and MobileNetV2 at 18 took 1.06."""


@dataclass(frozen=True)
class PrecisionChoice:
    """The precision of a training and the reason for it."""

    precision: str
    reason: str

    def __str__(self) -> str:
        return f"{self.precision}: {self.reason}"


def choose_precision(experiment: Experiment, network: Network, splits: Splits, batch_size: int) -> PrecisionChoice:
    """Returns the precision for a model on this processor, which has units for bfloat16."""
    reason = _reason_against(experiment, network, splits)
    if reason:
        return PrecisionChoice("float32", reason)
    work = half_work(network.functional, _half_layers(network))
    reason = _reason_against_work(work, batch_size)
    if reason:
        return PrecisionChoice("float32", reason)
    million = work.multiply_adds * batch_size / 1e6
    reason = f"convolutions and dense layers compute in bfloat16 ({half_unit()}; {million:,.0f} million multiply-adds a step)"
    return PrecisionChoice(HALF, f"{reason}; weights and the saved model are float32")


def apply_precision(precision: str, network: Network) -> str:
    """Makes the layers of a model on a processor compute in the resolved precision; on a GPU they were built for it.

    Returns a note for the user where the processor has no unit for it; else an empty text.
    """
    if precision != HALF or keras.config.dtype_policy().name == HALF:
        return ""
    use_half(_half_layers(network))
    return "" if half_unit() else "this processor has no unit for bfloat16; its steps take longer than in float32"


def _half_layers(network: Network) -> list[Any]:
    """Returns the layers in bfloat16: those between the scaled input and the head, or in the backbone."""
    return half_layers(single_layers(network.body))


def _reason_against(experiment: Experiment, network: Network, splits: Splits) -> str:
    """Returns what the model or its data need float32 for; empty if nothing does."""
    if experiment.hardware.xla:
        return "XLA compiles the steps, which is slow in bfloat16 on a processor"
    if experiment.model.fitted_once:
        return "the head is fitted once"
    if network.backbone is not None and all(network.trains_head_alone(stage) for stage in experiment.stages):
        return "the backbone is frozen"
    if has_own_step(network.learner()):
        return "the model has its own training step"
    if experiment.task.output.is_numeric:
        return "values need more digits than bfloat16 has"
    if experiment.data.normalize == "none" and not splits.is_image:
        return "the inputs are not scaled"
    return ""


def _reason_against_work(work: HalfWork, batch_size: int) -> str:
    """Returns why bfloat16 would not be faster; empty if it is."""
    total, pays = work.multiply_adds * batch_size, "bfloat16 pays from"
    if total < LEAST_WORK:
        return f"{pays} {LEAST_WORK:,} multiply-adds a step; this model has {total:,}"
    least = LEAST_DENSITY[half_unit()]
    if work.density < least:
        density = f"{work.density:,.0f}"
        return f"{pays} {least} multiply-adds per number that is converted between layers; this model has {density}"
    return ""
