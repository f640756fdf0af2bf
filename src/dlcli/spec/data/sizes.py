"""The number and size of examples as text; used before and after a source is opened, so it loads no NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


def size_in_words(size: float) -> str:
    """Returns a number of bytes as text: `115 KB`, `7.5 GB` (of 1,000 and 10^9 bytes)."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:,.1f} {_UNITS[unit]}" if unit and size < 9.95 else f"{size:,.0f} {_UNITS[unit]}"


def examples_in_words(count: int, shape: Sequence[int] | None, *, images: bool, columns: int = 0) -> str:
    """Returns the number and the form of examples: `1,797 images of 8x8x1`, `891 rows of 11 columns`.

    Args:
        count: the number of examples.
        shape: the shape of one example; None for named columns.
        images: whether they are images.
        columns: the number of named columns.
    """
    plural = "" if count == 1 else "s"
    if shape is None:
        return f"{count:,} row{plural} of {columns:,} column{'' if columns == 1 else 's'}"
    if len(shape) == 1:
        return f"{count:,} row{plural} of {shape[0]:,} numbers"
    return f"{count:,} {'image' if images else 'array'}{plural} of {'x'.join(map(str, shape))}"


LARGE = 100_000_000
"""Bytes from which on `dlcli check` has a note on the memory."""


def memory_line(count: int, shape: Sequence[int], *, images: bool) -> str:
    """Returns a line on large data that is read into memory, images as uint8 and numbers as float32; empty for small data."""
    size, dtype = count * prod(shape) * (1 if images else 4), "uint8" if images else "float32"
    if size < LARGE:
        return ""
    return f"data: {examples_in_words(count, shape, images=images)}: {size_in_words(size)} as {dtype} in memory"
