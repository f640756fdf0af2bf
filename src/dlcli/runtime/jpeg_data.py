"""Detects truncated data in JPEG files with a proper end, which decoders fill up silently."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from dlcli.arrays import Array

_START_OF_SCAN, _END, _RESTARTS = 0xDA, 0xD9, range(0xD0, 0xD8)
_ARITHMETIC = (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_MORE = bytes(np.random.default_rng(0).integers(0, 255, 256, dtype="uint8"))
"""Data that the decoder accepts, without 0xFF, which begins a marker."""
_SMALL_PART = 0.02


def missing_part(path: str, most_pixels: int = 1024) -> float:
    """Returns the share of a JPEG's rows, from the bottom, without data; 0 for a complete file or another format.

    The function appends data to every scan. A decoder with complete data ignores it, so the picture stays the same. A decoder
    that runs out of data uses it, and the picture changes (libjpeg's warning "premature end of data segment" does not reach
    Pillow).

    Args:
        path: the file.
        most_pixels: the longer side at which a large picture is decoded.
    """
    with open(path, "rb") as file:
        content = file.read()
    longer = _with_more_data(content)
    if longer is None:
        return 0.0
    try:
        before, after = (_decoded(data, most_pixels) for data in (content, longer))
    except (OSError, SyntaxError, ValueError):
        return 0.0
    rows = np.flatnonzero((before != after).reshape(len(before), -1).any(axis=1))
    share = 1 - float(rows[0]) / len(before) if len(rows) else 0.0
    return share if share > _SMALL_PART else 0.0


def _decoded(content: bytes, most_pixels: int) -> Array:
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as file:
        file.draft(None, (most_pixels, most_pixels))
        return np.asarray(file)


def _with_more_data(content: bytes) -> bytes | None:
    """Returns a JPEG with more data at the end of each of its scans; None for other files and arithmetic coding."""
    if not content.startswith(b"\xff\xd8"):
        return None
    pieces, start, place = [], 0, 2
    while place + 4 <= len(content):
        if content[place] != 0xFF:
            return None
        marker = content[place + 1]
        if marker == 0xFF:  # fill
            place += 1
            continue
        if marker in _ARITHMETIC:
            return None
        if marker == _END:
            break
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        if marker == _START_OF_SCAN:
            for end in _ends_of_data(content, place):
                pieces.append(content[start:end] + _MORE)
                place = start = end
    return b"".join([*pieces, content[start:]]) if pieces else None


def _ends_of_data(content: bytes, place: int) -> list[int]:
    """Returns the places of the markers in the entropy-coded data from a place on: restarts, and the marker that ends it."""
    ends: list[int] = []
    while True:
        place = content.find(b"\xff", place)
        if place < 0 or place + 1 >= len(content):
            return ends
        following = content[place + 1]
        if following == 0:
            place += 2
        elif following == 0xFF:
            place += 1
        else:
            ends.append(place)
            if following not in _RESTARTS:
                return ends
            place += 2
