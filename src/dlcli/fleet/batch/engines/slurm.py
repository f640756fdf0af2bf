"""Jobs on a SLURM cluster, through submitit: those that ask for the same are one array job."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from dlcli.errors import DlcliError, RunFailed, UsageError
from dlcli.fleet.batch.engines.engine import LOOK, LOST, Process
from dlcli.fleet.batch.engines.slurm_queue import LocalQueue, Queue, noted
from dlcli.fleet.batch.engines.slurm_task import SlurmTask
from dlcli.fleet.batch.worker import Order
from dlcli.program import install_command
from dlcli.runs.batches import Batch, Job, Settings
from dlcli.runs.hold import is_held
from dlcli.runtime.python import python_command
from dlcli.spec.experiment import asks_for_gpus

LOCAL = "local"
"""The address that has submitit run tasks on this machine, without SLURM, for trying out."""
_ARRAY = 1000
"""Tasks of one array: SLURM's own limit, unless its MaxArraySize says otherwise, is one more."""
_ALLOCATIONS = 100
"""How often a run that needs more time than one allocation has is queued again."""
_MINUTES = 60
_WARNING = 90
"""Seconds before an allocation's end at which the run must write its checkpoint."""
_LATER = re.compile(r"contact slurm|timed? ?out|temporar|connect|zero bytes|standby|submitjob", re.IGNORECASE)
"""What `sbatch` says where it may take the same job later: its controller is busy or away, or a limit of jobs is reached."""
_LIMIT = re.compile(r"submitjob|job submit limit", re.IGNORECASE)
"""What it says of that limit, of which each task of an array is a job; the second may mean another one, which stays."""
_ASK_AGAIN = 30.0
_LATE = 10.0
"""Seconds that the file with a task's result may come after SLURM has said that the task is over."""


@dataclass(frozen=True)
class Request:
    """What a job requests from SLURM; jobs with equal requests go into one array."""

    cpus: int
    gpus: int
    memory_gb: float | None
    minutes: int
    options: tuple[tuple[str, str | int | bool], ...]

    @property
    def has_gpus(self) -> bool:
        """Whether GPUs are requested, perhaps with options that only SLURM knows."""
        return self.gpus > 0 or asks_for_gpus(dict(self.options))

    def parameters(self) -> dict[str, Any]:
        """Returns the arguments of submitit's `update_parameters`.

        `srun` takes the cores of its step from its own command line only, since SLURM 22.05:
        https://slurm.schedmd.com/news.html
        """
        return {
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus or None,
            "mem_gb": self.memory_gb,
            "timeout_min": self.minutes,
            "slurm_signal_delay_s": min(_WARNING, 20 * self.minutes),
            "slurm_array_parallelism": _ARRAY,
            "slurm_srun_args": [f"--cpus-per-task={self.cpus}"],
            "slurm_additional_parameters": {"requeue": True, **dict(self.options)},
        }


def requested(order: Order, settings: Settings) -> Request:
    """Returns what a job requests: its spec's `hardware.resources`, or the batch's settings instead.

    Raises:
        SpecError: the spec has become invalid since the batch was made.
    """
    from dlcli.spec.load import load_text

    job = order.job
    hardware = load_text(job.text, job.file, [*job.overrides, *order.extra]).experiment.hardware
    resources = hardware.resources
    return Request(
        resources.cpus,
        0 if resources.gpus is None and asks_for_gpus(resources.slurm) else hardware.gpus or 0,
        settings.memory_gb or resources.memory_gb,
        ceil(settings.minutes or resources.minutes or _MINUTES),
        tuple((name, value) for name, value in sorted(resources.slurm.items()) if value is not False),
    )


