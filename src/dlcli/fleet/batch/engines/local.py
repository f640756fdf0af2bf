"""Jobs on this machine: each in a process forked from one that has TensorFlow loaded and never used."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from time import sleep
from typing import Any

from dlcli.fleet.batch.engines.engine import LOOK, LOST
from dlcli.fleet.batch.worker import PRELOADED, STOPS, Order, work
from dlcli.runs.batches import Batch, Job
from dlcli.runs.hold import is_held
from dlcli.runtime.python import fork_server_context


class LocalEngine:
    """Forks a process for each job."""

    def __init__(self) -> None:
        self._context = fork_server_context()
        self._context.set_forkserver_preload(PRELOADED)
        _start_fork_server()

    def begin(self, orders: Sequence[Order]) -> list[LocalProcess]:
        """Forks the processes."""
        return [self._started(order) for order in orders]

    def _started(self, order: Order) -> LocalProcess:
        process = self._context.Process(target=work, args=(order,), name=f"{order.job.group} seed {order.job.seed}")
        process.start()
        return LocalProcess(process, Batch(order.batch).lock_path(order.job))

    def follows(self, batch: Batch, job: Job) -> bool:
        """Returns False: the process ends with the batch that started it."""
        return False

    def wait(self, processes: Sequence[LocalProcess]) -> None:
        """Waits until one has ended; one that lost its fork server sends no event and is polled."""
        sentinels = [process.sentinel for process in processes if not process.is_lost]
        wait(sentinels, timeout=LOOK)
        if len(sentinels) < len(processes):
            sleep(LOOK)

    def close(self) -> None:
        """Does nothing: the fork server ends with this process."""


class LocalProcess:
    """A forked process, which holds the job's lock while it works."""

    def __init__(self, process: Any, lock: Path) -> None:
        self._process, self._lock = process, lock

    @property
    def sentinel(self) -> Any:
        """Is ready once the process has ended."""
        return self._process.sentinel

    @property
    def is_lost(self) -> bool:
        """Whether its fork server has ended, so that the process may run on unobserved."""
        return bool(self._process.exitcode == LOST)

    def exit_code(self) -> int | None:
        """Returns how it ended; None while it runs."""
        code: int | None = self._process.exitcode
        if code is None or (code == LOST and is_held(self._lock)):
            return None
        self._process.join()
        return code

    def has_begun(self) -> bool:
        """Returns True: it was forked at once."""
        return True

    def send(self, number: int) -> None:
        """Sends the process a signal."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def memory(self) -> int:
        """Returns the bytes that it has to itself."""
        return memory_of(self._process.pid)


def _start_fork_server() -> None:
    """Starts the process that runs are forked from, deaf to what stops a batch: it would end, and runs be lost sight of."""
    resource_tracker.ensure_running()  # which would have the signals heard again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def memory_of(pid: int) -> int:
    """Returns the bytes of memory that a process has to itself; 0 where it has ended."""
    import psutil

    try:
        usage = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(usage.rss - getattr(usage, "shared", 0))
