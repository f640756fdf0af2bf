"""One job of a batch, in a process of its own that was forked from one which has TensorFlow loaded and never used."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dlcli.errors import DlcliError
from dlcli.runs import Run
from dlcli.runs.batches import Batch, Job
from dlcli.runs.files import write_json

PRELOADED = [
    f"dlcli.stages.{name}" for name in ("train", "resume", "closing", "plots", "scoring.pictures", "diagnosis", "reporting")
]
"""What the process that is forked from has imported."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Order:
    """What a process is to do: a job, begun anew or gone on with in `run`; `variables` of the environment name its device."""

    batch: Path
    job: Job
    extra: list[str]
    run: Path | None = None
    offline: bool = False
    memory_gb: float | None = None
    variables: dict[str, str] = field(default_factory=dict)


def work(order: Order) -> None:
    """Trains, and leaves the process with dlcli's exit code; the result file says what went wrong."""
    _settle(order)
    batch = Batch(order.batch)
    try:
        _train(order, batch)
    except DlcliError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        _tell(batch, order.job, type(error).__name__, str(error))
        sys.exit(error.exit_code)
    except BaseException as error:
        traceback.print_exc()
        sys.stderr.flush()
        _tell(batch, order.job, type(error).__name__, f"a defect: {type(error).__name__}: {error}")
        sys.exit(70)


def _settle(order: Order) -> None:
    """Sets the process up: its output to the job's log, its device and memory, an end if the batch's process ends.

    A process group of its own keeps the terminal's Ctrl-C from it: the batch tells it once, by SIGTERM.
    """
    os.setpgid(0, 0)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.environ.update(order.variables)
    batch = Batch(order.batch)
    batch.result_path(order.job).unlink(missing_ok=True)
    log = os.open(batch.log_path(order.job), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if order.memory_gb is not None:
        limit = _data_bytes() + int(order.memory_gb * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _data_bytes() -> int:
    """Returns what the process has of the memory that the limit counts."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmData:"))


def _train(order: Order, batch: Batch) -> None:
    from dlcli.spec.file import load_text
    from dlcli.stages.reporter import Reporter
    from dlcli.stages.resume import resume
    from dlcli.stages.train import train

    job = order.job
    if order.run is not None:
        resume(Run(order.run), Reporter(), overrides=[], schedule=None, offline=order.offline)
        return
    loaded = load_text(job.text, job.file, [*job.overrides, *order.extra])
    train(loaded, batch.runs, Reporter(), offline=order.offline, batch=batch.tag(job))


def _tell(batch: Batch, job: Job, kind: str, text: str) -> None:
    with suppress(OSError):
        write_json(batch.result_path(job), {"kind": kind, "text": text})
