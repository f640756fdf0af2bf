"""Reads an image file as an array: upright, in one size, transparency on a background, deep values scaled.

Training, evaluation and prediction of dlcli read images by these rules. An export contains a copy of this file, in which the
code of `image_orientation` takes the place of its import, so both need only NumPy and Pillow.
Usage: `read_image("photo.jpg", Settings(size=(224, 224)))`.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from dlcli.runtime.image_orientation import orientation

Array = np.ndarray[Any, Any]
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""The accepted formats, whatever a file's extension (dlcli's image types). Pillow has more; one starts Ghostscript."""
# Pillow's limit on pixels is disabled, since `Settings.decoded_mb` limits the memory of a decoded image.
Image.MAX_IMAGE_PIXELS = None
_LARGE, _LARGE_MB = threading.Lock(), 200
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY = (0.299, 0.587, 0.114)
"""Weights of ITU-R BT.601, as in Pillow's conversion to grey."""
_LOW_BYTES = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGBA;16B": "RGBA;16L", "RGBA;16L": "RGBA;16B"}
"""Pillow keeps the high byte of a 16-bit colour value; with the other byte order it keeps the low byte."""


class UnreadableImage(ValueError):
    """The error for a file that is empty, damaged, too large, or no image."""


@dataclass(frozen=True)
class Settings:
    """The settings for converting images to arrays.

    Attributes:
        size: height and width; None for those of the file.
        channels: 1 for grey, 3 for colours.
        resize: `stretch`, `pad` (with black), or `crop` (to the middle).
        background: red, green and blue, 0 to 255, behind transparent pixels.
        value_range: the values of deep images (more than 8 bits) that become 0 and 255, the result is float32; None reads
            all images as uint8, of 16 bits the upper 8.
        decoded_mb: the largest memory that a decoded image may take, in MB.
    """

    size: tuple[int, int] | None = None
    channels: int = 3
    resize: str = "stretch"
    background: tuple[int, int, int] = (255, 255, 255)
    value_range: tuple[float, float] | None = None
    decoded_mb: float = 1000


@dataclass(frozen=True)
class Picture:
    """An image that was read from a file.

    Attributes:
        pixels: `(height, width, channels)`, 0 to 255: uint8, or float32 with `Settings.value_range`.
        deep: whether the file has more than 8 bits per value.
        see_through: whether some pixels were transparent.
        frames: whether the file has further frames or pages after the first, which was read.
        ignored: a description of EXIF data that was ignored; empty if none was.
        limits: the smallest and largest value, and the 99.9 % quantile, of a deep file's opaque pixels.
        ends_grey: whether the last pixel has the grey that JPEG decoders use for missing data.
        turn: the orientation in the file's EXIF or XMP data, 1 to 8, by which the pixels were turned (1: upright).
        format: Pillow's name of the file's type.
        mode: Pillow's name of the file's kind of pixels, such as `CMYK`.
        stored_size: height and width in the file, before turning and resizing.
    """

    pixels: Array
    deep: bool = False
    see_through: bool = False
    frames: bool = False
    ignored: str = ""
    limits: tuple[float, float, float] | None = None
    ends_grey: bool = False
    turn: int = 1
    format: str = ""
    mode: str = ""
    stored_size: tuple[int, int] = (0, 0)


def read_image(path: str, settings: Settings) -> Array:
    """Returns a file's pixels, `(height, width, channels)`, 0 to 255.

    Raises:
        UnreadableImage: the file is empty, damaged, too large, or no image.
    """
    return read_picture(path, settings).pixels


def read_picture(path: str | BytesIO, settings: Settings) -> Picture:
    """Returns a file's pixels with facts about the file, which may be in memory.

    Raises:
        UnreadableImage: the file is empty, damaged, too large, or no image.
    """
    try:
        with Image.open(path, formats=FORMATS) as file:
            header: dict[str, Any] = {"format": file.format or "", "mode": file.mode, "stored_size": (file.height, file.width)}
            if settings.size is not None:
                # A JPEG is decoded at a half, quarter or eighth of its size if that is at least twice the requested size.
                file.draft(None, (2 * max(settings.size), 2 * max(settings.size)))
            megabytes = _refuse_large(file, settings)
            if megabytes < _LARGE_MB:
                return replace(_picture(path, file, settings), **header)
            with _LARGE:  # large images are decoded one at a time
                return replace(_picture(path, file, settings), **header)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(_not_an_image(path)) from None
    except MemoryError:
        raise UnreadableImage("there is too little memory to decode it") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, ImageCms.PyCMSError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else f"not readable as an image: {error}"
        raise UnreadableImage(words) from None


def _not_an_image(path: str | BytesIO) -> str:
    size = os.path.getsize(path) if isinstance(path, str) else len(path.getbuffer())
    return "an empty file" if size == 0 else f"not an image of a supported type ({', '.join(FORMATS)})"


