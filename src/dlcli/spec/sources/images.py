"""Reading and resizing images: the one path for training, evaluation and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dlcli.errors import DataError

if TYPE_CHECKING:
    from dlcli.spec.data import ImageSettings

    Array = np.ndarray[Any, Any]

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
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file)
            return fit(upright, image)
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image that can be read (empty, or something else under an image's name)") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {error}") from None


def fit(picture: Image.Image, image: ImageSettings) -> Array:
    """Returns a picture as uint8 `(height, width, channels)` in the size, channels and manner of the settings."""
    mode = _MODES[image.channels or 3]
    if picture.mode in ("P", "PA", "LA", "RGBA") and "A" in picture.convert("RGBA").mode:
        picture = _on_white(picture.convert("RGBA"))
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 bits and more: scaled, where Pillow would cut off at 255
        values = np.asarray(picture, dtype="float64")
        picture = Image.fromarray((values / max(values.max(), 1) * 255).astype("uint8"))
    picture = resized(picture.convert(mode), image)
    array = np.asarray(picture, dtype="uint8")
    return array[..., None] if array.ndim == 2 else array


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


def fit_arrays(images: Sequence[Array], image: ImageSettings) -> Array:
    """Returns uint8 images `(n, height, width, channels)` in the settings' size and channels."""
    first = images[0]
    same = image.size in (None, first.shape[:2]) and image.channels in (None, first.shape[2])
    if isinstance(images, np.ndarray) and same:
        return images
    settings = image.model_copy(
        update={"channels": image.channels or first.shape[2], "size": image.size or tuple(first.shape[:2])}
    )
    return np.stack([fit(Image.fromarray(one[..., 0] if one.shape[2] == 1 else one), settings) for one in images])
