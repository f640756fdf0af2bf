"""One job of a batch in a separate process, forked on this machine from one that has TensorFlow loaded but never used."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

from dlcli.errors import DlcliError, Interrupted
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Job
from dlcli.runs.hold import held, is_held
from dlcli.spec.experiment import Experiment

PRELOADED = ["dlcli.fleet.batch.preload"]
"""What the process that is forked from has imported."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What stops a batch; the fork server never receives them: the batch would lose track of its runs."""
RESUMABLE = ("running", "interrupted")
"""States of a run that the process of a job resumes, once no other process holds it."""
_PATIENCE = 120.0
"""Seconds that a process waits for one of the same job that a killed batch started."""


@dataclass(frozen=True)
class Order:
    """What a process is to do: a job, started afresh or resumed in `run`; `variables` of the environment name its device.

    `check` is called before a job starts; it raises where the job should not start."""

    batch: Path
    job: Job
    extra: list[str]
    run: Path | None = None
    offline: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    check: Callable[[Experiment], None] | None = None


def work(order: Order, until: Callable[[], object] | None = None) -> None:
    """Trains, and leaves the process with dlcli's exit code; the result file says what went wrong.

    Args:
        order: what to do.
        until: returns once the job is no longer needed; by default when the process of the batch ends.
    """
    _settle(order)
    batch = Batch(order.batch)
    try:
        with _alone(batch, order.job):
            _end_after(until or _batch_ended())
            now = as_it_stands(order)
            if now is not None:
                _train(now, batch)
    except DlcliError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        _tell(batch, order.job, type(error).__name__, str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        _tell(batch, order.job, type(error).__name__, f"a defect: {type(error).__name__}: {error}")
        sys.exit(70)


def _settle(order: Order) -> None:
    """Sets the process up: its output to the job's log, its device.

    A separate process group keeps the terminal's Ctrl-C from it: the batch stops it with a single SIGTERM.
    """
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    os.environ.update(order.variables)
    batch = Batch(order.batch)
    batch.result_path(order.job).unlink(missing_ok=True)
    log = os.open(batch.log_path(order.job), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)


@contextmanager
def _alone(batch: Batch, job: Job) -> Iterator[None]:
    """Holds the job while the block runs, once a process that a killed batch started has released it."""
    end = monotonic() + _PATIENCE
    while is_held(batch.lock_path(job)) and monotonic() < end:
        sleep(0.1)
    with held(batch.lock_path(job), f"job {job.number} of batch {batch.id}"):
        yield


def as_it_stands(order: Order) -> Order | None:
    """Returns an order to resume the run that another process has made meanwhile; None if that is complete."""
    batch = Batch(order.batch)
    run = batch.run_of(order.job) if order.run is None else None
    state = run.status().state if run is not None else ""
    if state == "completed":
        return None
    return replace(order, run=run.path) if run is not None and state in RESUMABLE else order


def _batch_ended() -> Callable[[], object]:
    """Returns what waits for the end of the batch's process; leaves at once where it has ended."""
    batch = parent_process()
    if batch is None or not batch.is_alive():
        sys.exit(Interrupted.exit_code)
    return batch.join


def _end_after(wait: Callable[[], object]) -> None:
    """Ends this process, with a checkpoint, once `wait` returns."""

    def end() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=end, daemon=True).start()


def _train(order: Order, batch: Batch) -> None:
    from dlcli.runs.reporter import Reporter
    from dlcli.spec.load import load_text
    from dlcli.training.resume import resume
    from dlcli.training.train import train

    job = order.job
    if order.run is not None:
        resume(RunFolder(order.run), Reporter(), overrides=[], schedule=None, offline=order.offline)
        return
    loaded = load_text(job.text, job.file, [*job.overrides, *order.extra])
    if order.check is not None:
        order.check(loaded.experiment)
    train(loaded, batch.runs, Reporter(), offline=order.offline, batch=batch.tag(job))


def _tell(batch: Batch, job: Job, kind: str, text: str) -> None:
    with suppress(OSError):
        batch.write_result(job, kind, text)
