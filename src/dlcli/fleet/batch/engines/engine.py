"""What a batch and a sweep need of an engine that runs jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dlcli.fleet.batch.worker import Order
from dlcli.runs.batches import Batch, Job

LOOK = 0.25
"""Seconds between two checks of the processes."""
LOST = 255
"""Exit code of a process whose end is unknown."""


def too_much_memory(memory_gb: float) -> str:
    """Returns the reason of a process that was killed for exceeding its memory limit."""
    return f"it exceeded the memory limit of {memory_gb:g} GB per run"


class Process(Protocol):
    """A job's process, wherever it runs."""

    def exit_code(self) -> int | None:
        """Returns dlcli's exit code, a signal's number below zero, or `LOST`; None while the process may still run."""

    def has_begun(self) -> bool:
        """Whether it runs, rather than waits in a queue."""

    def send(self, number: int) -> None:
        """Sends SIGTERM, for a checkpoint, or SIGKILL; does nothing where the process has ended."""

    def memory(self) -> int:
        """Returns the bytes of memory that the process has to itself; 0 where the cluster enforces its limit."""


class Engine(Protocol):
    """An engine that runs jobs."""

    def begin(self, orders: Sequence[Order]) -> Sequence[Process]:
        """Starts a process for each order, or queues it, and returns them in the same order."""

    def follows(self, batch: Batch, job: Job) -> bool:
        """Whether `begin` takes over a job's process that a killed batch started, instead of starting one."""

    def wait(self, processes: Sequence[Any]) -> None:
        """Waits until one of its processes has ended, `LOOK` seconds at most."""

    def close(self) -> None:
        """Releases what the engine holds; processes that still run continue."""