def _refuse_large(file: Image.Image, settings: Settings) -> float:
    """Returns the memory for decoding, in MB: Pillow stores three bands in four bytes.

    Raises:
        UnreadableImage: the memory is more than the settings allow.
    """
    width, height = file.size
    stored = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}.get(file.mode, 4)
    if is_deep(file) or file.mode not in ("L", "RGB"):
        stored += 8
    size = width * height * stored
    if file.info.get("progressive") and getattr(file, "tile", None):  # decoding holds all coefficients at full size
        full = file.tile[0][1]  # type: ignore[attr-defined]
        scale = getattr(file, "decoderconfig", None) or (1, 0)
        size += 2 * 3 * full[2] * full[3] * max(1, scale[0]) ** 2
    if size > settings.decoded_mb * 1e6:
        raise UnreadableImage(
            f"its {width:,} x {height:,} pixels take {size / 1e6:,.0f} MB once decoded, more than"
            f" `data.image.decoded_mb: {settings.decoded_mb:g}` allows; raise it, or make the image smaller"
        )
    return size / 1e6


def _picture(path: str | BytesIO, file: Image.Image, settings: Settings) -> Picture:
    several, deep = _has_several_frames(file), is_deep(file)
    if deep and settings.value_range is not None:
        values, alpha = deep_values(path, file)
        turn, ignored = orientation(file)
        pixels, limits = fit_deep(values, alpha, turn, settings)
        see_through = bool(alpha is not None and (alpha < 1).any())
        return Picture(pixels, True, see_through, several, ignored, limits, turn=turn)
    file.load()
    turn, ignored = orientation(file)
    grey = file.format in ("JPEG", "MPO") and _ends_grey(file)
    upright: Image.Image = file.transpose(_TURNS[turn]) if turn in _TURNS else file
    see_through = _is_see_through(upright)
    pixels = fit(upright, settings)
    if settings.value_range is not None:
        pixels = pixels.astype("float32")
    return Picture(pixels, deep, see_through, several, ignored, None, grey, turn)


def _has_several_frames(file: Image.Image) -> bool:
    if file.format not in ("GIF", "WEBP", "TIFF", "PNG", "AVIF"):
        return False
    try:
        return bool(getattr(file, "is_animated", False))
    except (OSError, EOFError, SyntaxError, ValueError, struct.error):  # later frames may be damaged
        file.seek(0)
        return True


