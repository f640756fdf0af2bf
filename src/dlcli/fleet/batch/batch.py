"""Queue -> runs: a process for each job, as many at once as there are places, until every job has ended."""

from __future__ import annotations

import shlex
import signal
from collections import deque
from collections.abc import Sequence
from time import monotonic

from dlcli.errors import DamagedFile, Interrupted, RunFailed
from dlcli.fleet.batch.active import Active, Fleet, noted_signals
from dlcli.fleet.batch.engines.engine import too_much_memory
from dlcli.fleet.batch.verdict import resumable, verdict
from dlcli.fleet.batch.worker import RESUMABLE, Order
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Job, JobStatus, Settings
from dlcli.runs.hold import is_held

_FINAL = ("completed", "failed")


class Watcher:
    """Receives the progress of a batch; this class reports nothing."""

    def changed(self, batch: Batch, job: Job, status: JobStatus, slot: str) -> None:
        """Receives a job that has started or ended."""

    def looked(self, active: Sequence[Active], waiting: int) -> None:
        """Receives the jobs that run, a few times a second."""


def run_batch(batch: Batch, fleet: Fleet, settings: Settings, watcher: Watcher) -> None:
    """Runs every job of a batch that has not ended, and resumes interrupted runs.

    Raises:
        UsageError: another process runs the batch.
        Interrupted: a signal stopped it; every run has a checkpoint.
        RunFailed: the runs folder cannot be written any more, or the cluster is lost.
    """
    with batch.hold(), noted_signals() as stop:
        try:
            batch.keep(settings)
            _Running(batch, fleet, settings, watcher, stop).to_the_end()
        except RunFailed as error:  # the engine can no longer run jobs
            fleet.abort()
            raise RunFailed(f"{error}; {resume_hint(batch, settings)}") from None
        except OSError as error:
            fleet.abort()
            raise RunFailed(
                f"cannot write to {batch.path}: {error.strerror or error}; {resume_hint(batch, settings)}"
            ) from None
    if stop:
        raise Interrupted(f"stopped by {signal.Signals(stop[0]).name}; {resume_hint(batch, settings)}")


def resume_hint(batch: Batch, settings: Settings) -> str:
    """Returns the command that resumes a batch, as text."""
    words = ["--resume", batch.id, "--runs", str(batch.runs)]
    words += ["--engine", settings.engine] if settings.engine != "local" else []
    words += ["--address", settings.address] if settings.address else []
    return f"to resume: {command()} batch {shlex.join(words)}"


class _Running:
    """A batch while it runs."""

    def __init__(self, batch: Batch, fleet: Fleet, settings: Settings, watcher: Watcher, stop: list[int]) -> None:
        self._batch, self._fleet, self._settings, self._watcher, self._stop = batch, fleet, settings, watcher, stop
        jobs = batch.jobs()
        runs = batch.runs_by_job(jobs)
        self._runs = {job.number: batch.current(job, runs.get(job.number, [])) for job in jobs}
        self._queue = deque(job for job in jobs if self._updated(job).state not in _FINAL)

    def to_the_end(self) -> None:
        """Starts jobs and waits for them until all have ended, or the batch is stopped."""
        while self._fleet.active or (self._queue and not self._stop):
            while self._queue and self._fleet.has_room and not self._stop and self._begin(self._queue.popleft()):
                pass
            for active, code in self._fleet.wait():
                self._end(active, code)
            self._look_at_limits()
            self._fleet.press(stop=bool(self._stop))
            self._watcher.looked(self._fleet.active, len(self._queue))

    def _updated(self, job: Job) -> JobStatus:
        """Returns the state of a job when the batch starts: what a killed batch could not record is read from the run."""
        status, run = self._batch.status(job), self._runs[job.number]
        if status.state in _FINAL or run is None:
            return status
        try:
            job_status = resumable(run)
        except DamagedFile as error:
            job_status = JobStatus("failed", 1, reason=str(error))
        if job_status is not None and (job_status.state == "completed" or status.state != "queued"):
            return self._batch.update(job, state=job_status.state, reason=job_status.reason)
        return status

    def _begin(self, job: Job) -> bool:
        """Starts a job's process; returns False where its run is still held by a process that a killed batch started."""
        if is_held(self._batch.lock_path(job)) and not self._fleet.follows(self._batch, job):
            self._queue.append(job)
            return False
        status = self._batch.status(job)
        if status.attempts:  # a process of a killed batch may have ended meanwhile
            self._look_up(job)
            status = self._updated(job)
            if status.state in _FINAL:
                self._watcher.changed(self._batch, job, status, "")
                return True
        run = self._runs[job.number]
        # No process works on the job, whatever its run says: a process that has just been killed may still have an ID.
        if run is not None and (run.status().state not in RESUMABLE or self._has_new_settings(run, status)):
            status, run = self._batch.update(job, left=run.id), None
        slot = self._fleet.take()
        status = self._batch.update(job, state="running", attempts=status.attempts + 1, reason="")
        order = Order(
            self._batch.path,
            job,
            status.extra,
            run.path if run is not None else None,
            self._settings.offline,
            slot.variables,
        )
        self._fleet.begin(slot, order)
        self._watcher.changed(self._batch, job, status, slot.name)
        return True

    def _look_up(self, job: Job) -> RunFolder | None:
        """Notes and returns the run of a job."""
        self._runs[job.number] = self._batch.run_of(job)
        return self._runs[job.number]

    def _has_new_settings(self, run: RunFolder, status: JobStatus) -> bool:
        """Whether a retry has other settings than the interrupted run."""
        return bool(status.extra) and not set(status.extra) <= set(_overrides_of(run))

    def _end(self, active: Active, code: int) -> None:
        """Notes how a job has ended, and queues it again where that may help."""
        job = active.job
        run = self._look_up(job)
        stopping = bool(self._stop)
        decision = verdict(
            self._batch,
            job,
            code,
            run,
            stopping=stopping,
            why=active.why,
            retries=self._settings.retries,
        )
        before = self._batch.status(job)
        failures = before.failures + decision.killed
        extra = decision.extra or before.extra
        status = self._batch.update(job, state=decision.state, reason=decision.reason, extra=extra, failures=failures)
        if decision.again:
            self._queue.append(job)
        elif decision.state == "failed" and run is not None and run.shown_state == "dead":
            run.update_status(state="failed", error=decision.reason)
        self._watcher.changed(self._batch, job, status, active.slot.name)

    def _look_at_limits(self) -> None:
        """Marks processes past their time limit, and kills at once those above the memory limit."""
        settings = self._settings
        for active in self._fleet.active:
            if settings.memory_gb and not active.why and active.process.memory() > settings.memory_gb * 2**30:
                active.why = too_much_memory(settings.memory_gb)
                active.process.send(signal.SIGKILL)
            elapsed = monotonic() - active.began if active.began else 0.0
            limited = settings.engine != "slurm"  # there it is the time of an allocation; a run that needs more has another
            if limited and settings.minutes and not active.why and not self._stop and elapsed > 60 * settings.minutes:
                active.why = "time limit of the run reached; it has a checkpoint"


def _overrides_of(run: RunFolder) -> list[str]:
    """Returns the `--set` options that a run was started with."""
    try:
        lines = run.source_path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.removeprefix("# --set ") for line in lines if line.startswith("# --set ")]
