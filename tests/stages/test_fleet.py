"""What a batch and a sweep hear while they run."""

from __future__ import annotations

import os
import signal

from dlcli.stages.batch.active import noted_signals


def test_signals_are_noted_and_heard_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with noted_signals() as got:
        os.kill(os.getpid(), signal.SIGTERM)
    assert got == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before


def test_under_nohup_a_batch_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with noted_signals() as got:
            os.kill(os.getpid(), signal.SIGHUP)
        assert got == []
    finally:
        signal.signal(signal.SIGHUP, before)
