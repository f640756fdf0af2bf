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
    """The remaining bytes for the pictures of one page; `omitted` counts the pictures that did not fit."""

    def __init__(self, size: int) -> None:
        self._remaining = size
        self.omitted = 0

    def takes(self, text: str) -> bool:
        """Whether a picture still fits; if so, its size is subtracted."""
        fits = len(text) <= self._remaining
        self._remaining -= len(text) if fits else 0
        self.omitted += not fits
        return fits


def thumbnail(folder: Path, name: str, budget: Budget) -> str:
    """Returns a thumbnail of `examples.csv` as a data URL; empty where dlcli did not write it, or where it does not fit."""
    if not re.fullmatch(layout.THUMBNAILS + r"/[0-9]{1,9}\.jpg", name) or (folder / layout.THUMBNAILS).is_symlink():
        return ""
    return _data(folder / name, "jpeg", _JPEG, _LARGEST_THUMBNAIL, budget)


def picture(path: Path, budget: Budget) -> str:
    """Returns a PNG file as a data URL; empty where it is not a PNG file, or where it does not fit."""
    return _data(path, "png", _PNG, _LARGEST_PICTURE, budget)


def _data(path: Path, kind: str, signature: bytes, largest: int, budget: Budget) -> str:
    """Ignores links, pipes and files of other types, since their contents are not the run's."""
    try:
        if path.is_symlink() or not path.is_file():
            return ""
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError:
        return ""
    if not content.startswith(signature):
        return ""
    if len(content) > largest:
        budget.omitted += 1
        return ""
    text = f"data:image/{kind};base64,{b64encode(content).decode()}"
    return text if budget.takes(text) else ""
