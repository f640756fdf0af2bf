"""Decoded pixels of image files in one file on the disk, from which batches are read by position."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BufferedWriter
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import finalize

import numpy as np

if TYPE_CHECKING:
    from dlcli.arrays import Array

KEPT_DAYS = 30
"""Days after which a file that no training used is deleted when another one is written."""
_FORM = 1
"""The number of the form of these files; a file of another form has another name."""


class PixelFile:
    """The pixels of all files of a set, one image after another, without a header.

    All methods may be called by several threads at once.

    Args:
        path: the file.
        files: the number of images.
        shape: height, width and channels of every image.
        dtype: the type of the pixels.

    Attributes:
        kept_files: the number of images, all of which are kept.

    Raises:
        OSError: there is no such file, or it has another size.
    """

    def __init__(self, path: Path, files: int, shape: tuple[int, int, int], dtype: str) -> None:
        self.kept_files = files
        self._bytes = prod(shape) * np.dtype(dtype).itemsize
        self._path, self._descriptor = path, os.open(path, os.O_RDONLY)
        finalize(self, os.close, self._descriptor)
        if os.fstat(self._descriptor).st_size != files * self._bytes:
            raise OSError(f"{path}: the size is not that of {files:,} images")

    def copy_into(self, images: Array, places: Array) -> list[int]:
        """Reads the pixels of the images at `places` into a batch; returns an empty list: none is missing."""
        for position, place in enumerate(places.tolist()):
            count = os.preadv(self._descriptor, [images[position]], place * self._bytes)
            if count != self._bytes:
                raise OSError(f"{self._path}: damaged")
        return []

    def add(self, place: int, pixels: Array) -> None:
        """Does nothing: all pixels are in the file."""


def pixel_key(paths: Sequence[str], settings: object, shape: tuple[int, ...], dtype: str) -> str:
    """Returns the name of the file for images: a SHA-256 of what their pixels depend on.

    These are the paths, sizes and times of the image files, and the settings for reading them.
    """
    digest = hashlib.sha256(json.dumps([_FORM, str(settings), list(shape), dtype]).encode())
    for path in paths:
        status = os.stat(path)
        digest.update(f"\0{path}\0{status.st_size}\0{status.st_mtime_ns}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def write_pixels(path: Path, decode: Callable[[Callable[[int, Array], None]], None]) -> None:
    """Writes a file of pixels as a whole, and deletes old files beside it.

    Args:
        path: the file.
        decode: calls a function with the position and the pixels of each image, in order.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _delete_old(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            decode(lambda _, pixels: _write(file, pixels))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write(file: BufferedWriter, pixels: Array) -> None:
    np.ascontiguousarray(pixels).tofile(file)


def _delete_old(folder: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86_400
    for path in (*folder.glob("*.raw"), *folder.glob(".*.tmp")):
        with suppress(OSError):  # another training may delete it too
            if path.lstat().st_mtime < oldest:
                path.unlink()


def free_disk(folder: Path) -> int:
    """Returns the free bytes of the disk on which a folder is, or will be."""
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free
