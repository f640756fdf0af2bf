"""What a task does on a node of a Ray cluster."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace

from dlcli.errors import DlcliError
from dlcli.fleet.batch.devices import variables_of
from dlcli.fleet.batch.engines.task import run_order
from dlcli.fleet.batch.worker import Order


def run_on_node(order: Order, folder: str, share: int, memory_gb: float | None) -> int | str:
    """Runs a job on this node and returns its exit code, or a message why nothing can run here.

    Args:
        order: what to do.
        folder: the working folder, kept where this node has it.
        share: how many jobs share the GPU.
        memory_gb: memory limit of the process, in GB of 2^30 bytes.
    """
    import ray

    with suppress(OSError):
        os.chdir(folder)
    gpus = [str(gpu) for gpu in ray.get_gpu_ids()]
    interrupts: list[int] = []
    # An interrupt comes from `ray.cancel`, which sends no other signal: the first one requests a checkpoint.
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))

    def next_signal() -> int:
        return (0, signal.SIGTERM, signal.SIGKILL)[min(len(interrupts), 2)]

    try:
        order = replace(order, variables={**order.variables, **variables_of(gpus, share)})
        return run_order(order, next_signal, memory_gb)
    except DlcliError as error:
        return str(error)
    finally:
        signal.signal(signal.SIGINT, before)
