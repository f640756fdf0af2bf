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
from dlcli.runs.hold import is_held
from dlcli.stages.batch.devices import Slot
from dlcli.stages.batch.verdict import adopted, verdict
from dlcli.stages.batch.worker import PRELOADED, Order, work

LOOK = 0.25
"""Seconds between two looks at the processes."""
GRACE = 60.0
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
    """A job that runs: its process, place and begin; when it was told to end, and why if not because the batch ends."""

    job: Job
    slot: Slot
    process: Any
    began: float = field(default_factory=monotonic)
    told: float = 0.0
    why: str = ""


def run_batch(batch: Batch, slots: Sequence[Slot], settings: Settings, watcher: Watcher) -> None:
    """Runs every job of a batch that has not ended, and goes on with runs that were left.

    Raises:
        UsageError: another process runs the batch.
        Interrupted: a signal stopped it; every run has a checkpoint.
    """
    with batch.hold(), noted_signals() as stop:
        _Running(batch, slots, settings, watcher, stop).to_the_end()
    if stop:
        raise Interrupted(f"stopped by {signal.Signals(stop[0]).name}; to go on: dlcli batch --resume {batch.id}")


@contextmanager
def noted_signals() -> Iterator[list[int]]:
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
            wait([one.process.sentinel for one in self._active], timeout=LOOK)
            for one in [one for one in self._active if not one.process.is_alive()]:
                self._end(one)
            self._watch()
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
        if is_held(self._batch.lock_path(job)):
            self._queue.append(job)
            return False
        status = self._batch.status(job)
        if status.attempts:  # what a process that was left behind has come to meanwhile
            self._look_up(job)
            status = self._taken_up(job)
            if status.state in _FINAL:
                self._watcher.changed(self._batch, job, status, "")
                return True
        run = self._runs.get(job.number)
        # Nobody works on the job, whatever its run says: a process that has just been killed may still have a number.
        again = run is not None and run.status().state in ("running", "interrupted") and not self._begins_anew(run, status)
        slot = self._free.pop(0)
        status = self._batch.update(job, state="running", attempts=status.attempts + 1, reason="")
        order = Order(
            self._batch.path,
            job,
            status.extra,
            run.path if run is not None and again else None,
            self._settings.offline,
            slot.variables,
        )
        process = self._context.Process(target=work, args=(order,), name=f"{job.group} seed {job.seed}")
        process.start()
        self._active.append(Active(job, slot, process))
        self._watcher.changed(self._batch, job, status, slot.name)
        return True

    def _look_up(self, job: Job) -> Run | None:
        """Notes and returns the latest run of a job."""
        for run in self._batch.runs_of(job)[-1:]:
            self._runs[job.number] = run
        return self._runs.get(job.number)

    def _begins_anew(self, run: Run, status: JobStatus) -> bool:
        """Whether a retry has other settings than the run that was left."""
        return bool(status.extra) and not set(status.extra) <= set(_overrides_of(run))

    def _end(self, one: Active) -> None:
        """Notes how a job has ended, and queues it again where that may help."""
        one.process.join()
        self._active.remove(one)
        self._free.append(one.slot)
        job = one.job
        run = self._look_up(job)
        stopping = bool(self._stop)
        found = verdict(
            self._batch,
            job,
            one.process.exitcode,
            run,
            stopping=stopping,
            why=one.why,
            retries=self._settings.retries,
        )
        extra = found.extra or self._batch.status(job).extra
        status = self._batch.update(job, state=found.state, reason=found.reason, extra=extra)
        if found.again:
            self._queue.append(job)
        elif found.state == "failed" and run is not None and run.shown_state == "dead":
            run.update_status(state="failed", error=found.reason)
        self._watcher.changed(self._batch, job, status, one.slot.name)

    def _watch(self) -> None:
        """Tells processes to end that have had their time, and all of them once the batch is stopped; kills those that do
        not, and at once those that take more memory than they may."""
        now, settings = monotonic(), self._settings
        for one in self._active:
            if settings.memory_gb and not one.why and memory_of(one.process.pid) > settings.memory_gb * 2**30:
                one.why = f"it took more than the {settings.memory_gb:g} GB of memory that one run may have"
                send(one.process.pid, signal.SIGKILL)
            if settings.minutes and not one.why and not self._stop and now - one.began > 60 * settings.minutes:
                one.why = "the time for one run was over; it has a checkpoint"
            if (self._stop or one.why) and not one.told:
                one.told = now
                send(one.process.pid, signal.SIGTERM)
            elif one.told and now - one.told > GRACE:
                send(one.process.pid, signal.SIGKILL)


def memory_of(pid: int) -> int:
    """Returns the bytes of memory that a process has to itself; 0 where it has ended."""
    import psutil

    try:
        found = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(found.rss - getattr(found, "shared", 0))


def send(pid: int, number: int) -> None:
    """Sends a signal to a process that may have ended."""
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
