"""Locks a run folder: one process at a time may write a run, and its lock ends with the process.

The lock is the kernel's (`flock`), on the file `lock` of the run folder. It is visible to all processes of one machine,
including those in containers, and over NFS also to other machines. Where it is not visible, the owner recorded in the file
decides: on this machine, whether its process exists; on another one, whether it has touched the file in the last two minutes,
as it does every 20 seconds. Machines whose clocks differ by more than that are not supported.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from dlcli.errors import DamagedFile, UsageError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no such locks
    fcntl = None  # type: ignore[assignment]

TOUCHED_EVERY = 20.0
SILENT = 120.0
_TRIES = 10
"""Attempts to take the lock, for half a second in total: a process that only checks the lock holds it for an instant."""


@dataclass(frozen=True)
class Owner:
    """A process: its number, its host, and the boot and start by which it differs from a later process of the same number."""

    pid: int
    host: str
    boot: str
    start: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def lives(self) -> bool:
        """Whether the process exists; only valid for a process of this machine."""
        return _start(self.pid) == self.start


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Holds the lock file `path` for this process while the block runs; the kernel releases it when the process ends.

    Raises:
        UsageError: another process holds the lock, or the folder cannot be written.
        DamagedFile: the path is a link or no regular file.
    """
    descriptor = _opened(path, what)
    try:
        _refuse_held(path, descriptor, what)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, " ".join(map(str, vars(_this_process()).values())).encode(), 0)
        except OSError as error:
            raise UsageError(f"cannot write to {path.parent}: {error.strerror}") from None
        try:
            with _touched(descriptor):
                yield
        finally:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock file; None if there is no lock file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        if fcntl is None:
            return _is_held_by_recorded_owner(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return _is_held_by_recorded_owner(descriptor)
        return _is_held_on_another_machine(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path, what: str) -> int:
    """Returns a descriptor of the lock file at the path, which is created if necessary."""
    if path.is_symlink() or (path.exists() and not path.is_file()):  # writing through a link would overwrite another file
        raise DamagedFile(f"{path}: not a file inside the run")
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise UsageError(f"{what}: cannot write to {path.parent}: {error.strerror}") from None


def _refuse_held(path: Path, descriptor: int, what: str) -> None:
    """Takes the kernel's lock, or raises UsageError."""
    for attempt in range(_TRIES):
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05 if attempt + 1 < _TRIES else 0)
            continue
        except OSError:  # a file system without locks
            elsewhere = _is_held_by_recorded_owner(descriptor)
        else:
            elsewhere = _is_held_on_another_machine(descriptor) if fcntl is not None else _is_held_by_recorded_owner(descriptor)
        same = path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor))
        if same and not elsewhere:
            return
        wait = f", or wait {SILENT:.0f} s if it is gone" if elsewhere else ""
        raise UsageError(f"{what} is being written by {_owner(descriptor) or 'another process'}: stop it first{wait}")
    raise UsageError(f"{what} is being written by {_owner(descriptor) or 'another process'}: stop it first")


def _is_held_by_recorded_owner(descriptor: int) -> bool:
    """Whether the owner recorded in the file exists, for file systems without locks."""
    owner = _owner(descriptor)
    if owner is None:
        return False
    return owner.lives if owner.boot == _this_process().boot else _is_held_on_another_machine(descriptor)


def _is_held_on_another_machine(descriptor: int) -> bool:
    """Whether a process on another machine, where the lock may be invisible, has touched the file recently."""
    owner = _owner(descriptor)
    if owner is None or owner.boot == _this_process().boot:
        return False
    return abs(time.time() - os.fstat(descriptor).st_mtime) < SILENT


def _owner(descriptor: int) -> Owner | None:
    with suppress(OSError, ValueError):
        pid, host, boot, start = os.pread(descriptor, 400, 0).decode().split(" ")
        return Owner(int(pid), host, boot, start)
    return None


def _this_process() -> Owner:
    """Returns this process as an owner."""
    return Owner(os.getpid(), socket.gethostname().replace(" ", "_") or "-", _boot(), _start(os.getpid()))


def _boot() -> str:
    """Returns an id of this machine's running kernel, which is the same in all containers on the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname().replace(" ", "_") or "-"


def _start(pid: int) -> str:
    """Returns the start of a process in ticks since the machine's boot; empty if there is no such process."""
    try:
        stat_line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat_line.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        import psutil

        try:
            return str(int(psutil.Process(pid).create_time()))
        except psutil.Error:
            return ""


@contextmanager
def _touched(descriptor: int) -> Iterator[None]:
    """Touches the file every 20 seconds while the block runs."""
    ended = Event()

    def touch() -> None:
        while not ended.wait(TOUCHED_EVERY):
            with suppress(OSError):
                os.utime(descriptor)

    thread = Thread(target=touch, name="dlcli run lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
