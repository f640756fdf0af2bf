"""Files of cached features: `<key>-<SHA-256 of the file>.npy`, within a budget of disk space.

Files are written atomically, so that concurrent runs may share the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from dlcli.arrays import Array
from dlcli.data.memory_limit import fits_in_memory
from dlcli.errors import DamagedFile
from dlcli.runs.files import own_folder
from dlcli.runtime.stored_arrays import UNREADABLE_ARRAYS

Shape = tuple[int | None, ...]
_NAME = re.compile(r"([0-9a-f]{64})-([0-9a-f]{64})\.npy")


class FeatureCache:
    """A folder of cached features; the least recently used files beyond the budget are deleted.

    With a budget of 0 nothing is read or written. A folder that is a link, or holds one, is neither read nor written:
    the files deleted there could belong to someone else.

    Attributes:
        notes: messages for the user: damaged files, a folder that cannot be used.
    """

    def __init__(self, folder: Path, budget_gb: float) -> None:
        self.notes: list[str] = []
        self._folder, self._budget = folder, budget_gb * 1e9
        if self._budget:
            self._refuse_links()

    def get(self, key: str, shape: Shape, compute: Callable[[], Array]) -> tuple[Array, bool]:
        """Returns the array of a key, and whether it was read from a file.

        Args:
            key: the SHA-256 of everything the array depends on.
            shape: the array's shape; None where any size fits.
            compute: returns the array if no intact file holds it.
        """
        stored = self._read(key, shape)
        if stored is not None:
            return stored, True
        computed = compute()
        if computed.nbytes <= self._budget and self._has_room(computed.nbytes):
            with suppress(OSError):  # the cache only saves time; the run holds the features in any case
                self._write(key, computed)
        return computed, False

    def tidy(self) -> None:
        """Deletes the least recently used files beyond the budget."""
        if not self._budget:
            return
        files: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*.npy"):
            with suppress(OSError):  # a concurrent run may delete files too
                status = path.lstat()
                files.append((status.st_mtime, status.st_size, path))
        used = 0
        for _, size, path in sorted(files, reverse=True):
            used += size
            if used > self._budget:
                path.unlink(missing_ok=True)

    def _refuse_links(self) -> None:
        try:
            own_folder(self._folder)
        except DamagedFile as error:
            self.notes.append(f"features are not stored on disk: {error}")
            self._budget = 0

    def _write(self, key: str, array: Array) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{secrets.token_hex(8)}.tmp"
        try:
            with temporary.open("xb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._folder / f"{key}-{_digest(temporary)}.npy")
        finally:
            temporary.unlink(missing_ok=True)

    def _read(self, key: str, shape: Shape) -> Array | None:
        if not self._budget:
            return None
        for path in self._folder.glob(f"{key}-*.npy"):
            with suppress(OSError):  # deleted by a concurrent run
                stored = _load(path, shape)
                if stored is not None:
                    os.utime(path)
                    return stored
                self.notes.append(f"{path} was damaged: its features are computed again")
                path.unlink(missing_ok=True)
        return None

    def _has_room(self, size: int) -> bool:
        parent = next(folder for folder in (self._folder, *self._folder.parents) if folder.exists())
        return shutil.disk_usage(parent).free > 2 * size


def _load(path: Path, shape: Shape) -> Array | None:
    """Returns a file's array if its digest and shape are the expected ones, else None."""
    name = _NAME.fullmatch(path.name)
    if name is None or not path.is_file() or _digest(path) != name.group(2):
        return None
    # Larger arrays stay on disk and are memory-mapped.
    large = not fits_in_memory(path.stat().st_size)
    try:
        array: Array = np.load(path, mmap_mode="r" if large else None, allow_pickle=False)
    except UNREADABLE_ARRAYS:
        return None
    fits = array.ndim == len(shape) and all(size in (None, length) for size, length in zip(shape, array.shape, strict=True))
    return array if fits and array.dtype == np.float32 else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
