"""Image files as cameras, scanners and programs write them, and damaged ones."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

RAMP = np.linspace(0, 255, 24 * 16, dtype="uint8").reshape(16, 24)
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's colour type for a number of channels: grey, grey and alpha, colours, colours and alpha."""
_ORIENTED = (0x112, 3, 1, struct.pack("<HH", 6, 0))


def png16(values: np.ndarray, transparent: tuple[int, ...] = ()) -> bytes:
    """Returns a PNG of 16 bits a value; Pillow writes only grey ones."""
    values = values[..., None] if values.ndim == 2 else values
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    mark = _chunk(b"tRNS", b"".join(struct.pack(">H", one) for one in transparent)) if transparent else b""
    parts = (_chunk(b"IHDR", header), mark, _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg(pixels: np.ndarray, app1: bytes = b"", **options: object) -> bytes:
    """Returns a JPEG with an EXIF or XMP segment as given, sound or not."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, **options)
    content = file.getvalue()
    segment = b"\xff\xe1" + struct.pack(">H", len(app1) + 2) + app1 if app1 else b""
    return content[:2] + segment + content[2:]


def exif(*entries: tuple[int, int, int, bytes], more: bytes = b"") -> bytes:
    """Returns EXIF data of tags `(tag, type, count, value)`."""
    data = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries))
    data += b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0" + data + struct.pack("<I", 0) + more


def broken_exif() -> dict[str, bytes]:
    """Returns EXIF data that says "turn by 90 degrees" and is odd or damaged elsewhere."""
    after = struct.pack("<I", 8 + 2 + 2 * 12 + 4)
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/>\xcd\xbc</x:xmpmeta>'
    return {
        "two headers": b"Exif\0\0" + exif(_ORIENTED),
        "a fraction over zero": exif(_ORIENTED, (0x11A, 5, 1, after), more=struct.pack("<II", 0, 0)),
        "an offset past the end": exif(_ORIENTED, (0x10F, 2, 20, struct.pack("<I", 99_999))),
        "a directory past the end": exif(_ORIENTED, (0x8769, 4, 1, struct.pack("<I", 99_999))),
        "a directory as text": exif(_ORIENTED, (0x8769, 2, 4, b"abcd")),
        "a negative directory": exif(_ORIENTED, (0xA005, 9, 1, struct.pack("<i", -5))),
        "a negative width": exif(_ORIENTED, (0x100, 9, 1, struct.pack("<i", -5))),
        "an unknown type": exif(_ORIENTED, (0x131, 77, 1, b"abcd")),
        "a huge count": exif(_ORIENTED, (0x131, 3, 0x7FFFFFFF, b"\0" * 4)),
        "two orientations": exif((0x112, 3, 2, struct.pack("<HH", 6, 6))),
        "cut off after it": exif(_ORIENTED, (0x131, 2, 4, b"abcd"))[:-14],
        "XMP that is not UTF-8": b"http://ns.adobe.com/xap/1.0/\0" + xmp,
    }


def useless_exif() -> dict[str, bytes]:
    """Returns EXIF data whose orientation cannot be used."""
    return {
        "an orientation as text": exif((0x112, 2, 2, b"6\0\0\0")),
        "an orientation 9": exif((0x112, 3, 1, struct.pack("<HH", 9, 0))),
        "garbage": b"Exif\0\0" + bytes(range(7, 47)),
    }


def half_jpeg(path: Path, side: int = 96, **options: object) -> None:
    """Writes a JPEG whose data stops half way, with a proper end."""
    noise = np.random.default_rng(side).integers(0, 255, (side, side, 3), dtype="uint8")
    content = jpeg(noise, **options)
    path.write_bytes(content[: len(content) // 2].rstrip(b"\xff") + b"\xff\xd9")
