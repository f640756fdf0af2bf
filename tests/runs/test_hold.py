"""Who holds a run: other processes, processes that are gone, other machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import environment

from dlcli.errors import UsageError
from dlcli.runs.hold import SILENT, held, is_held

HOLDS = """
import sys, time
from pathlib import Path
from dlcli.runs.hold import held
with held(Path(sys.argv[1]), "the run"):
    print("holds", flush=True)
    time.sleep(60)
"""


def _holder(path: Path) -> subprocess.Popen[str]:
    """Starts a process that holds a lock file, and returns once it does."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def test_a_run_is_held_by_one_process_until_it_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = _holder(lock)
    try:
        assert is_held(lock)
        with pytest.raises(UsageError, match=f"^the run is being written by process {process.pid} on "), held(lock, "the run"):
            raise AssertionError
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert is_held(lock) is False
    with held(lock, "the run"):
        assert is_held(lock)
        assert lock.read_text().startswith(f"process {os.getpid()} on ")
    assert is_held(lock) is False


def test_looking_at_a_run_does_not_keep_another_process_from_taking_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    looking = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom pathlib import Path\nfrom dlcli.runs.hold import is_held\n"
            "print('looks', flush=True)\nwhile True: is_held(Path(sys.argv[1]))",
            str(lock),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert looking.stdout is not None
        looking.stdout.readline()
        for _ in range(20):
            with held(lock, "the run"):
                pass
    finally:
        looking.kill()
        looking.communicate()


def test_an_owner_on_another_machine_counts_until_it_has_been_silent(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("process 12 on another.machine\n")
    assert is_held(lock)
    with pytest.raises(UsageError, match=r"process 12 on another\.machine"), held(lock, "the run"):
        raise AssertionError
    silent = time.time() - SILENT - 1
    os.utime(lock, (silent, silent))
    assert is_held(lock) is False
    with held(lock, "the run"):
        pass


def test_where_nothing_can_be_locked_nobody_knows(tmp_path: Path) -> None:
    assert is_held(tmp_path / "lock") is None