class SlurmEngine:
    """Submits each job as a task of an array."""

    def __init__(self, settings: Settings) -> None:
        """Checks that jobs can be submitted.

        Raises:
            UsageError: submitit or SLURM is not there, or an option is not for SLURM.
        """
        if settings.gpus or settings.per_gpu != 1:
            raise UsageError("--gpus and --per-gpu are for the GPUs of this machine; with SLURM, set hardware.resources.gpus")
        if settings.address not in ("", LOCAL):
            raise UsageError(f"--address: --engine slurm only takes `{LOCAL}`, which runs tasks here without SLURM")
        if importlib.util.find_spec("submitit") is None:
            raise UsageError(f"--engine slurm needs the package submitit: {install_command('slurm')}")
        self._local = settings.address == LOCAL
        missing = [] if self._local else [name for name in ("sbatch", "srun", "squeue", "scancel") if not shutil.which(name)]
        if missing:
            words = f"--engine slurm needs the commands of SLURM, but `{missing[0]}` is missing"
            raise UsageError(f"{words}: run it on a login node, or test it with --address {LOCAL}")
        self._settings = settings
        self._queue: Queue | None = None
        self._unsent: list[_Unsent] = []
        self._tasks: list[SlurmProcess] = []
        self._tried = 0.0

    def follows(self, batch: Batch, job: Job) -> bool:
        """Whether a task of a killed batch is in SLURM's queue, runs, or has ended unnoticed."""
        return self._noted(batch, job) is not None

    def begin(self, orders: Sequence[Order]) -> list[Process]:
        """Submits an array for each request; tasks that a killed batch has submitted are taken over instead.

        Only a job that SLURM refuses fails; those that it may accept later are submitted then.

        Raises:
            RunFailed: SLURM does not answer, so that the state of a killed batch's tasks is unknown.
        """
        started: dict[int, Process] = {}
        groups: dict[Request, list[int]] = {}
        for at, order in enumerate(orders):
            batch = Batch(order.batch)
            number = self._noted(batch, order.job)
            if number is not None:
                started[at] = process = SlurmProcess(number, batch, order.job, self._queue_of(batch))
                self._tasks.append(process)
                continue
            batch.task_path(order.job).unlink(missing_ok=True)
            try:
                groups.setdefault(requested(order, self._settings), []).append(at)
            except DlcliError as error:
                started[at] = _Refused(batch, order.job, error)
        for request, places in groups.items():
            for first in range(0, len(places), _ARRAY):
                part = places[first : first + _ARRAY]
                started.update(zip(part, self._sent(request, [orders[at] for at in part]), strict=True))
        return [started[at] for at in range(len(orders))]

    def _sent(self, request: Request, orders: Sequence[Order]) -> list[Process]:
        """Submits an array; jobs that SLURM does not take now wait."""
        self._tried = monotonic()
        accepted = self._accepted(request, orders)
        unsent = [_Unsent(request, order) for order in orders[len(accepted) :]]
        for process in unsent:
            _log(
                Batch(process.order.batch),
                process.order.job,
                f"SLURM does not accept it now; it is submitted again every {_ASK_AGAIN:g} s",
            )
        self._unsent += unsent
        return [*accepted, *unsent]

    def _accepted(self, request: Request, orders: Sequence[Order]) -> Sequence[Process]:
        """Returns the processes of as many of the first jobs as SLURM accepts now; of all if it refuses them for good."""
        count = len(orders)
        while True:
            try:
                return self._submitted(request, orders[:count])
            except RunFailed as error:
                words = str(error)
                if _LIMIT.search(words) and count > 1:
                    count //= 2
                elif _LATER.search(words) or (_LIMIT.search(words) and self._has_tasks()):
                    return []
                else:
                    return [_Refused(Batch(order.batch), order.job, error) for order in orders]

    def _has_tasks(self) -> bool:
        """Whether tasks of this batch fill the queue: a limit that a job meets beside none will not pass."""
        return any(not task.is_over for task in self._tasks)

    def _send_again(self) -> None:
        """Submits waiting jobs, an array for each request, until SLURM does not accept all of one."""
        self._tried = monotonic()
        self._unsent = [task for task in self._unsent if task.is_wanted]
        for request in dict.fromkeys(task.request for task in self._unsent):
            part = [task for task in self._unsent if task.request == request][:_ARRAY]
            accepted = self._accepted(request, [task.order for task in part])
            for task, process in zip(part, accepted, strict=False):
                task.process = process
            self._unsent = [task for task in self._unsent if task.process is None]
            if len(accepted) < len(part):
                return

    def _submitted(self, request: Request, orders: Sequence[Order]) -> list[SlurmProcess]:
        import submitit

        batch = Batch(orders[0].batch)
        queue = self._queue_of(batch)
        options = {"max_num_timeout": _ALLOCATIONS, "python": shlex.join(python_command())}
        name = "local" if self._local else "slurm"
        executor = submitit.AutoExecutor(queue.folder, name, **{f"{name}_{key}": value for key, value in options.items()})
        executor.update_parameters(name=f"dlcli-{batch.id}", **request.parameters())
        hidden = {} if request.has_gpus else {"CUDA_VISIBLE_DEVICES": "-1"}
        tasks = [SlurmTask(replace(order, variables=order.variables | hidden)) for order in orders]
        try:
            jobs = executor.submit_array(tasks)
        except RuntimeError as error:  # submitit's errors are
            _remove_unsent(queue.folder)
            words = next((line for line in str(error).splitlines() if "sbatch: error" in line), str(error))
            raise RunFailed(f"SLURM rejected the job: {words.strip()}") from None
        numbers = [noted(batch, order.job, job.job_id) for job, order in zip(jobs, orders, strict=True)]
        submitted = [SlurmProcess(number, batch, order.job, queue) for number, order in zip(numbers, orders, strict=True)]
        self._tasks = [task for task in self._tasks if not task.is_over] + submitted
        return submitted

    def _noted(self, batch: Batch, job: Job) -> str | None:
        """Returns the number of the task that a job was submitted as, if it may still run, or has ended unseen."""
        number = noted(batch, job)
        return number if re.fullmatch(r"\d+(_\d+)?", number) and self._queue_of(batch).has(number) else None

    def _queue_of(self, batch: Batch) -> Queue:
        if self._queue is None:
            self._queue = (LocalQueue if self._local else Queue)(batch.tasks_path)
        return self._queue

    def wait(self, processes: Sequence[Any]) -> None:
        """Waits a moment; how tasks have ended is seen later."""
        sleep(LOOK)
        if self._unsent and monotonic() - self._tried > _ASK_AGAIN:
            self._send_again()

    def close(self) -> None:
        """Does nothing: SLURM keeps the tasks."""


