"""What is known of one image: a record of small size, which is measured where the image is decoded.

Helper processes decode files too (`file_records`), so this module imports no TensorFlow: it takes 600 MB of memory and seconds
in each of them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from PIL import Image

from dlcli.arrays import Array
from dlcli.data.doctor.image_hashes import NO_HASHES, hashes_of
from dlcli.data.image_files import is_flat
from dlcli.runtime.image_arrays import shown
from dlcli.runtime.image_reader import Picture, Settings, UnreadableImage, read_picture
from dlcli.runtime.images import (
    ImageFiles,
    ImageOptions,
    fault_of_decoded,
    settings_of,
    warnings_by_thread,
    warnings_of_thread,
)

DECODED_WHOLE = 2**20
"""Maximum number of pixels of an image file that is decoded at its full size; larger ones are reduced to 256 by 256."""
_REDUCED = (256, 256)
_BASE = 64
"""Side to which images are reduced before they are hashed and compared, in pixels."""
COMPARED = 32
"""Side of the small images by which similar images are compared, in pixels."""
_SAMPLED_SIDE = 128
"""Pixels of a row or column that the statistics use, evenly spaced."""
GREY_WEIGHTS = np.array((0.299, 0.587, 0.114), "float32")
"""Weights of red, green and blue in a grey value (ITU-R BT.601), as in the image reader."""
_GREY_TOLERANCE = 2
SMALLEST = 32
"""Minimum side of images that are compared by hashes, in pixels: smaller images are alike by chance."""
TWO_VALUED = 0.9
"""Share of nearly dark and nearly bright pixels from which an image counts as two-valued: such images are alike by chance."""
CONTRAST = 1
"""The place of the contrast among the statistics of an image."""
BLANK = 3.0
"""Deviation of the brightness, of 255 levels, below which an image counts as blank."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRecord:
    """What is known of one image.

    Attributes:
        picture: the facts of the reader; without pixels. None for an image of an array, or one that cannot be read.
        fault: why it cannot be decoded, or that its data is incomplete; empty for an intact image.
        size: height and width, upright.
        digest: a digest of the decoded pixels; empty if the image was reduced while it was decoded.
        small: the image reduced to 32 by 32 pixels, uint8 `(32, 32, 3)`.
        hashes: two perceptual hashes in each of the eight orientations, uint64 `(8, 2)`; zeros of a tiny image, and
            without the extra `data`.
        levels: mean, mean square, minimum and maximum of each channel, float32 `(4, 3)`.
        statistics: brightness, contrast, colourfulness and edges, float32 `(4,)`.
        two_valued: the share of the pixels that are nearly as dark or as bright as the darkest or brightest one.
        is_flat: whether it has a single colour.
        is_grey: whether its channels are equal.
    """

    picture: Picture | None
    fault: str = ""
    size: tuple[int, int] = (0, 0)
    digest: bytes = b""
    small: Array
    hashes: Array
    levels: Array
    statistics: Array
    two_valued: float = 0.0
    is_flat: bool = False
    is_grey: bool = False

    @property
    def is_tiny(self) -> bool:
        """Whether it is too small to be compared by hashes."""
        return min(self.size) < SMALLEST

    @property
    def is_two_valued(self) -> bool:
        """Whether nearly all pixels are as dark or as bright as the darkest or brightest one."""
        return self.two_valued >= TWO_VALUED

    @property
    def is_blank(self) -> bool:
        """Whether it has a single colour, or nearly has."""
        return self.is_flat or float(self.statistics[CONTRAST]) < BLANK


def records_of(files: ImageFiles, threads: int = 1) -> list[ImageRecord]:
    """Returns the record of each image file, in order."""
    with warnings_by_thread(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda place: _file_record(files, place), range(len(files))))


def _file_record(files: ImageFiles, place: int) -> ImageRecord:
    path = files.paths[place]
    height, width = files.stored_size(place) or (0, 0)
    is_whole = height * width <= DECODED_WHOLE
    with warnings_of_thread() as messages:
        try:
            picture = read_picture(path, _settings(files.image, None if is_whole else _REDUCED))
        except UnreadableImage as error:
            return _empty_record(str(error))
    fault, pixels = fault_of_decoded(path, messages).removeprefix(f"{path}: "), picture.pixels
    record = record_of(replace(picture, pixels=pixels[:0]), pixels, is_whole=is_whole)
    upright = (width, height) if picture.turn > 4 else (height, width)
    return replace(record, fault=fault, size=upright)


