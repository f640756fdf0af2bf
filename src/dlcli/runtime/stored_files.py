"""Files of decoded data that trainings share: named by their content, written as a whole, deleted when not used for a month."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path

KEPT_DAYS = 30
"""Days after which a file that no training used is deleted when another one is written."""
SUFFIX = ".raw"


def content_key(paths: Iterable[str], settings: object) -> str:
    """Returns the name of the file for decoded data: a SHA-256 of what it depends on.

    Args:
        paths: the files that are decoded, which count by their paths, sizes and times.
        settings: how they are read, as values of JSON.
    """
    digest = hashlib.sha256(json.dumps(settings).encode())
    for path in paths:
        status = os.stat(path)
        digest.update(f"\0{path}\0{status.st_size}\0{status.st_mtime_ns}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def write_whole(path: Path, write: Callable[[BufferedWriter], object]) -> None:
    """Writes a file as a whole, and deletes old files beside it.

    Args:
        path: the file.
        write: writes the content to an open file.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _delete_old(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _delete_old(folder: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86_400
    for path in (*folder.glob(f"*{SUFFIX}"), *folder.glob(".*.tmp")):
        with suppress(OSError):  # another training may delete it too
            if path.lstat().st_mtime < oldest:
                path.unlink()


def free_disk(folder: Path) -> int:
    """Returns the free bytes of the disk on which a folder is, or will be."""
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free
