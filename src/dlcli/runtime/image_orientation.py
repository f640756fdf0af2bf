"""The orientation of an image file by its EXIF or XMP data. The copy of `image_reader` in an export contains this code."""

from __future__ import annotations

import re
import struct

from PIL import Image

_ORIENTATION = 0x0112
"""The tag of the orientation in EXIF data."""


def orientation(file: Image.Image) -> tuple[int, str]:
    """Returns the orientation in a file's EXIF or XMP data, 1 to 8 (1: upright), and a description of ignored data.

    Nothing else of the data is read, so that damage elsewhere does not matter. Pillow turns TIFF files itself.
    """
    if file.format == "TIFF":
        return 1, ""
    try:
        value = _exif_orientation(_exif(file))
    except (struct.error, ValueError):
        return _xmp_orientation(file) or 1, "EXIF data that cannot be read"
    if value is None:
        return _xmp_orientation(file) or 1, ""
    if value == 0:  # some programs write 0 for unknown
        return 1, ""
    return (value, "") if value in range(1, 9) else (1, f"the EXIF orientation {value}, which does not exist")


def _exif(file: Image.Image) -> bytes:
    data = file.info.get("exif")
    raw = file.info.get("Raw profile type exif")
    if data is None and isinstance(raw, str):  # as ImageMagick writes it into PNG files
        data = bytes.fromhex("".join(raw.split("\n")[3:]))
    data = data if isinstance(data, bytes) else b""
    while data.startswith(b"Exif\0\0"):
        data = data[6:]
    return data


def _exif_orientation(data: bytes) -> int | None:
    """Returns the value of the orientation's tag in the first directory; None if it has no such tag.

    Raises:
        ValueError: the data is no EXIF data, or the value is no number.
        struct.error: the data is cut off.
    """
    if not data.strip(b"\0"):
        return None
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("no byte order")
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, _ = struct.unpack_from(f"{order}HHI", data, place)
        if tag == _ORIENTATION:
            return _number(data, order, kind, place + 8)
    return None


def _number(data: bytes, order: str, kind: int, place: int) -> int:
    if kind == 5:  # a fraction, stored elsewhere
        (place,) = struct.unpack_from(f"{order}I", data, place)
        above, below = struct.unpack_from(f"{order}II", data, place)
        return int(above // below) if below else -1
    if kind not in (1, 3, 4):
        raise ValueError("the orientation is not a number")
    return int(struct.unpack_from(order + {1: "B", 3: "H", 4: "I"}[kind], data, place)[0])


def _xmp_orientation(file: Image.Image) -> int | None:
    data = file.info.get("xmp") or file.info.get("XML:com.adobe.xmp") or b""
    if isinstance(data, tuple):
        data = data[0]
    text = data.decode("latin-1") if isinstance(data, bytes) else str(data)
    match = re.search(r'tiff:Orientation(?:="|>)([1-8])', text)
    return int(match.group(1)) if match else None