def refuse_left_tasks(batch: Batch, settings: Settings) -> None:
    """Refuses to resume without SLURM a batch whose tasks run or are in SLURM's queue.

    Args:
        batch: the batch.
        settings: as it ran with SLURM.

    Raises:
        UsageError: there are such tasks.
        RunFailed: SLURM does not answer, so that this is unknown.
    """
    queue = (LocalQueue if settings.address == LOCAL else Queue)(batch.tasks_path)
    numbers = [number for number in (noted(batch, job) for job in batch.jobs()) if number]
    pending = [number for number in numbers if queue.has(number) and not queue.has_result(number)]
    if pending:
        words = f"SLURM still has {len(pending)} of its runs ({', '.join(pending[:3])}{', ...' if len(pending) > 3 else ''})"
        raise UsageError(f"{words}: resume it with --engine slurm, or cancel them first: scancel --name=dlcli-{batch.id}")


class SlurmProcess:
    """A SLURM task, which runs, waits in the queue, or waits there again to resume its run."""

    def __init__(self, number: str, batch: Batch, job: Job, queue: Queue) -> None:
        self._number, self._batch, self._job, self._queue = number, batch, job, queue
        self._code: int | None = None
        self._over = 0.0
        queue.add(number)

    @property
    def is_over(self) -> bool:
        """Whether its end was seen."""
        return self._code is not None

    def exit_code(self) -> int | None:
        """Returns the exit code in the task's result; where there is none what SLURM says of it; None while it is not over."""
        if self._code is None:
            self._queue.look()
            self._code = self._result_code() if self._queue.has_result(self._number) else self._unseen()
            if self._code is not None:
                self._batch.task_path(self._job).unlink(missing_ok=True)
        return self._code

    def _result_code(self) -> int:
        """Returns the exit code that the task's result holds; a defect of the task is reported as the job's end."""
        result = self._queue.take_result(self._number)
        if result is not None and not result.error:
            return result.code
        self._tell(result.error if result is not None else self._queue.last_words(self._number))
        return 1

    def _unseen(self) -> int | None:
        """Returns the exit code of a task without a result; its file may come late, and its process may be about to end."""
        state = self._queue.state(self._number)
        if state is None:
            self._over = 0.0
            return None
        self._over = self._over or monotonic()
        stopped = state == "CANCELLED" and self._queue.is_stopping(self._number)
        if is_held(self._batch.lock_path(self._job)) or (not stopped and monotonic() - self._over < _LATE):
            return None
        if stopped:
            return -signal.SIGTERM
        if state in ("", "COMPLETED"):
            return LOST
        words = f"SLURM ended job {self._number}: {state.lower().replace('_', ' ')}"
        _log(self._batch, self._job, words)
        if state != "FAILED":
            return -signal.SIGKILL
        self._tell(f"{words}; {self._queue.last_words(self._number)}")
        return 1

    def _tell(self, text: str) -> None:
        with suppress(OSError):
            self._batch.write_result(self._job, "RunFailed", text)

    def has_begun(self) -> bool:
        """Whether it ran when SLURM was last queried."""
        return self._queue.runs(self._number)

    def send(self, number: int) -> None:
        """Has the task end, with a checkpoint if it runs; or cancels it."""
        self._queue.tell(self._number, number)

    def memory(self) -> int:
        """Returns 0: SLURM enforces the limit."""
        return 0


