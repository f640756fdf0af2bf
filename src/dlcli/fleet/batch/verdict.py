"""How a job's process ended -> how the job stands, and whether it is worth another try."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path

from dlcli.errors import DamagedFile, Interrupted
from dlcli.fleet.batch.engines.engine import LOST
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Job, JobState, JobStatus

_HALVED = "training.optimizer.gradient_accumulation_steps"


@dataclass(frozen=True)
class Verdict:
    """The state of a job after its process has ended. `again`: it is queued again, with `extra` overrides;
    `killed`: its process was killed, which counts against the retries."""

    state: JobState
    reason: str = ""
    again: bool = False
    killed: bool = False
    extra: list[str] = field(default_factory=list)


def verdict(batch: Batch, job: Job, code: int, run: RunFolder | None, *, stopping: bool, why: str, retries: int) -> Verdict:
    """Returns what follows from an exit code.

    Never tried again: wrong specs and data, a loss that is no number, a disk that is full: they would fail again. Tried again:
    processes that a signal ended, up to `retries` times, and a GPU that was out of memory, once, with half the batch.

    Args:
        batch: the batch.
        job: the job.
        code: the exit code of its process; negative for a signal.
        run: the run it was making, if it came so far.
        stopping: whether the batch was told to stop.
        why: why the batch ended the process, if it did for the job's own sake.
        retries: how often a job that may pass is tried again.
    """
    status = batch.status(job)
    if code == 0 or (run is not None and run.shown_state == "completed"):  # it may have been killed while it wrote a report
        return Verdict("completed")
    if code == LOST:
        code = Interrupted.exit_code if run is not None and run.shown_state == "interrupted" else -signal.SIGKILL
    if why:
        return Verdict("failed", why)
    if stopping and code in (Interrupted.exit_code, -signal.SIGTERM):
        return Verdict("interrupted")
    retry = status.failures < retries
    if code < 0 or code == Interrupted.exit_code:
        ended = f"its process was ended by {_signal(-code)}{_last_words(batch, job)}"
        how = "was interrupted" if code == Interrupted.exit_code else ended
        return Verdict("queued" if retry else "failed", how, again=retry, killed=True)
    kind, text = batch.result(job)
    if kind == "OutOfMemory" and run is not None and not status.extra and _on_gpu(run):
        extra = half_the_batch(run)
        if extra:
            return Verdict("queued", text, again=True, extra=extra)
    return Verdict("failed", text or _reason(run) or f"exit code {code}")


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _reason(run: RunFolder | None) -> str:
    try:
        return run.status().error if run is not None else ""
    except DamagedFile:
        return ""


def _last_words(batch: Batch, job: Job) -> str:
    """Returns the line of a log that reports a lack of memory, if there is one."""
    path: Path = batch.log_path(job)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-50:]
    except OSError:
        return ""
    reason = next((line for line in reversed(lines) if "bad_alloc" in line or "out of memory" in line.lower()), "")
    return f" ({reason.strip()[:200]})" if reason else ""


def _on_gpu(run: RunFolder) -> bool:
    try:
        return bool(run.environment().get("device", {}).get("kind") == "gpu")
    except DamagedFile:
        return False


def half_the_batch(run: RunFolder) -> list[str]:
    """Returns the overrides for half the batch with as many examples in a step of the optimizer; none for a batch of one."""
    experiment = run.experiment()
    size = experiment.data.examples_in_step(run.data()["examples"]["train"])
    steps = 2 * (experiment.training.optimizer.gradient_accumulation_steps or 1)
    if size < 2 or (experiment.training.stages and any(stage.optimizer for stage in experiment.training.stages)):
        return [f"data.batch_size={size // 2}"] if size >= 2 else []
    # The spec may leave the optimizer out, which then has no kind to be changed.
    kind = f"training.optimizer.kind={experiment.training.optimizer.kind}"
    return [f"data.batch_size={size // 2}", kind, f"{_HALVED}={steps}"]


def resumable(run: RunFolder) -> JobStatus | None:
    """Returns a job's state by its run, where the batch was killed before it recorded the state; None if unfinished."""
    state = run.shown_state
    if state == "completed":
        return JobStatus("completed", 1)
    if state == "failed":
        return JobStatus("failed", 1, reason=run.status().error)
    return None
