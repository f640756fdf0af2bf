"""The rules of models on several devices: what may not be combined, found without asking which devices there are."""

from __future__ import annotations

from collections.abc import Iterator

from dlcli.spec.experiment import Experiment

Place = tuple[str | int, ...]
Finding = tuple[Place, str]


def _devices_can_share(experiment: Experiment) -> Iterator[Finding]:
    hardware = experiment.hardware
    if hardware.strategy not in ("mirrored", "multi_worker"):
        return
    if experiment.training.loss.kind == "dice":
        message = f"`dice` has one value per batch, which the devices of `strategy: {hardware.strategy}` cannot sum"
        yield ("training", "loss"), message
    if hardware.xla:
        yield ("hardware", "xla"), f"XLA cannot compile the sums over devices of `strategy: {hardware.strategy}`; remove it"


def _devices_are_used(experiment: Experiment) -> Iterator[Finding]:
    """An explicit `one_device` allows them: with this one setting a run moves to another machine."""
    if experiment.hardware.devices is not None and experiment.hardware.strategy == "auto":
        yield ("hardware", "devices"), "has no effect without `strategy: mirrored` or `strategy: multi_worker`"


RULES = (_devices_can_share, _devices_are_used)
