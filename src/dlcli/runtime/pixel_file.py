"""Decoded pixels of image files in one file on the disk, from which batches are read by position."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from io import BufferedWriter
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import finalize

import numpy as np

from dlcli.runtime.stored_files import content_key

if TYPE_CHECKING:
    from dlcli.arrays import Array

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
    """Returns the name of the file for images, which depends on the image files and on the settings for reading them."""
    return content_key(paths, [_FORM, str(settings), list(shape), dtype])


def write_pixels(file: BufferedWriter, decode: Callable[[Callable[[int, Array], None]], None]) -> None:
    """Writes the pixels of images to an open file.

    Args:
        file: the file.
        decode: calls a function with the position and the pixels of each image, in order.

    Raises:
        OSError: it cannot be written.
    """
    decode(lambda _, pixels: np.ascontiguousarray(pixels).tofile(file))
