"""Contact sheets: rows of images with captions in one PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcli.visible import visible

if TYPE_CHECKING:
    from dlcli.arrays import Array

Row = tuple[str, Sequence["Array"], Sequence[str]]
"""A row: its caption, images uint8 `(height, width[, 1 or 3])`, and a caption for each image; an empty one takes no place."""
SIDE = 128
"""Longest side of an image on a sheet, in pixels."""
_GAP, _MARGIN = 8, 12
_TITLE, _CAPTION = 15, 11
_INK, _MUTED = "#1a202c", "#4a5568"
_LARGEST = 30_000
"""Maximum side of a sheet, in pixels."""


def contact_sheet(rows: Sequence[Row], path: Path, *, colours: int | None = None) -> None:
    """Writes rows of images as a new PNG file.

    Images keep their aspect ratio. Small ones are enlarged by a whole factor, so that their pixels stay visible; larger ones
    are reduced. Captions that are too long are cut.

    Args:
        rows: the rows.
        path: the file.
        colours: the number of colours of the file, at most 256, for a small file; None keeps all.

    Raises:
        FileExistsError: the file exists.
        ValueError: there are no images, a row has not as many captions as images, or the sheet would be too large.
    """
    from PIL import Image

    if not any(len(images) for _, images, _ in rows):
        raise ValueError("a contact sheet needs images")
    if any(len(images) != len(captions) for _, images, captions in rows):
        raise ValueError("every image needs a caption")
    blocks = [_block(*row) for row in rows]
    width = 2 * _MARGIN + max(block.width for block in blocks)
    height = 2 * _MARGIN + sum(block.height + _GAP for block in blocks) - _GAP
    if max(width, height) > _LARGEST:
        raise ValueError(f"a contact sheet of {width:,} x {height:,} pixels is too large")
    sheet = Image.new("RGB", (width, height), "white")
    top = _MARGIN
    for block in blocks:
        sheet.paste(block, (_MARGIN, top))
        top += block.height + _GAP
    sheet = sheet if colours is None else sheet.quantize(colours, dither=Image.Dither.NONE)
    with path.open("xb") as file:
        sheet.save(file, "PNG", optimize=True)


def _block(caption: str, images: Sequence[Array], captions: Sequence[str]) -> Any:
    """Returns a row as a picture: its caption above its images, each with its own caption below."""
    from PIL import Image, ImageDraw

    tiles = [_tile(image) for image in images]
    title, small = _font(_TITLE), _font(_CAPTION)
    below = _CAPTION + 6 if any(captions) else 0
    above = _TITLE + 8 if caption else 0
    length = int(title.getlength(visible(caption)))
    width = max(len(tiles) * (SIDE + _GAP), length)
    tallest = max((tile.height for tile in tiles), default=0)
    block = Image.new("RGB", (width, above + tallest + below), "white")
    draw = ImageDraw.Draw(block)
    draw.text((0, 0), visible(caption), fill=_INK, font=title)
    for place, (tile, words) in enumerate(zip(tiles, captions, strict=True)):
        left = place * (SIDE + _GAP)
        block.paste(tile, (left, above))
        draw.text((left, above + tallest + 2), _cut(visible(words), SIDE, small), fill=_MUTED, font=small)
    return block


def _tile(image: Array) -> Any:
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image).convert("RGB")
    longest = max(picture.size)
    if longest <= SIDE:
        factor = SIDE // longest
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    size = [max(1, round(length * SIDE / longest)) for length in picture.size]
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def _font(size: int) -> Any:
    """Returns the font of the charts, which has the letters of most European scripts."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _cut(text: str, width: int, font: Any) -> str:
    """Returns a text that fits: of one that is too long its end, since the ends of paths differ."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"…{text}") > width:
        text = text[1:]
    return f"…{text}"
