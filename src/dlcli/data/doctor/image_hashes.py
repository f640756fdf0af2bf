"""Perceptual hashes of images by the library ImageHash, and the search for pairs of similar hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

from dlcli.arrays import Array

MOST_BITS = 8
"""Hashes of 64 bits that differ in at most so many bits are similar."""
ORIENTATIONS = (
    "",
    "turned by 90 degrees",
    "turned by 180 degrees",
    "turned by 270 degrees",
    "mirrored",
    "mirrored and turned by 90 degrees",
    "mirrored upside down",
    "mirrored and turned by 270 degrees",
)
"""The eight orientations of an image as text; see `oriented`."""
KINDS = 2
"""The number of hashes of an image."""
NO_HASHES = np.zeros((len(ORIENTATIONS), KINDS), "uint64")
"""The hashes of an image that is not hashed."""
_HASHED = 32
"""Side of the image from which the library computes a hash, in pixels."""
_BANDS = 9
"""One more than `MOST_BITS`: of 9 bands of the bits, similar hashes have at least one in common."""
_FEW = 3000
"""Number of images up to which all pairs are compared without bands."""
_KEYS = 256
_NO_BAND = -1
_BLOCK = 2**18


@cache
def can_hash() -> bool:
    """Whether the library is installed."""
    return find_spec("imagehash") is not None


@cache
def _methods() -> tuple[Callable[[Any], Any], ...]:
    import imagehash

    return (imagehash.phash, imagehash.dhash)


def hashes_of(grey: Array) -> Array:
    """Returns two hashes of a grey image `(height, width)` in each of its eight orientations, uint64 `(8, 2)`.

    They are `imagehash.phash`, the 64 lowest frequencies compared with their median, and `imagehash.dhash`, the signs of 64
    differences of neighbours. Brightness changes the first in few images, a caption the second. Zeros without the library.
    """
    if not can_hash():
        return NO_HASHES
    picture = Image.fromarray(np.rint(grey).astype("uint8"))
    pixels = np.asarray(picture.resize((_HASHED, _HASHED), Image.Resampling.LANCZOS))
    turned = [Image.fromarray(np.ascontiguousarray(oriented(pixels, number))) for number in range(len(ORIENTATIONS))]
    bits = np.stack([method(image).hash.ravel() for image in turned for method in _methods()])
    return np.packbits(bits, axis=1).view(">u8").astype("uint64").reshape(len(turned), KINDS)


def oriented(image: Array, number: int) -> Array:
    """Returns an image `(height, width, ...)` in one of the eight orientations: mirrored from 4 on, and turned."""
    return np.rot90(image[:, ::-1] if number >= 4 else image, -(number % 4))


def similar_pairs(hashes: Array, most_pairs: int, progress: Callable[[int, int], None]) -> Array | None:
    """Returns the pairs of images of which one of the two hashes differs in at most 8 bits, in any orientation.

    Hashes that differ in at most 8 bits are equal in one of 9 bands of 7 or 8 bits, so only hashes with an equal band are
    compared, in blocks: for 100,000 images about a tenth of all pairs, and memory for a block and the pairs.

    Args:
        hashes: uint64 `(n, 8, 2)`: both hashes of each image in each orientation.
        most_pairs: the maximum number of pairs.
        progress: receives the number of compared bands, and their total.

    Returns:
        int64 `(pairs, 3)`: the places of two images, and the orientation of the second one in which it is similar to the first
        one as it is. A pair occurs for each such orientation, in either order. None if there are more than `most_pairs`.
    """
    rows, total = list[Array](), 0
    bands: Sequence[int] = range(_BANDS) if len(hashes) > _FEW else (_NO_BAND,)
    steps = [(kind, band) for kind in range(KINDS) for band in bands]
    for step, (kind, band) in enumerate(steps):
        by_orientation = np.ascontiguousarray(hashes[:, :, kind].T)
        first = _by_key(_band(by_orientation[0], band))
        for orientation in range(len(ORIENTATIONS)):
            for pairs in _band_pairs(by_orientation, orientation, band, first):
                rows.append(pairs)
                total += len(pairs)
                if total > most_pairs:
                    return None
        progress(step + 1, len(steps))
    return np.unique(np.concatenate(rows), axis=0) if rows else np.zeros((0, 3), "int64")


def _band(hashes: Array, band: int) -> Array:
    """Returns the bits of a band: 7 bits, and 8 in the last one; 0 for no band."""
    if band == _NO_BAND:
        return np.zeros(len(hashes), "int64")
    shifted = hashes >> np.uint64(7 * band)
    return (shifted & np.uint64(0xFF if band == _BANDS - 1 else 0x7F)).astype("int64")


def _by_key(keys: Array) -> tuple[Array, Array]:
    """Returns the places sorted by their keys, and where each key starts among them."""
    return np.argsort(keys, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=_KEYS))])


def _band_pairs(hashes: Array, orientation: int, band: int, first: tuple[Array, Array]) -> Iterator[Array]:
    """Yields the pairs whose hashes are equal in this band and in none before it.

    Args:
        hashes: uint64 `(8, n)`.
        orientation: that of the second image.
        band: the number of the band.
        first: the first images by their bits in the band.
    """
    second = _by_key(_band(hashes[orientation], band))
    for key in np.flatnonzero((np.diff(first[1]) > 0) & (np.diff(second[1]) > 0)).tolist():
        ours, theirs = (order[starts[key] : starts[key + 1]] for order, starts in (first, second))
        size = max(1, _BLOCK // len(theirs))
        for start in range(0, len(ours), size):
            block = ours[start : start + size]
            near = np.bitwise_count(hashes[0, block, None] ^ hashes[orientation, theirs]) <= MOST_BITS
            rows, columns = np.divmod(np.flatnonzero(near), len(theirs))
            pairs = np.stack([block[rows], theirs[columns], np.full(len(rows), orientation)], axis=1)
            pairs = pairs[pairs[:, 0] != pairs[:, 1]]
            yield pairs[_is_first_band(hashes, pairs, band)]


def _is_first_band(hashes: Array, pairs: Array, band: int) -> Array:
    differing = hashes[0, pairs[:, 0]] ^ hashes[pairs[:, 2], pairs[:, 1]]
    is_first = np.ones(len(pairs), bool)
    for earlier in range(band):
        is_first &= _band(differing, earlier) != 0
    return is_first
