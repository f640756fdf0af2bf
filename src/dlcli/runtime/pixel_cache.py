"""Keeps pixels of image files in memory, as far as they fit, so that not all files are decoded in every epoch."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from dlcli.runtime.free_memory import MemoryShare

if TYPE_CHECKING:
    from dlcli.arrays import Array

BLOCK_BYTES = 2**26
"""Memory that is allocated at once."""
_NOT_KEPT = -1


class PixelCache:
    """The pixels of some files of a set that does not fit into memory: those that are read first, until the memory is full.

    All methods may be called by several threads at once.

    Args:
        files: the number of files in the set, which are addressed by their positions.
        shape: height, width and channels of every image.
        dtype: the type of the pixels.
        memory: grants the memory.

    Attributes:
        is_open: whether pixels that are added are kept; False at first, since a command may read every file only once.
        kept_files: the number of files whose pixels are in memory.
    """

    def __init__(self, files: int, shape: tuple[int, int, int], dtype: str, memory: MemoryShare) -> None:
        self.is_open, self.kept_files = False, 0
        self._shape, self._dtype, self._memory = shape, np.dtype(dtype), memory
        self._rows = np.full(files, _NOT_KEPT, "int64")
        self._block_rows = max(1, min(files, BLOCK_BYTES // max(1, int(np.prod(shape)) * self._dtype.itemsize)))
        self._blocks: list[Array] = []
        self._is_full = False
        self._lock = Lock()

    def copy_into(self, images: Array, places: Array) -> list[int]:
        """Copies the kept pixels of the files at `places` into a batch, and returns the batch's positions of the others.

        Args:
            images: the batch `(len(places), height, width, channels)`.
            places: the positions of the files.
        """
        missing = []
        for position, row in enumerate(self._rows[places].tolist()):
            if row == _NOT_KEPT:
                missing.append(position)
            else:
                images[position] = self._blocks[row // self._block_rows][row % self._block_rows]
        return missing

    def add(self, place: int, pixels: Array) -> None:
        """Keeps the pixels of a file, if the cache is open and there is room."""
        if not self.is_open:
            return
        with self._lock:
            if self._rows[place] == _NOT_KEPT and self._has_room():
                self._blocks[-1][self.kept_files % self._block_rows] = pixels
                self._rows[place] = self.kept_files  # last: other threads read the pixels as soon as the row is set
                self.kept_files += 1

    def _has_room(self) -> bool:
        """Returns whether there is a free row, in a new block if the last one is full."""
        if self.kept_files < len(self._blocks) * self._block_rows:
            return True
        if self._is_full:
            return False
        size = self._block_rows * int(np.prod(self._shape)) * self._dtype.itemsize
        self._is_full = not self._memory.grant(size)
        if not self._is_full:
            self._blocks.append(np.empty((self._block_rows, *self._shape), self._dtype))
        return not self._is_full
