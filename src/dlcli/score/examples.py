"""Writes notable examples: their table and small pictures of images."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.runs import layout
from dlcli.runs.files import write_table
from dlcli.runs.numbers import digits
from dlcli.runtime.image_arrays import shown
from dlcli.score.notable import NotableExample
from dlcli.spec.data.sources import Examples

_SIDE = 96
"""The longer side of a thumbnail in pixels."""


def write_examples(folder: Path, notable: list[NotableExample], examples: Examples, *, images: bool) -> None:
    """Writes `examples.csv` and, of images, a `thumbnails/` folder in the place of an earlier one."""
    names = _write_thumbnails(folder, {example.place for example in notable}, examples) if images else {}
    rows = (
        (
            example.kind,
            examples.ids[example.place],
            example.label,
            example.predicted,
            "" if example.probability is None else digits(example.probability),
            names.get(example.place, ""),
        )
        for example in notable
    )
    write_table(folder / layout.EXAMPLES, ("kind", "id", "label", "predicted", "probability", "thumbnail"), rows)


def _write_thumbnails(folder: Path, places: Iterable[int], examples: Examples) -> dict[int, str]:
    """Writes small JPEG pictures of the examples and returns the name of each; a file that cannot be read has none."""
    temporary = folder / f".{layout.THUMBNAILS}.{secrets.token_hex(4)}.tmp"
    temporary.mkdir()
    names = {}
    try:
        for number, place in enumerate(sorted(places)):
            try:
                _thumbnail(_pixels(examples, place)).save(temporary / f"{number:03d}.jpg", quality=85)
            except DataError:
                continue
            names[place] = f"{layout.THUMBNAILS}/{number:03d}.jpg"
        _replace_folder(temporary, folder / layout.THUMBNAILS)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return names


def _replace_folder(temporary: Path, folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _pixels(examples: Examples, place: int) -> Array:
    """Returns one image, uint8 `(height, width, channels)`."""
    return shown(examples.inputs.read(np.array([place]))[0])


def _thumbnail(pixels: Array) -> Image.Image:
    """Returns a picture whose longer side has 96 pixels; small ones are enlarged without smoothing.

    Of more than three channels the first three are shown, of two the first.
    """
    picture = Image.fromarray(pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0])
    scale = _SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)
