"""Handles signals: those that end a process raise an exception, or wait for the end of a training step."""

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
    """The requests of signals: `words` names the signal that ends the run, `stop` is the same text while the request waits."""

    def __init__(self) -> None:
        self.words = ""
        self.stop = ""
        self.save = False
        self.waits = False


@contextmanager
def signals_as_exceptions() -> Iterator[StopRequest]:
    """Raises Interrupted in the block when the process receives SIGTERM or SIGINT; a second SIGINT ends it at once.

    While `waits` of the yielded object is set, a first signal is only recorded there, and the code that set it ends the run
    at its next safe place. SIGUSR1 requests a checkpoint, and is ignored where there is none to write.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    handlers: dict[signal.Signals, Any] = {}

    def stop(number: int, _: FrameType | None) -> None:
        for handled in handlers:  # a person sends a second SIGINT; a program that forwards signals may repeat SIGTERM
            signal.signal(handled, signal.SIG_DFL if handled == signal.SIGINT else signal.SIG_IGN)
        request.words = f"stopped by {signal.Signals(number).name}"
        if not request.waits:
            raise Interrupted(request.words)
        request.stop = request.words

    def save(_number: int, _: FrameType | None) -> None:
        request.save = True

    for stop_signal in STOPS:
        if signal.getsignal(stop_signal) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
            handlers[stop_signal] = signal.signal(stop_signal, stop)
    if SAVE is not None:
        handlers[SAVE] = signal.signal(SAVE, save)
    try:
        yield request
    finally:
        for handled, handler in handlers.items():
            signal.signal(handled, handler)
