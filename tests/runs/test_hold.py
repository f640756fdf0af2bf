"""Locks of runs: held by other processes, by ended processes, and on other machines."""

from __future__ import annotations

import errno
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
    """Starts a process that holds a lock file, and returns once the file is locked."""
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
        assert lock.read_text().startswith(f"{os.getpid()} ")
    assert is_held(lock) is False


def test_checking_a_lock_does_not_keep_another_process_from_taking_it(tmp_path: Path) -> None:
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


def test_an_owner_on_another_machine_holds_the_run_until_it_is_silent(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("12 another.machine another-kernel 4711")
    assert is_held(lock)
    words = r"process 12 on another\.machine: stop it first, or wait 120 s if it is gone"
    with pytest.raises(UsageError, match=words), held(lock, "the run"):
        raise AssertionError
    silent = time.time() - SILENT - 1
    os.utime(lock, (silent, silent))
    assert is_held(lock) is False
    with held(lock, "the run"):
        pass


def test_a_restarted_container_with_another_name_can_resume_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock, "the run"):
        pid, _, boot, start = lock.read_text().split()
    lock.write_text(f"{pid} another-name {boot} {start}")
    assert is_held(lock) is False
    with held(lock, "the run"):
        pass


def test_a_failed_run_is_released_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with pytest.raises(KeyError), held(lock, "the run"):
        raise KeyError
    assert lock.read_text() == ""


def test_without_kernel_locks_the_process_of_the_owner_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    process = _holder(lock)

    def no_locks(_descriptor: int, _what: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("dlcli.runs.hold.fcntl.flock", no_locks)
    try:
        with pytest.raises(UsageError, match=f"process {process.pid} on "), held(lock, "the run"):
            raise AssertionError
        assert is_held(lock) is True
    finally:
        process.kill()
        process.communicate()
    with held(lock, "the run"):
        pass


@pytest.mark.parametrize("what", ["nothing", "a pipe", "a folder"])
def test_a_path_without_a_lock_file_has_no_state_and_does_not_block(tmp_path: Path, what: str) -> None:
    lock = tmp_path / "lock"
    if what == "a pipe":
        os.mkfifo(lock)
    if what == "a folder":
        lock.mkdir()
    assert is_held(lock) is None


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the run: cannot write to .*gone"), held(tmp_path / "gone" / "lock", "the run"):
        raise AssertionError
