"""Settings -> the engine that runs a batch, and its places."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import get_args

from dlcli.errors import UsageError
from dlcli.fleet.batch.active import Fleet
from dlcli.fleet.batch.devices import Slot, slots
from dlcli.runs.batches import EngineName, Job, Settings

_MOST = 10_000
"""Places on a cluster, which queues for itself: as many as a batch has runs at most."""


def fleet_for(settings: Settings, jobs: Sequence[Job]) -> Fleet:
    """Returns the engine of the settings with as many places as they give it, or as are good for the jobs.

    Raises:
        UsageError: there is no such engine, GPU or cluster, or an option is not for this engine.
    """
    if settings.engine not in get_args(EngineName):
        raise UsageError(f"--engine: expected one of {', '.join(get_args(EngineName))}, found {settings.engine!r}")
    if settings.engine == "slurm":
        from dlcli.fleet.batch.engines.slurm import SlurmEngine

        return Fleet(SlurmEngine(settings), [Slot("slurm")] * (settings.jobs or (1 if settings.address else _MOST)))
    if settings.address and settings.engine != "ray":
        raise UsageError("--address needs --engine ray")
    if settings.engine == "ray":
        if settings.gpus:
            raise UsageError("--gpus cannot be used with --engine ray: runs request GPUs by hardware.resources.gpus")
        from dlcli.fleet.batch.engines.ray_cluster import RayEngine

        return Fleet(RayEngine(settings), [Slot("ray")] * (settings.jobs or _MOST))
    from dlcli.fleet.batch.at_once import runs_at_once
    from dlcli.fleet.batch.engines.local import LocalEngine

    on_cpu = partial(runs_at_once, jobs, settings.memory_gb)
    return Fleet(LocalEngine(), slots(settings.jobs, settings.gpus, settings.per_gpu, on_cpu))
