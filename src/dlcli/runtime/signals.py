"""Signals: those that end a process become an exception, or wait for the end of a training step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dlcli.errors import Interrupted

# Windows has neither SIGHUP, which a closed terminal sends, nor SIGUSR1.
STOPS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
SAVE: signal.Signals | None = getattr(signal, "SIGUSR1", None)


class StopRequest:
    """What signals have asked for: `words` tells which one ends the run, `stop` the same while it waits."""

    def __init__(self) -> None:
        self.words = ""
        self.stop = ""
        self.save = False
        self.waits = False


@contextmanager
def signals_as_exceptions() -> Iterator[StopRequest]:
    """Raises Interrupted in the block where the process gets SIGTERM or SIGINT; a second SIGINT ends it at once.

    While `waits` of the object that it yields is set, a first signal is only noted there: whoever set it ends the run at
    its next safe place. SIGUSR1 asks for a checkpoint, and is passed over where there is none to write.
    """
    asked = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    kept: dict[signal.Signals, Any] = {}

    def stop(number: int, _: FrameType | None) -> None:
        for one in kept:  # a second SIGINT is a person's; what passes signals on may send another SIGTERM twice
            signal.signal(one, signal.SIG_DFL if one == signal.SIGINT else signal.SIG_IGN)
        asked.words = f"stopped by {signal.Signals(number).name}"
        if not asked.waits:
            raise Interrupted(asked.words)
        asked.stop = asked.words

    def save(_number: int, _: FrameType | None) -> None:
        asked.save = True

    for one in STOPS:
        if signal.getsignal(one) is not signal.SIG_IGN:  # `nohup` has it ignored
            kept[one] = signal.signal(one, stop)
    if SAVE is not None:
        kept[SAVE] = signal.signal(SAVE, save)
    try:
        yield asked
    finally:
        for one, handler in kept.items():
            signal.signal(one, handler)
