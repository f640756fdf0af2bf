"""Who writes a run: one process at a time, known by a lock that ends with the process.

The lock is the kernel's (`flock`), on the file `lock` of the run folder. It reaches the processes of one machine, those in
containers among them, and over NFS other machines too. Where it does not reach, what the owner has written in the file tells:
on this machine whether its process is there; on another one whether it has touched the file in the last two minutes, as it
does every 20 seconds. Machines whose clocks differ by more than that are not covered.
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
"""A process that only looks holds the lock for an instant; so it is asked for again, for half a second together."""


@dataclass(frozen=True)
class Owner:
    """A process: its number, its machine, and what tells it from a later one of the same number."""

    pid: int
    host: str
    boot: str
    start: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def lives(self) -> bool:
        """Whether the process is there; for one of this machine only."""
        return _start(self.pid) == self.start


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Holds the lock file `path` for this process while the block runs; the kernel lets it go when the process dies.

    Raises:
        UsageError: another process holds it, or the folder cannot be written.
        DamagedFile: a link, or no file, stands in the lock's place.
    """
    descriptor = _opened(path, what)
    try:
        _refuse_held(path, descriptor, what)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, " ".join(map(str, vars(_here()).values())).encode(), 0)
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
    """Whether a process holds the lock file; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        if fcntl is None:
            return _held_by_its_word(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return _held_by_its_word(descriptor)
        return _held_elsewhere(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path, what: str) -> int:
    """Returns a descriptor of the lock file that stands at the path: a removed one, locked, would keep nobody out."""
    if path.is_symlink() or (path.exists() and not path.is_file()):  # a link would have another file overwritten
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
            elsewhere = _held_by_its_word(descriptor)
        else:
            elsewhere = _held_elsewhere(descriptor) if fcntl is not None else _held_by_its_word(descriptor)
        same = path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor))
        if same and not elsewhere:
            return
        wait = f", or wait {SILENT:.0f} s if it is gone" if elsewhere else ""
        raise UsageError(f"{what} is being written by {_owner(descriptor) or 'another process'}: stop it first{wait}")
    raise UsageError(f"{what} is being written by {_owner(descriptor) or 'another process'}: stop it first")


def _held_by_its_word(descriptor: int) -> bool:
    """Whether the owner that the file names is there, where no lock tells."""
    owner = _owner(descriptor)
    if owner is None:
        return False
    return owner.lives if owner.boot == _here().boot else _held_elsewhere(descriptor)


def _held_elsewhere(descriptor: int) -> bool:
    """Whether a process on another machine, which the lock may not reach, has touched the file lately."""
    owner = _owner(descriptor)
    if owner is None or owner.boot == _here().boot:
        return False
    return abs(time.time() - os.fstat(descriptor).st_mtime) < SILENT


def _owner(descriptor: int) -> Owner | None:
    with suppress(OSError, ValueError):
        pid, host, boot, start = os.pread(descriptor, 400, 0).decode().split(" ")
        return Owner(int(pid), host, boot, start)
    return None


def _here() -> Owner:
    """Returns this process as an owner."""
    return Owner(os.getpid(), socket.gethostname().replace(" ", "_") or "-", _boot(), _start(os.getpid()))


def _boot() -> str:
    """Returns what tells this machine's kernel from all others: containers on it have names of their own."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname().replace(" ", "_") or "-"


def _start(pid: int) -> str:
    """Returns when a process was started, in ticks since the machine was; empty if there is none."""
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