def fit(picture: Image.Image, settings: Settings) -> Array:
    """Returns a picture as uint8 `(height, width, channels)`, converted and resized by the settings."""
    if picture.mode.startswith(("I", "F")):
        picture = _eight_bits(picture, settings)
    elif picture.mode in ("PA", "LA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        picture = _on_background(picture.convert("RGBA"), settings)
    elif picture.mode == "LAB":
        picture = _from_lab(picture)
    mode = "L" if settings.channels == 1 else "RGB"
    converted = picture if picture.mode == mode else picture.convert(mode)  # it would copy the pixels
    array = np.asarray(resized(converted, settings), dtype="uint8")
    return array[..., None] if array.ndim == 2 else array


def _eight_bits(picture: Image.Image, settings: Settings) -> Image.Image:
    """Returns a 16-bit picture with 8 bits, scaled by a constant factor; Pillow would clip at 255."""
    values, alpha = np.asarray(picture), _transparency(picture)
    grey = eight_bits(values)
    if alpha is not None:
        grey = np.where(alpha > 0, grey, np.uint8(round(_grey_of(settings.background))))
    return Image.fromarray(grey)


def eight_bits(values: Array) -> Array:
    """Returns 16-bit values, 0 to 65,535, as uint8."""
    scaled: Array = np.clip(values / 257, 0, 255).round().astype("uint8")
    return scaled


def _on_background(picture: Image.Image, settings: Settings) -> Image.Image:
    page = Image.new("RGBA", picture.size, (*settings.background, 255))
    return Image.alpha_composite(page, picture).convert("RGB")


def _is_see_through(picture: Image.Image) -> bool:
    """Whether a picture has transparent pixels."""
    if picture.mode in ("PA", "LA", "RGBA", "La", "RGBa"):
        low, _ = picture.getchannel(picture.getbands()[-1]).getextrema()
        return float(low) < 255  # type: ignore[arg-type]
    if "transparency" not in picture.info:
        return False
    if picture.mode.startswith(("I", "F")):
        alpha = _transparency(picture)
        return alpha is not None and bool((alpha < 1).any())
    low, _ = picture.convert("RGBA").getchannel("A").getextrema()
    return float(low) < 255  # type: ignore[arg-type]


def _from_lab(picture: Image.Image) -> Image.Image:
    """Returns CIELAB colours as sRGB; Pillow's `convert` refuses them."""
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(picture, lab, rgb, outputMode="RGB")
    assert converted is not None
    return converted


def resized(picture: Image.Image, settings: Settings) -> Image.Image:
    """Returns the picture in the requested size: stretched, padded with black, or cropped to the middle."""
    if settings.size is None or picture.size == (settings.size[1], settings.size[0]):
        return picture
    size = (settings.size[1], settings.size[0])
    if settings.resize == "pad":
        return ImageOps.pad(picture, size, Image.Resampling.BILINEAR)
    if settings.resize == "crop":
        return ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
    return picture.resize(size, Image.Resampling.BILINEAR)


def is_deep(file: Image.Image) -> bool:
    """Whether a file has more than 8 bits per value that can be read."""
    if file.mode.startswith(("I", "F")):
        return True
    raw = _raw_mode(file)
    return raw in _LOW_BYTES or raw == "LA;16B"


def _raw_mode(file: Image.Image) -> str:
    tiles = getattr(file, "tile", None)
    if not tiles or file.format not in ("PNG", "TIFF"):
        return ""
    args = tiles[0][3]
    raw = args[0] if isinstance(args, tuple) and args else args
    return str(raw).replace("16N", "16L") if isinstance(raw, str) else ""


def deep_values(path: str | BytesIO, file: Image.Image) -> tuple[Array, Array | None]:
    """Returns a deep file's values, float32 `(height, width, 1 or 3)`, and its opacity `(height, width)`, 0 to 1, if any.

    Raises:
        UnreadableImage: the file holds NaN or infinite values.
    """
    raw, alpha = _raw_mode(file), None
    if file.mode.startswith(("I", "F")):
        values = np.asarray(file).astype("float32")[..., None]
        alpha = _transparency(file)
    elif raw == "LA;16B":
        both = np.asarray(_with_raw_mode(file, "RGBA")).astype("float32")
        values, alpha = both[..., :1] * 256 + both[..., 1:2], (both[..., 2] * 256 + both[..., 3]) / 65535
    else:
        high = np.asarray(file).astype("float32")
        with Image.open(path, formats=FORMATS) as again:
            values = high * 256 + np.asarray(_with_raw_mode(again, _LOW_BYTES[raw]))
        if values.shape[2] == 4:
            values, alpha = values[..., :3], values[..., 3] / 65535
        elif isinstance(file.info.get("transparency"), tuple):
            alpha = (values != file.info["transparency"]).any(axis=2).astype("float32")
    if not np.isfinite(values).all():
        raise UnreadableImage("it holds NaN or infinite values")
    return values, alpha


def _with_raw_mode(file: Image.Image, raw: str) -> Image.Image:
    """Returns the file, set to decode its data in another raw mode."""
    first = file.tile[0]  # type: ignore[attr-defined]
    args = (raw, *first[3][1:]) if isinstance(first[3], tuple) else raw
    file.tile = [(*tile[:3], args) if not hasattr(tile, "_replace") else tile._replace(args=args) for tile in file.tile]  # type: ignore[attr-defined]
    return file


def _transparency(picture: Image.Image) -> Array | None:
    """Returns the opacity of a deep grey picture with a transparent value, 0 or 1; None if it has no such value."""
    value = picture.info.get("transparency")
    if not isinstance(value, int):
        return None
    opacity: Array = (np.asarray(picture) != value).astype("float32")
    return opacity


def fit_deep(
    values: Array, alpha: Array | None, turn: int, settings: Settings
) -> tuple[Array, tuple[float, float, float] | None]:
    """Returns deep values as float32 `(height, width, channels)`, scaled by the range, and the limits of the file's values."""
    assert settings.value_range is not None
    opaque = values if alpha is None else values[alpha > 0]
    limits = None
    if opaque.size:
        limits = (float(opaque.min()), float(opaque.max()), float(np.quantile(opaque.reshape(-1)[:: _every(opaque)], 0.999)))
    low, high = settings.value_range
    scaled = (values - np.float32(low)) * np.float32(255 / (high - low))
    if alpha is not None:
        ground = np.array(settings.background if scaled.shape[2] == 3 else [_grey_of(settings.background)], "float32")
        scaled = scaled * alpha[..., None] + ground * (1 - alpha[..., None])
    if settings.channels == 1 and scaled.shape[2] == 3:
        scaled = (scaled @ np.array(_GREY, "float32"))[..., None]
    bands = []
    for band in np.moveaxis(scaled, 2, 0):
        picture = Image.fromarray(np.ascontiguousarray(band, dtype="float32"))
        bands.append(np.asarray(resized(picture.transpose(_TURNS[turn]) if turn in _TURNS else picture, settings)))
    pixels = np.stack(bands if len(bands) == settings.channels else bands * settings.channels, axis=2)
    return pixels.astype("float32"), limits


def _every(values: Array) -> int:
    """Returns the sampling step of values for a quantile."""
    return int(max(1, values.size // 100_000))


def _grey_of(colour: tuple[int, int, int]) -> float:
    return sum(weight * part for weight, part in zip(_GREY, colour, strict=True))


def _ends_grey(file: Image.Image) -> bool:
    if file.mode not in ("L", "RGB", "YCbCr"):
        return False
    last = file.getpixel((file.width - 1, file.height - 1))
    return last in (128, (128, 128, 128))
