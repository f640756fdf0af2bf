"""Empty pictures in place of drawn ones: drawing is a third of the time of a small training.

matplotlib is patched, not our modules: one that is first imported meanwhile would keep a patched name for good.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ONE_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
"""A PNG file of one pixel, in base64."""
_DRAWING: dict[tuple[type, str], Any] = {}
"""What draws pictures in matplotlib: a class and its method -> the method as it was before it was replaced."""
_are_empty = False


def are_empty() -> bool:
    """Whether pictures are empty, so that those of forked processes are, too."""
    return _are_empty


@contextmanager
def empty_pictures() -> Iterator[None]:
    """Writes empty pictures in the block."""
    before = _are_empty
    draw_nothing()
    try:
        yield
    finally:
        if not before:
            _draw()


@contextmanager
def drawn_pictures() -> Iterator[None]:
    """Draws pictures in the block."""
    before = _are_empty
    _draw()
    try:
        yield
    finally:
        if before:
            draw_nothing()


def draw_nothing() -> None:
    """Writes empty pictures from now on."""
    global _are_empty
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    _are_empty = True
    for owner, name, replacement in (
        (Figure, "savefig", _save_empty),
        (ConstrainedLayoutEngine, "execute", _compute_nothing),
    ):
        _DRAWING.setdefault((owner, name), getattr(owner, name))
        setattr(owner, name, replacement)


def _draw() -> None:
    global _are_empty
    _are_empty = False
    for (owner, name), original in _DRAWING.items():
        setattr(owner, name, original)


def _save_empty(_: Any, place: Path | io.StringIO, **options: Any) -> None:
    """Writes a PNG file of one pixel, or an SVG without content, in place of a figure."""
    if isinstance(place, Path):
        place.write_bytes(base64.b64decode(_ONE_PIXEL))
    else:
        assert options["format"] == "svg"
        place.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>')


def _compute_nothing(*_: Any) -> None:
    """Leaves the layout of a figure as it is."""
