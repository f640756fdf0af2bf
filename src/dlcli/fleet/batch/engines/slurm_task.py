"""What a task of SLURM's does: one job of a batch, again and again until its run has had the time that it needs."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import FrameType
from typing import Any

from dlcli.errors import Interrupted
from dlcli.fleet.batch.engines.slurm_queue import STOP, noted
from dlcli.fleet.batch.engines.task import run_order
from dlcli.fleet.batch.worker import Order, as_it_stands
from dlcli.runs.batches import Batch
from dlcli.runs.task_results import TaskResult, task_result_path


class SlurmTask:
    """Is called by submitit on the machine that SLURM gives; submitit queues it again where `checkpoint` is there."""

    def __init__(self, order: Order) -> None:
        self.order = order

    def checkpoint(self) -> Any:
        """Returns what submitit has the next allocation do: the same, which finds the run's checkpoint."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(SlurmTask(self.order))

    def __call__(self) -> int:
        """Runs the job, records its exit code and returns it; exits the process where the job continues later."""
        from submitit import JobEnvironment

        path = task_result_path(Batch(self.order.batch).tasks_path, JobEnvironment().job_id)
        try:
            code = self._run()
        except Exception as error:
            text = f"{type(error).__name__}: {error}".strip()
            TaskResult(code=1, error=text.splitlines()[0]).write(path)
            raise
        TaskResult(code=code).write(path)
        return code

    def _run(self) -> int:
        """Returns the exit code of the job; exits the process where the job continues in another allocation.

        Three signals reach it. submitit's own, USR2, says that the time is nearly over or that the task is preempted; SIGTERM
        comes with preemption too, and with `scancel`; SIGHUP is the batch's word to end and not to be queued again. To the
        run each of them is a SIGTERM.
        """
        from submitit import JobEnvironment

        environment = JobEnvironment()
        order = self.due(environment.job_id)
        if isinstance(order, int):
            return order
        soon = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")
        queue_again = signal.getsignal(soon)
        signals: list[int] = []

        def note(number: int, _frame: FrameType | None) -> None:
            signals.append(number)

        def next_signal() -> int:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [soon])
            return signal.SIGTERM if signals else 0

        for number in (soon, signal.SIGTERM, STOP):
            signal.signal(number, note)
        # SLURM signals all processes of a task. The run starts with this signal blocked: it would end the run at once.
        signal.pthread_sigmask(signal.SIG_BLOCK, [soon])
        code = run_order(order, next_signal)
        if STOP in signals:
            return Interrupted.exit_code if code < 0 else code
        if code == Interrupted.exit_code or (signals and code < 0):
            if soon not in signals and not _is_running(environment.job_id):
                sys.exit(Interrupted.exit_code)  # cancelled, or SLURM queues it again itself: no result is to be seen
            assert callable(queue_again)
            queue_again(soon, None)
        return code

    def due(self, number: str) -> Order | int:
        """Returns what is to be done now, or an exit code where nothing is: another task or process has the job, or had it."""
        batch, job = Batch(self.order.batch), self.order.job
        if batch.status(job).state != "running" or noted(batch, job, number) != number:
            return Interrupted.exit_code
        return as_it_stands(self.order) or 0


def _is_running(number: str) -> bool:
    """Whether SLURM reports that it neither cancels a task nor withdraws its machine."""
    command = ["squeue", "--noheader", f"--jobs={number}", "--format=%T"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip() == "RUNNING"
    except (OSError, subprocess.SubprocessError):
        return True
