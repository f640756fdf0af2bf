"""Reading and resizing images: the one path for training, evaluation and prediction."""

from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dlcli.errors import DataError
from dlcli.spec.sources.image_types import FORMATS

if TYPE_CHECKING:
    from dlcli.spec.data import ImageSettings

    Array = np.ndarray[Any, Any]

_ENDS = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"))
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class ImageFiles:
    """Image files of one size once read: uint8 `(height, width, channels)`, 0 to 255."""

    paths: tuple[str, ...]
    image: ImageSettings

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width = self.image.size or (0, 0)
        return (height, width, self.image.channels or 3)

    def take(self, positions: Array) -> ImageFiles:
        """Returns the files at some positions."""
        return ImageFiles(tuple(self.paths[position] for position in positions), self.image)

    def unreadable(self, *, thorough: bool) -> dict[int, str]:
        """Returns the positions of files that cannot be read, with what is wrong; each named by its path.

        `thorough` decodes every file. Without it a file that begins and ends as its format wants is taken as sound: what
        is empty, cut off or no image is found in a tenth of the time, a wrong byte in the middle is not.
        """

        def fault(position: int) -> str:
            path = self.paths[position]
            if not thorough and _ends_well(path):
                return ""
            try:
                read_image(path, self.image)
            except DataError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor() as pool:
            found = enumerate(pool.map(fault, range(len(self.paths))))
            return {position: words for position, words in found if words}

    def read(self, positions: Array) -> Array:
        """Returns the images at some positions, `(len(positions), height, width, channels)`.

        Raises:
            DataError: a file is empty, truncated or no image; it is named.
        """
        images = np.empty((len(positions), *self.shape), dtype="uint8")

        def place(slot: int) -> None:
            images[slot] = read_image(self.paths[positions[slot]], self.image)

        with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes outside the interpreter's lock
            list(pool.map(place, range(len(positions))))
        return images


def read_image(path: str, image: ImageSettings) -> Array:
    """Returns one file as uint8 `(height, width, channels)`: turned upright (EXIF), the first frame, resized.

    Raises:
        DataError: the file is empty, truncated or no image.
    """
    try:
        with Image.open(path, formats=FORMATS) as file:
            if image.size is not None:
                # A JPEG is decoded at a half, quarter or eighth of its size where that is at least twice what is wanted.
                file.draft(None, (2 * max(image.size), 2 * max(image.size)))
            return fit(ImageOps.exif_transpose(file), image)
    except UnidentifiedImageError:
        raise DataError(f"{path}: {_unreadable(path)}") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {_words(error)}") from None


def _ends_well(path: str) -> bool:
    """Whether a file begins as a JPEG or PNG and ends with that format's last bytes."""
    try:
        with Path(path).open("rb") as file:
            begin = file.read(8)
            file.seek(-min(12, os.fstat(file.fileno()).st_size), os.SEEK_END)
            end = file.read()
    except OSError:
        return False
    return any(begin.startswith(first) and end.endswith(last) for first, last in _ENDS)


def _unreadable(path: str) -> str:
    return "an empty file" if Path(path).stat().st_size == 0 else f"no image ({', '.join(FORMATS)}), though named like one"


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"not readable as an image: {error}"


def fit(picture: Image.Image, image: ImageSettings) -> Array:
    """Returns a picture as uint8 `(height, width, channels)` in the size, channels and manner of the settings."""
    if picture.mode in ("PA", "LA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        picture = _on_white(picture.convert("RGBA"))
    elif picture.mode.startswith(("I", "F")):
        # 16 bits: to 8 by one factor for every image; Pillow would cut off at 255.
        picture = Image.fromarray(eight_bits(np.asarray(picture)))
    array = np.asarray(resized(picture.convert(_MODES[image.channels or 3]), image), dtype="uint8")
    return array[..., None] if array.ndim == 2 else array


def eight_bits(values: Array) -> Array:
    """Returns 16-bit values, 0 to 65,535, as uint8."""
    scaled: Array = np.clip(values / 257, 0, 255).round().astype("uint8")
    return scaled


def _on_white(picture: Image.Image) -> Image.Image:
    page = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(page, picture).convert("RGB")


def resized(picture: Image.Image, image: ImageSettings) -> Image.Image:
    """Returns the picture in the wanted size: stretched, padded with black, or cropped to the middle."""
    if image.size is None or picture.size == (image.size[1], image.size[0]):
        return picture
    size = (image.size[1], image.size[0])
    if image.resize == "pad":
        return ImageOps.pad(picture, size, Image.Resampling.BILINEAR)
    if image.resize == "crop":
        return ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
    return picture.resize(size, Image.Resampling.BILINEAR)


def fit_array(pixels: Array, image: ImageSettings) -> Array:
    """Returns one image `(height, width, channels)` of 8 or 16 bits as uint8 in the settings' size and channels."""
    pixels = pixels if pixels.dtype == "uint8" else eight_bits(pixels)
    settings = image.model_copy(update={"channels": image.channels or (1 if pixels.shape[2] == 1 else 3)})
    return fit(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels), settings)


def fit_arrays(images: Array, image: ImageSettings) -> Array:
    """Returns uint8 images `(n, height, width, channels)` in the settings' size and channels."""
    same = image.size in (None, images.shape[1:3]) and image.channels in (None, images.shape[3])
    if same or not len(images):
        return images
    first = fit_array(images[0], image)
    fitted = np.empty((len(images), *first.shape), dtype="uint8")
    for position, pixels in enumerate(images):
        fitted[position] = fit_array(pixels, image)
    return fitted