def _remove_unsent(folder: Path) -> None:
    """Removes submitit's files for an array that was not accepted; those of other arrays have numbers in their names."""
    for path in [*folder.glob("*.pkl"), *folder.glob(".submission_file_*.sh")]:
        if re.fullmatch(r"[0-9a-f]{32}\.pkl|\.submission_file_[0-9a-f]{32}\.sh", path.name) and not path.is_symlink():
            path.unlink(missing_ok=True)


def _log(batch: Batch, job: Job, words: str) -> None:
    with suppress(OSError), batch.log_path(job).open("a", encoding="utf-8") as log:
        log.write(words + "\n")


class _Unsent:
    """A job that SLURM does not accept yet, and its task once it is submitted."""

    def __init__(self, request: Request, order: Order) -> None:
        self.request, self.order = request, order
        self.process: Process | None = None
        self.is_wanted = True

    def exit_code(self) -> int | None:
        """Returns the task's exit code; that of a terminated process if it was stopped before there was a task."""
        if self.process is not None:
            return self.process.exit_code()
        return None if self.is_wanted else -signal.SIGTERM

    def has_begun(self) -> bool:
        """Whether the task runs."""
        return self.process is not None and self.process.has_begun()

    def send(self, number: int) -> None:
        """Has the task end, or never be submitted."""
        self.is_wanted = False
        if self.process is not None:
            self.process.send(number)

    def memory(self) -> int:
        """Returns 0."""
        return 0


class _Refused:
    """A job that could not be submitted, for its own sake."""

    def __init__(self, batch: Batch, job: Job, error: DlcliError) -> None:
        batch.write_result(job, type(error).__name__, str(error))
        self._code = error.exit_code

    def exit_code(self) -> int:
        """Returns the error's."""
        return self._code

    def has_begun(self) -> bool:
        """Returns False."""
        return False

    def send(self, number: int) -> None:
        """Does nothing."""

    def memory(self) -> int:
        """Returns 0."""
        return 0
