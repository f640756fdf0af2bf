"""Who writes a run: one process at a time, known by a lock that ends with the process.

The lock is the kernel's (`flock`), on the file `lock` of the run folder. It reaches the processes of one machine, those in
containers among them, and over NFS other machines too. For shared disks where it does not, the owner writes its name into
the file and touches it every 20 seconds: an owner on another machine that was silent for two minutes counts as gone.
Machines whose clocks differ by more than that are not covered.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Holds the lock file `path` for this process while the block runs; the kernel lets it go when the process dies.

    Raises:
        UsageError: another process holds it.
        DamagedFile: a link, or no file, stands in the lock's place.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):  # a link would have another file overwritten
        raise DamagedFile(f"{path}: not a file of the run's own")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _locked(descriptor) or _lives_elsewhere(path):
            owner = _owner(path)
            raise UsageError(f"{what} is being written by {owner or 'another process'}: stop it first")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        with _touched(path):
            yield
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock file; None where it cannot be told."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    try:
        if fcntl is None:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return _lives_elsewhere(path)


def _locked(descriptor: int) -> bool:
    """Whether the lock was free and is now this process's; on a file system without locks it always is."""
    if fcntl is None:
        return True
    for attempt in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05 if attempt + 1 < _TRIES else 0)
        except OSError:
            return True
        else:
            return True
    return False


def _owner(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(300).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _lives_elsewhere(path: Path) -> bool:
    """Whether a process on another machine, which the lock does not reach, has touched the file lately."""
    found = re.fullmatch(r"process \d+ on (\S+)", _owner(path))
    if found is None or found.group(1) == socket.gethostname():
        return False
    with suppress(OSError):
        return abs(time.time() - path.stat().st_mtime) < SILENT
    return False


@contextmanager
def _touched(path: Path) -> Iterator[None]:
    """Touches the file every 20 seconds while the block runs."""
    ended = Event()

    def touch() -> None:
        while not ended.wait(TOUCHED_EVERY):
            with suppress(OSError):
                os.utime(path)

    thread = Thread(target=touch, name="dlcli run lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