def _settings(image: ImageOptions, size: tuple[int, int] | None) -> Settings:
    """Returns the settings for decoding in colour: at the stored size, or stretched to `size`."""
    return replace(settings_of(image), size=size, channels=3, resize="stretch")


def whole_digest(files: ImageFiles, place: int) -> bytes:
    """Returns the digest of an image that was reduced while it was decoded, from all its pixels."""
    try:
        return _digest(read_picture(files.paths[place], _settings(files.image, None)).pixels)
    except UnreadableImage:
        return files.paths[place].encode(errors="surrogateescape")


def _digest(pixels: Array) -> bytes:
    """Returns a digest of pixels and their shape; a grey image equals the same image in colour."""
    return blake2b(np.ascontiguousarray(pixels).data, digest_size=16, person=f"{pixels.shape[:2]}".encode()[:16]).digest()


def _empty_record(fault: str) -> ImageRecord:
    return ImageRecord(
        picture=None,
        fault=fault,
        small=np.zeros((COMPARED, COMPARED, 3), "uint8"),
        hashes=NO_HASHES,
        levels=np.zeros((4, 3), "float32"),
        statistics=np.zeros(4, "float32"),
    )


def record_of(picture: Picture | None, pixels: Array, *, is_whole: bool) -> ImageRecord:
    """Returns what is known of an image of pixels `(height, width, 1 or 3)`, 0 to 255."""
    colour = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    sample = colour[:: _step(colour.shape[0]), :: _step(colour.shape[1])].astype("float32")
    base = _base(shown(colour))
    grey = base.astype("float32") @ GREY_WEIGHTS
    levels = [sample.mean((0, 1)), (sample**2).mean((0, 1)), sample.min((0, 1)), sample.max((0, 1))]
    return ImageRecord(
        picture=picture,
        size=pixels.shape[:2],
        digest=_digest(colour) if is_whole else b"",
        small=np.asarray(Image.fromarray(base).resize((COMPARED, COMPARED), Image.Resampling.BOX)),
        hashes=hashes_of(grey) if min(pixels.shape[:2]) >= SMALLEST else NO_HASHES,
        levels=np.stack(levels),
        statistics=np.array([grey.mean(), grey.std(), _colourfulness(base), _edges(grey)], "float32"),
        two_valued=_two_valued_share(sample @ GREY_WEIGHTS),
        is_flat=is_flat(pixels),
        is_grey=_is_grey(base),
    )


def _step(size: int) -> int:
    return max(1, size // _SAMPLED_SIDE)


def _base(pixels: Array) -> Array:
    """Returns a colour image of at most 64 by 64 pixels, uint8: the means of blocks of equal size."""
    height, width = (min(_BASE, size) for size in pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def _colourfulness(pixels: Array) -> float:
    """Returns the colourfulness of Hasler and Suesstrunk (2003): 0 for grey, about 100 for vivid colours."""
    red, green, blue = np.moveaxis(pixels.astype("float32"), 2, 0)
    first, second = red - green, (red + green) / 2 - blue
    return float(np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean()))


def _edges(grey: Array) -> float:
    """Returns the mean difference of neighbouring pixels, as a share of the deviation of all pixels; 0 for a flat image."""
    steps = [np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1) if grey.shape[axis] > 1]
    deviation = float(grey.std())
    return float(np.mean(steps)) / deviation if steps and deviation > 1 else 0.0


def _is_grey(pixels: Array) -> bool:
    """Whether the channels of an image are equal, but for the rounding of a JPEG decoder."""
    channels = pixels.astype("int16")
    return bool((channels.max(axis=2) - channels.min(axis=2)).max() <= _GREY_TOLERANCE)


def _two_valued_share(grey: Array) -> float:
    low, high = float(grey.min()), float(grey.max())
    margin = (high - low) / 8
    return float(((grey <= low + margin) | (grey >= high - margin)).mean())
