"""Queue -> runs: a process for each job, as many at once as there are places, until every job has ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from time import monotonic
from types import FrameType
from typing import Any

from dlcli.errors import DamagedFile, Interrupted
from dlcli.runs import Run
from dlcli.runs.batches import Batch, Job, JobStatus, Settings
from dlcli.stages.batch.devices import Slot
from dlcli.stages.batch.verdict import adopted, verdict
from dlcli.stages.batch.worker import PRELOADED, Order, work

_LOOK = 0.25
_GRACE = 60.0
"""Seconds that a process gets to write its checkpoint before it is killed."""
_FINAL = ("completed", "failed")


class Watcher:
    """Is told how a batch goes; this one says nothing."""

    def changed(self, batch: Batch, job: Job, status: JobStatus, slot: str) -> None:
        """Takes a job that was begun, or has ended."""

    def looked(self, active: Sequence[Active], waiting: int) -> None:
        """Takes the jobs that run, a few times a second."""


@dataclass
class Active:
    """A job that runs: its process, place and begin; `ended` is when it was told to end, and whether for its time."""

    job: Job
    slot: Slot
    process: Any
    began: float = field(default_factory=monotonic)
    told: float = 0.0
    late: bool = False


def run_batch(batch: Batch, slots: Sequence[Slot], settings: Settings, watcher: Watcher) -> None:
    """Runs every job of a batch that has not ended, and goes on with runs that were left.

    Raises:
        UsageError: another process runs the batch.
        Interrupted: a signal stopped it; every run has a checkpoint.
    """
    with batch.hold(), _signals() as stop:
        _Running(batch, slots, settings, watcher, stop).to_the_end()
    if stop:
        raise Interrupted(f"stopped by {signal.Signals(stop[0]).name}; to go on: dlcli batch --resume {batch.id}")


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Yields a list that receives SIGINT, SIGTERM and SIGHUP while the block runs."""
    got: list[int] = []

    def take(number: int, _frame: FrameType | None) -> None:
        got.append(number)

    before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield got
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Running:
    """A batch while it runs."""

    def __init__(self, batch: Batch, slots: Sequence[Slot], settings: Settings, watcher: Watcher, stop: list[int]) -> None:
        self._batch, self._settings, self._watcher, self._stop = batch, settings, watcher, stop
        self._free = list(slots)
        self._active: list[Active] = []
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        jobs = batch.jobs()
        self._runs = {number: runs[-1] for number, runs in batch.runs_by_job(jobs).items()}
        self._queue = deque(job for job in jobs if self._taken_up(job).state not in _FINAL)

    def to_the_end(self) -> None:
        """Begins jobs and waits for them until none is left, or the batch is stopped."""
        while self._active or (self._queue and not self._stop):
            while self._queue and self._free and not self._stop and self._begin(self._queue.popleft()):
                pass
            wait([one.process.sentinel for one in self._active], timeout=_LOOK)
            for one in [one for one in self._active if not one.process.is_alive()]:
                self._end(one)
            self._watch_time()
            self._watcher.looked(self._active, len(self._queue))

    def _taken_up(self, job: Job) -> JobStatus:
        """Returns how a job stands when the batch begins: what a batch that was killed could not note is read off its run."""
        status, run = self._batch.status(job), self._runs.get(job.number)
        if status.state in _FINAL or run is None:
            return status
        try:
            found = adopted(run)
        except DamagedFile as error:
            found = JobStatus("failed", 1, str(error))
        if found is not None and (found.state == "completed" or status.state != "queued"):
            return self._batch.update(job, state=found.state, reason=found.reason)
        return status

    def _begin(self, job: Job) -> bool:
        """Starts a job's process; returns False where its run is still held by a process that a killed batch left."""
        run = self._runs.get(job.number)
        if run is not None and run.shown_state == "running":
            self._queue.append(job)
            return False
        status = self._batch.status(job)
        again = run is not None and run.shown_state in ("interrupted", "dead") and not self._begins_anew(run, status)
        slot = self._free.pop(0)
        status = self._batch.update(job, state="running", attempts=status.attempts + 1, reason="")
        order = Order(
            self._batch.path,
            job,
            status.extra,
            run.path if run is not None and again else None,
            self._settings.offline,
            self._settings.memory_gb,
            slot.variables,
        )
        process = self._context.Process(target=work, args=(order,), name=f"{job.group} seed {job.seed}")
        process.start()
        self._active.append(Active(job, slot, process))
        self._watcher.changed(self._batch, job, status, slot.name)
        return True

    def _begins_anew(self, run: Run, status: JobStatus) -> bool:
        """Whether a retry has other settings than the run that was left."""
        return bool(status.extra) and not set(status.extra) <= set(_overrides_of(run))

    def _end(self, one: Active) -> None:
        """Notes how a job has ended, and queues it again where that may help."""
        one.process.join()
        self._active.remove(one)
        self._free.append(one.slot)
        job = one.job
        run = next(iter(self._batch.runs_of(job)[-1:]), None)
        if run is not None:
            self._runs[job.number] = run
        stopping = bool(self._stop)
        found = verdict(
            self._batch,
            job,
            one.process.exitcode,
            run,
            stopping=stopping,
            late=one.late,
            retries=self._settings.retries,
        )
        extra = found.extra or self._batch.status(job).extra
        status = self._batch.update(job, state=found.state, reason=found.reason, extra=extra)
        if found.again:
            self._queue.append(job)
        elif found.state == "failed" and run is not None and run.shown_state == "dead":
            run.update_status(state="failed", error=found.reason)
        self._watcher.changed(self._batch, job, status, one.slot.name)

    def _watch_time(self) -> None:
        """Tells processes to end that have had their time, all of them once the batch is stopped; kills those that do not."""
        now, minutes = monotonic(), self._settings.minutes
        for one in self._active:
            one.late = one.late or (minutes is not None and now - one.began > 60 * minutes and not self._stop)
            if (self._stop or one.late) and not one.told:
                one.told = now
                _send(one.process.pid, signal.SIGTERM)
            elif one.told and now - one.told > _GRACE:
                _send(one.process.pid, signal.SIGKILL)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _overrides_of(run: Run) -> list[str]:
    """Returns the `--set` options that a run was begun with."""
    try:
        lines = (run.path / "source.yaml").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.removeprefix("# --set ") for line in lines if line.startswith("# --set ")]
