"""The states that SLURM reports for a batch's tasks, queried rarely, and the orders sent to tasks."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from dlcli.errors import DamagedFile, RunFailed
from dlcli.runs.batches import Batch, Job
from dlcli.runs.task_results import ENDING, TaskResult, task_result_path

_LISTED = 1.0
_ASKED = 5.0
"""Seconds between two questions to SLURM, whose controller serves everybody."""
_PATIENCE = 60.0
_OVER = {
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "BOOT_FAIL",
    "DEADLINE",
}
STOP = signal.SIGHUP
"""Tells a task to end with a checkpoint and not to be queued again: SLURM itself never sends it."""


def noted(batch: Batch, job: Job, number: str = "") -> str:
    """Records that a job was submitted as a task, unless another task has it, and returns the task that has it.

    The batch does so once SLURM has taken the task, and the task when it begins: where a batch was killed in between, and
    the next one has submitted the job again, the first recorded task has it, and the other ends at once.
    Without a number nothing is recorded, and the result may be empty.
    """
    path = batch.task_path(job)
    if number:
        whole = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        whole.write_text(number, encoding="ascii")
        with suppress(FileExistsError):
            os.link(whole, path)  # there with its content or not at all
        whole.unlink()
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return number


class Queue:
    """SLURM's queue and the folder with submitit's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._added: dict[str, float] = {}
        self._states: dict[str, str] = {}
        self._results: set[str] = set()
        self._listed = self._tried = self._answered = float("-inf")
        self._sent: dict[str, int] = {}
        self._to_tell: list[str] = []
        self._to_cancel: list[str] = []

    def add(self, number: str) -> None:
        """Takes a task that is in the queue from now on."""
        self._added[number] = monotonic()

    def look(self) -> None:
        """Sends pending orders, lists the results and queries SLURM, each not too often."""
        numbers, self._to_tell = self._to_tell, []
        cancelled, self._to_cancel = self._to_cancel, []
        if numbers:
            self._stop(numbers)
        if cancelled:
            self._cancel(cancelled)
        now = monotonic()
        if now - self._listed > _LISTED:
            self._listed = now
            self._list()
        if now - self._tried > _ASKED:
            self._tried = now
            with suppress(RunFailed):  # it may answer next time; results are seen without it
                self._ask()

    def _list(self) -> None:
        with suppress(FileNotFoundError):
            self._results = {name for name in os.listdir(self.folder) if name.endswith((ENDING, "_result.pkl"))}

    def _ask(self) -> None:
        """Asks for the states of all tasks of this user, those that have just ended among them."""
        lines = _called(["squeue", "--me", "--states=all", "--array", "--noheader", "--format=%i %T"]).splitlines()
        self._states = dict(line.split(maxsplit=1) for line in lines if " " in line.strip())
        self._answered = monotonic()

    def has(self, number: str) -> bool:
        """Whether a task is in the queue, or has a result.

        Raises:
            RunFailed: SLURM does not answer, so that this is unknown.
        """
        self._list()
        if self.has_result(number):
            return True
        if monotonic() - self._answered > _ASKED:
            self._ask()
        return self._states.get(number, "COMPLETED") not in _OVER

    def has_result(self, number: str) -> bool:
        """Whether a task had a result at the last check: its own, or submitit's where there is none of its own."""
        return bool({self.result_path(number).name, f"{number}_0_result.pkl"} & self._results)

    def result_path(self, number: str) -> Path:
        """Returns the file of a task's result."""
        return task_result_path(self.folder, number)

    def take_result(self, number: str) -> TaskResult | None:
        """Returns a task's result and removes its files; None where there is none that can be read.

        submitit's own result is a pickle, which could run code: it is never read.
        """
        path = self.result_path(number)
        try:
            result = TaskResult.read(path) if path.name in self._results else None
        except DamagedFile:
            result = None
        for task_file in (path, self.folder / f"{number}_0_result.pkl"):
            task_file.unlink(missing_ok=True)
        return result

    def state(self, number: str) -> str | None:
        """Returns the state of a task that is over, empty where SLURM knows it no more; None while it is not over."""
        if self._answered < self._added[number] + _LISTED:
            return None
        state = self._states.get(number, "")
        return state if state in _OVER or not state else None

    def runs(self, number: str) -> bool:
        """Whether a task ran when SLURM was last queried."""
        return self._states.get(number) == "RUNNING"

    def tell(self, number: str, what: int) -> None:
        """Has a task end at the next update: with a checkpoint, or at once for SIGKILL."""
        if self._sent.get(number) == what:
            return
        self._sent[number] = what
        (self._to_cancel if what == signal.SIGKILL else self._to_tell).append(number)

    def is_stopping(self, number: str) -> bool:
        """Whether a task was told to stop."""
        return number in self._sent

    def last_words(self, number: str) -> str:
        """Returns the last line that a task has printed."""
        try:
            lines = (self.folder / f"{number}_0_log.err").read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return "it has no output"
        return next((line.strip() for line in reversed(lines) if line.strip()), "it has no output")

    def _stop(self, numbers: Sequence[str]) -> None:
        """Takes waiting tasks off the queue and sends the signal to the processes of those that run."""
        with suppress(RunFailed):  # one that has ended meanwhile
            _called(["scancel", "--quiet", "--state=PENDING", *numbers])
        with suppress(RunFailed):
            _called(["scancel", "--quiet", f"--signal={STOP.name.removeprefix('SIG')}", *numbers])

    def _cancel(self, numbers: Sequence[str]) -> None:
        with suppress(RunFailed):
            _called(["scancel", "--quiet", *numbers])


class LocalQueue(Queue):
    """The same for submitit's tasks on this machine: a number is that of the process that watches over a task."""

    def _ask(self) -> None:
        self._states = {number: "RUNNING" for number in self._added if _lives(number)}
        self._answered = monotonic()

    def has(self, number: str) -> bool:
        """Whether a task's process runs, or has left a result."""
        self._list()
        return self.has_result(number) or _lives(number)

    def _stop(self, numbers: Sequence[str]) -> None:
        self._send(numbers, STOP)

    def _cancel(self, numbers: Sequence[str]) -> None:
        self._send(numbers, signal.SIGKILL)

    def _send(self, numbers: Sequence[str], number: int) -> None:
        """Signals the tasks themselves: what watches over them would pass on SIGTERM only."""
        import psutil

        for task in numbers:
            with suppress(psutil.Error):
                for child in psutil.Process(int(task)).children():
                    child.send_signal(number)


def _lives(number: str) -> bool:
    import psutil

    try:
        process = psutil.Process(int(number))
        return process.status() != psutil.STATUS_ZOMBIE and "submitit.local._local" in process.cmdline()
    except psutil.Error:
        return False


def _called(command: list[str]) -> str:
    """Returns what a command of SLURM's prints.

    Raises:
        RunFailed: it does not answer.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        words = (getattr(error, "stderr", "") or str(error)).strip()
        raise RunFailed(f"SLURM does not respond: {command[0]}: {words}") from None
