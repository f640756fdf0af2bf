"""Contact sheets: many images with captions in one PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcli.visible import visible

if TYPE_CHECKING:
    from dlcli.arrays import Array

_MARGIN = 6
_LINE = 14
"""Height of a caption, in pixels."""
_LARGEST = 20_000
"""Most pixels of a side of a sheet."""


def save_contact_sheet(
    images: Array, captions: Sequence[str], path: Path, *, columns: int = 6, side: int = 128, colours: int = 256
) -> None:
    """Writes images with captions as one PNG file.

    Small images are enlarged by a whole factor, with their pixels visible; large ones are made smaller. The aspect ratio is
    kept. Captions that are too long are cut.

    Args:
        images: uint8 `(n, height, width, channels)`, with 1 or 3 channels.
        captions: a text for each image; an empty one leaves its place free.
        path: the file.
        columns: the number of images in a row.
        side: the longest side of an image on the sheet, in pixels.
        colours: the number of colours of the file, from 2 to 256: it has a palette, so that it stays small.

    Raises:
        ValueError: the images and captions do not have the same number, there are none, or the sheet is too large.
    """
    from PIL import Image, ImageDraw

    if len(images) != len(captions) or not len(images):
        raise ValueError(f"{len(images)} images and {len(captions)} captions")
    tiles = [_tile(image, side) for image in images]
    width, height = max(tile.width for tile in tiles) + _MARGIN, max(tile.height for tile in tiles) + _MARGIN + _LINE
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    if max(width * columns, height * rows) > _LARGEST:
        raise ValueError(f"a sheet of {columns} by {rows} images is larger than {_LARGEST:,} pixels")
    sheet = Image.new("RGB", (columns * width + _MARGIN, rows * height + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left, top = _MARGIN + place % columns * width, _MARGIN + place // columns * height
        sheet.paste(tile, (left, top))
        draw.text((left, top + tile.height + 1), _fitting(draw, caption, width - _MARGIN), fill="black")
    sheet.quantize(colours, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)


def _tile(image: Array, side: int) -> Any:
    """Returns one image as Pillow's, in colour, with a longest side of at most `side`."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB")
    longest = max(picture.size)
    if longest <= side:
        factor = side // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    width, height = (max(1, round(length * side / longest)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _fitting(draw: Any, caption: str, width: int) -> str:
    """Returns a caption that is at most so wide, cut at its end."""
    text = visible(caption)[:width]
    if draw.textlength(text) <= width:
        return text
    while text and draw.textlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
