"""Who writes a run: one process at a time, known by a lock that ends with the process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlcli.errors import DamagedFile, UsageError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no such locks
    fcntl = None  # type: ignore[assignment]


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
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = path.read_text(encoding="utf-8", errors="replace").strip()
                raise UsageError(f"{what} is being written by {owner or 'another process'}: stop it first") from None
            except OSError:
                pass  # a file system without locks
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(descriptor)
