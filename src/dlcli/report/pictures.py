"""Pictures of a run folder as data inside the page, within a budget of bytes."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path

from dlcli.runs import layout

_LARGEST_THUMBNAIL = 60_000
_LARGEST_PICTURE = 700_000
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


class Budget:
    """The bytes that the pictures of one page may still take; `left_out` counts those that had no room."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.left_out = 0

    def takes(self, text: str) -> bool:
        """Whether a picture still fits; if so it is paid for."""
        fits = len(text) <= self._left
        self._left -= len(text) if fits else 0
        self.left_out += not fits
        return fits


def thumbnail(folder: Path, name: str, budget: Budget) -> str:
    """Returns a thumbnail of `examples.csv` as a data address; empty where it is none of dlcli's, or there is no room."""
    if not re.fullmatch(layout.THUMBNAILS + r"/[0-9]{1,9}\.jpg", name) or (folder / layout.THUMBNAILS).is_symlink():
        return ""
    return _data(folder / name, "jpeg", _JPEG, _LARGEST_THUMBNAIL, budget)


def picture(path: Path, budget: Budget) -> str:
    """Returns a PNG file as a data address; empty where it is no such file, or there is no room."""
    return _data(path, "png", _PNG, _LARGEST_PICTURE, budget)


def _data(path: Path, kind: str, begins: bytes, largest: int, budget: Budget) -> str:
    """A link, a pipe or a file of another kind is passed over: its content is not the run's."""
    try:
        if path.is_symlink() or not path.is_file():
            return ""
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError:
        return ""
    if not content.startswith(begins):
        return ""
    if len(content) > largest:
        budget.left_out += 1
        return ""
    text = f"data:image/{kind};base64,{b64encode(content).decode()}"
    return text if budget.takes(text) else ""
