"""The arrays of an `.npz` file as far as a check needs them: headers, NaN, and constant columns, without NumPy."""

from __future__ import annotations

import ast
import sys
import zipfile
import zlib
from array import array
from dataclasses import dataclass
from math import isfinite, isnan, prod
from typing import IO

_LONGEST_HEADER = 10_000
"""Bytes of an array's header; NumPy itself reads no longer ones."""
_MOST_BYTES = 2**25
"""Bytes of the largest array whose values a check reads; training reads all arrays."""
_TYPE_CODES = {"f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}
"""The types of NumPy's headers that `array` reads, by their kind and size."""
_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, TypeError, ValueError, SyntaxError, MemoryError)


@dataclass(frozen=True)
class ArrayHeader:
    """What an array's header says.

    Attributes:
        shape: its shape.
        dtype: its type as NumPy writes it, such as `<f4`.
        is_fortran: whether its first axis changes fastest.
    """

    shape: tuple[int, ...]
    dtype: str
    is_fortran: bool


def array_header(path: str, name: str) -> ArrayHeader | None:
    """Returns the header of an array; None if it cannot be read: opening the source reports it.

    https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html describes the header.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            return _header(file)
    except _ERRORS:
        return None


def example_shape(header: ArrayHeader) -> tuple[tuple[int, ...] | None, bool]:
    """Returns the shape of one example, and whether it is an image; None where opening the source must decide.

    Grey images get a channel axis, and numbers one per row an axis of length 1, as the opened source gives them.
    """
    shape = header.shape[1:]
    if header.dtype == "|u1" and len(shape) in (2, 3):
        shape = (*shape, 1) if len(shape) == 2 else shape
        return (shape, True) if shape[2] in (1, 3) else (None, False)
    is_numeric = header.dtype.lstrip("<>|=")[:1] in ("f", "i", "u", "b")
    is_known = is_numeric and header.shape and not is_channels_first(shape)  # the source reports that order
    return (shape or (1,) if is_known else None), False


def is_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether the shape of one example is that of an image with its channels before height and width."""
    return len(shape) == 3 and shape[0] in (1, 3) and shape[2] > 4 and shape[1] > 4


def difference(train: ArrayHeader, other: ArrayHeader) -> str:
    """Returns how an array of another part, OTHER in the text, differs from the training split's; "" if it does not.

    Images may have different sizes: `data.image.size` can resize them to one.
    """
    first, second = (len(header.shape) in (3, 4) and header.dtype == "|u1" for header in (train, other))
    if first != second and len(train.shape) == len(other.shape):
        words = ["uint8 (images)" if images else "another type (numbers)" for images in (first, second)]
        return f"is {words[0]}, but OTHER {words[1]}; save both in one type"
    if (first and second) or (train.shape[1:] or (1,)) == (other.shape[1:] or (1,)):
        return ""
    return f"has shape {train.shape}, but OTHER {other.shape}; the examples of all splits need one shape"


def _header(file: IO[bytes]) -> ArrayHeader:
    start = file.read(8)
    size = 2 if start[6:7] == b"\x01" else 4
    header = ast.literal_eval(file.read(min(int.from_bytes(file.read(size), "little"), _LONGEST_HEADER)).decode("latin-1"))
    return ArrayHeader(tuple(map(int, header["shape"])), str(header["descr"]), bool(header["fortran_order"]))


def rows_without_values(path: str, name: str) -> int:
    """Returns how many rows of an array hold NaN or infinite values; 0 for an array that is too large to read here.

    NaN in all channels of the last steps of a series `(steps, channels)` is padding.
    """
    header, values = _values(path, name)
    if values is None or values.typecode not in "fd" or isfinite(sum(values)):
        return 0
    wrong = [place for place, value in enumerate(values) if not isfinite(value)]
    width = prod(header.shape[1:])
    if len(header.shape) == 3 and not header.is_fortran:
        rows = {place // width for place in wrong}
        return sum(_is_incomplete(values[row * width : (row + 1) * width], header.shape[2]) for row in rows)
    return len({place % header.shape[0] if header.is_fortran else place // width for place in wrong})


def _is_incomplete(row: array[float], channels: int) -> bool:
    """Whether a series has a value that is NaN or infinite before its end; the steps after it are NaN in all channels."""
    end = len(row)
    while end and all(map(isnan, row[end - channels : end])):
        end -= channels
    return not end or not all(map(isfinite, row[:end]))


def constant_columns(path: str, name: str) -> dict[int, float]:
    """Returns the columns of an array `(n,)` or `(n, k)` that hold a single value in several rows, with that value."""
    header, values = _values(path, name)
    if values is None or len(header.shape) > 2 or header.shape[0] < 2:
        return {}
    rows, width = header.shape[0], prod(header.shape[1:])
    columns = (values[at * rows : (at + 1) * rows] if header.is_fortran else values[at::width] for at in range(width))
    return {at: column[0] for at, column in enumerate(columns) if column.count(column[0]) == rows}


def _values(path: str, name: str) -> tuple[ArrayHeader, array[float] | None]:
    """Returns an array's header and values; None if it is too large, holds no numbers or cannot be read."""
    unknown = ArrayHeader((), "", is_fortran=False)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            header = _header(file)
            code, count = _TYPE_CODES.get(header.dtype[1:]), prod(header.shape)
            if code is None or not header.shape or not 0 < count * int(header.dtype[2:]) <= _MOST_BYTES:
                return header, None
            values: array[float] = array(code, file.read(count * int(header.dtype[2:])))
    except _ERRORS:
        return unknown, None
    if header.dtype[0] in "<>" and (header.dtype[0] == "<") != (sys.byteorder == "little"):
        values.byteswap()
    return (header, values) if len(values) == count else (unknown, None)
