"""The jobs whose processes run now: started, stopped, ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from types import FrameType

from dlcli.errors import DlcliError
from dlcli.fleet.batch.devices import Slot
from dlcli.fleet.batch.engines.engine import LOOK, Engine, Process
from dlcli.fleet.batch.worker import STOPS, Order
from dlcli.runs.batches import Batch, Job

_GRACE = 60.0
"""Seconds for a process to write its checkpoint before it is killed."""


@dataclass
class Active:
    """A job that runs: its process, place and start time, 0 while it waits; when it was told to stop, and why if not
    because all of them are."""

    job: Job
    slot: Slot
    process: Process
    began: float = 0.0
    stop_time: float = 0.0
    why: str = ""


class Fleet:
    """The processes of one engine, at most as many as there are places."""

    def __init__(self, engine: Engine, slots: Sequence[Slot]) -> None:
        self._engine = engine
        self._free = list(slots)
        self._registered: list[tuple[Slot, Order]] = []
        self.active: list[Active] = []

    @property
    def has_room(self) -> bool:
        """Whether a place is free for another job."""
        return bool(self._free)

    @property
    def size(self) -> int:
        """How many jobs run at once."""
        return len(self._free) + len(self.active)

    @property
    def has_gpus(self) -> bool:
        """Whether the free places are GPUs of this machine, one each."""
        return any(slot.is_gpu for slot in self._free)

    def follows(self, batch: Batch, job: Job) -> bool:
        """Whether the engine takes over a process of a job that a killed batch started."""
        return self._engine.follows(batch, job)

    def take(self) -> Slot:
        """Takes a place for the next job."""
        return self._free.pop(0)

    def begin(self, slot: Slot, order: Order) -> None:
        """Registers a job to start at the next `wait`, together with the others."""
        self._registered.append((slot, order))

    def wait(self) -> list[tuple[Active, int]]:
        """Starts registered jobs, waits a moment and returns the jobs that have ended with their exit codes; their places are
        free again."""
        registered, self._registered = self._registered, []
        if registered:
            processes = self._engine.begin([order for _, order in registered])
            self.active += [
                Active(order.job, slot, process) for (slot, order), process in zip(registered, processes, strict=True)
            ]
        for active in self.active:
            if not active.began and active.process.has_begun():
                active.began = monotonic()
        self._engine.wait([active.process for active in self.active])
        codes = [(active, active.process.exit_code()) for active in self.active]
        ended = [(active, code) for active, code in codes if code is not None]
        self.active = [active for active, code in codes if code is None]
        self._free += [active.slot for active, _ in ended]
        return ended

    def press(self, *, stop: bool) -> None:
        """Tells processes to stop that should, all of them if `stop`, and kills those that did not do so in time."""
        now = monotonic()
        for active in self.active:
            if (stop or active.why) and not active.stop_time:
                active.stop_time = now
                active.process.send(signal.SIGTERM)
            elif active.stop_time and now - active.stop_time > _GRACE:
                active.process.send(signal.SIGKILL)

    def close(self) -> None:
        """Releases what the engine holds."""
        self._engine.close()

    def abort(self) -> None:
        """Tells every process to stop, with a checkpoint, and waits for them: progress can no longer be recorded."""
        end = monotonic() + _GRACE
        for active in self.active:
            active.process.send(signal.SIGTERM)
        while monotonic() < end and any(_may_run(active.process) for active in self.active):
            sleep(LOOK)
        for active in self.active:
            active.process.send(signal.SIGKILL)


def _may_run(process: Process) -> bool:
    try:
        return process.exit_code() is None
    except DlcliError:  # this ended the fleet: the process could not start
        return False


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Yields a list that receives SIGINT, SIGTERM and SIGHUP while the block runs; what `nohup` ignores stays ignored."""
    signals: list[int] = []

    def take(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    stop_signals = [number for number in STOPS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, take) for number in stop_signals}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
