"""Signals that end a run become an exception, so that the run folder can say what happened."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dlcli.errors import Interrupted


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raises Interrupted in the block where the process gets SIGTERM or SIGINT; a second signal ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept: dict[signal.Signals, Any] = {}

    def stop(number: int, _: FrameType | None) -> None:
        for one in kept:
            signal.signal(one, signal.SIG_DFL)
        raise Interrupted(f"stopped by {signal.Signals(number).name}")

    for one in (signal.SIGTERM, signal.SIGINT):
        kept[one] = signal.signal(one, stop)
    try:
        yield
    finally:
        for one, handler in kept.items():
            signal.signal(one, handler)
