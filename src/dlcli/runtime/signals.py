"""Signals: those that end a process become an exception, or wait for the end of a training step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dlcli.errors import Interrupted

STOPS = (signal.SIGTERM, signal.SIGINT)
SAVE: signal.Signals | None = getattr(signal, "SIGUSR1", None)  # Windows has none


class Asked:
    """What signals have asked for, while they wait: `stop` holds the words of the signal that ends the run."""

    def __init__(self) -> None:
        self.stop = ""
        self.save = False
        self.waits = False


@contextmanager
def signals_as_exceptions() -> Iterator[Asked]:
    """Raises Interrupted in the block where the process gets SIGTERM or SIGINT; a second signal ends it at once.

    While `waits` of the object that it yields is set, a first signal is only noted there: whoever set it ends the run at
    its next safe place. SIGUSR1 asks for a checkpoint, and is passed over where there is none to write.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    kept: dict[signal.Signals, Any] = {}

    def stop(number: int, _: FrameType | None) -> None:
        for one in STOPS:
            signal.signal(one, signal.SIG_DFL)
        words = f"stopped by {signal.Signals(number).name}"
        if not asked.waits:
            raise Interrupted(words)
        asked.stop = words

    def save(_number: int, _: FrameType | None) -> None:
        asked.save = True

    for one in STOPS:
        kept[one] = signal.signal(one, stop)
    if SAVE is not None:
        kept[SAVE] = signal.signal(SAVE, save)
    try:
        yield asked
    finally:
        for one, handler in kept.items():
            signal.signal(one, handler)
