"""Image files of a source: the range of their values, and properties that a user should know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.split import SplitExamples
from dlcli.errors import DataError
from dlcli.runtime.image_reader import Picture
from dlcli.runtime.images import ImageFiles, ImageOptions, incomplete_words, is_deep_file, range_note
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources import Examples

SAMPLED = 300
"""Number of checked files of a split that is too large to be kept in memory."""
SAMPLED_ARRAYS = 20_000
"""Maximum number of checked images of an array, evenly spaced."""
_AS_THEY_ARE = (0.0, 255.0)
_FULL, _QUARTER = 65_535, 16_384


def with_value_range(
    splits: SplitExamples, image: ImageSettings, array_range: tuple[float, float] | None = None, *, first: bool
) -> tuple[SplitExamples, ImageSettings | None, list[str]]:
    """Returns the splits with the value range of their image files resolved, the settings of those files, and notes.

    Args:
        splits: the examples, with or without image files.
        image: the spec's settings.
        array_range: the value range that the source has chosen for arrays.
        first: whether the data is opened for the first time. Otherwise a range of `auto` means 8 bits.

    Raises:
        DataError: a file cannot be read, or some files are deep and their values do not fit those of the others.
    """
    inputs = {name: examples.inputs for name, examples in splits.by_name.items()}
    files = {name: images for name, images in inputs.items() if isinstance(images, ImageFiles)}
    if not files:
        return splits, image.model_copy(update={"value_range": array_range}) if array_range else None, []
    value_range, notes = image.value_range, list[str]()
    if value_range == "auto":
        value_range, notes = _decided(files) if first else ("uint8", [])

    def ranged(examples: Examples) -> Examples:
        images = examples.inputs
        return replace(examples, inputs=images.with_range(value_range)) if isinstance(images, ImageFiles) else examples

    return splits.changed(ranged), image.model_copy(update={"value_range": value_range}), notes


def _decided(files: dict[str, ImageFiles]) -> tuple[Any, list[str]]:
    """Returns the value range for `auto`, and notes."""
    paths = list(dict.fromkeys(path for inputs in files.values() for path in inputs.paths))
    with ThreadPoolExecutor() as pool:
        deep = [path for path, is_deep in zip(paths, pool.map(is_deep_file, paths), strict=True) if is_deep]
    if not deep:
        return "uint8", []
    image = next(iter(files.values())).image
    if len(deep) < len(paths):
        return "uint8", [_note_of_mixed(ImageFiles(tuple(deep), image), len(paths), next(iter(set(paths) - set(deep))))]
    low, high, most = _limits(files["train"])
    note = range_note(low, high)
    if most - low < (high - low) / 8:
        note += f"; 99.9 % of them are below {most:,g}, so data.image.value_range: [{low:g}, {most:g}] may fit better"
    return (low, high if high > low else low + 1), [note]


def _limits(files: ImageFiles) -> tuple[float, float, float]:
    """Returns the smallest and largest value of deep files, and the largest of their 99.9 % quantiles.

    Raises:
        DataError: a file cannot be read.
    """
    lows, highs, most = [], [], []
    for path, picture in files.with_range(_AS_THEY_ARE).pictures():
        if isinstance(picture, str):
            raise DataError(f"{path}: {picture}")
        if picture.limits is not None:
            low, high, quantile = picture.limits
            lows.append(low)
            highs.append(high)
            most.append(quantile)
    return (min(lows), max(highs), max(most)) if lows else (0.0, float(_FULL), float(_FULL))


def _note_of_mixed(deep: ImageFiles, total: int, shallow: str) -> str:
    """Returns the note on a mixture of deep files and files of 8 bits.

    Raises:
        DataError: the values of the deep files do not use all 16 bits, so that their upper 8 bits hold little information.
    """
    low, high, _ = _limits(deep)
    count = f"{len(deep)} of {total:,} image files have more than 8 bits, such as {deep.paths[0]}"
    start, end = (0.0, float(2 ** int(high).bit_length() - 1)) if low >= 0 and high >= 1 else (low, max(high, low + 1))
    if low < 0 or not _QUARTER <= high <= _FULL:
        raise DataError(
            f"{count}, with values from {low:,g} to {high:,g}; others have 8 bits, such as {shallow}: no scale fits"
            f" both. Convert them to one kind, or set data.image.value_range, such as [{start:g}, {end:g}]: these values of"
            " the deeper files become 0 and 255"
        )
    return f"{count}; the upper 8 of 16 bits are used, since the other files have 8"


@dataclass
class Survey:
    """The findings of decoding image files; lists hold paths.

    Attributes:
        incomplete: messages on JPEG files whose data ends early.
        flat: images of a single colour once decoded.
        flat_see_through: those of them with transparent pixels.
        frames: files with several frames or pages.
        ignored: files with an EXIF orientation that cannot be read.
        decoded: the number of files that were checked.
        total: the number of all files.
    """

    incomplete: list[str] = field(default_factory=list)
    flat: list[str] = field(default_factory=list)
    flat_see_through: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    decoded: int = 0
    total: int = 0
    _image: ImageOptions | None = None

    def decode(self, files: ImageFiles) -> Array:
        """Returns the pixels of all files `(n, height, width, channels)` and records the findings.

        Raises:
            DataError: a file cannot be read.
        """
        pixels = np.empty((len(files), *files.shape), dtype=files.dtype)
        self.decode_to(files, pixels.__setitem__)
        return pixels

    def decode_to(self, files: ImageFiles, keep: Callable[[int, Array], None]) -> None:
        """Decodes all files, passes the position and the pixels of each to `keep`, and records the findings.

        Raises:
            DataError: a file cannot be read.
        """
        self._image = files.image
        for place, (path, picture) in enumerate(files.pictures()):
            if isinstance(picture, str):
                raise DataError(f"{path}: {picture}")
            keep(place, picture.pixels)
            self._look_at(path, picture)
        self.total += len(files)

    def sample(self, files: ImageFiles) -> None:
        """Checks evenly spaced files; unreadable files are skipped here and reported when they are needed."""
        self._image = files.image
        for path, picture in files.take(_spaced(len(files), SAMPLED)).pictures():
            if isinstance(picture, Picture):
                self._look_at(path, picture)
        self.total += len(files)

    def look_at_arrays(self, images: Array, ids: Sequence[str]) -> None:
        """Counts the single-colour images in an array `(n, height, width, channels)`; checks at most 20,000 images."""
        places = _spaced(len(images), SAMPLED_ARRAYS)
        for start in range(0, len(places), 256):
            block = places[start : start + 256]
            pixels = images[block]
            is_flat = (pixels == pixels[:, :1, :1]).all(axis=(1, 2, 3))
            self.flat += [ids[place] for place in block[is_flat].tolist()]
        self.decoded += len(places)
        self.total += len(images)

    def _look_at(self, path: str, picture: Picture) -> None:
        self.decoded += 1
        if picture.ends_grey:
            self.incomplete += [words for words in [incomplete_words(path)] if words]
        if is_flat(picture.pixels):
            self.flat.append(path)
            if picture.see_through:
                self.flat_see_through.append(path)
        if picture.frames:
            self.frames.append(path)
        if picture.ignored:
            self.ignored.append(path)

    def refuse_incomplete(self) -> None:
        """Raises DataError if JPEG files end early."""
        if self.incomplete:
            rest = f"; and {len(self.incomplete) - 10} more" if len(self.incomplete) > 10 else ""
            raise DataError(
                f"{len(self.incomplete)} of {self.decoded:,} images cannot be read: {'; '.join(self.incomplete[:10])}{rest};"
                " replace or remove them, or set data.on_error: skip"
            )

    def flat_facts(self) -> dict[str, Any]:
        """Returns the entry `flat_images` of `data.json`: the number of single-colour `images`, `of` how many, and up to 10.

        `background` is the colour behind transparent pixels with which they would not be flat; empty where there is none.
        """
        return {
            "images": len(self.flat),
            "of": self.decoded,
            "some": self.flat[:10],
            "background": self._better_background(),
        }

    def _better_background(self) -> str:
        if self._image is None or not self.flat_see_through:
            return ""
        opposite = "black" if sum(self._image.background_colour) > 3 * 127 else "white"
        image = self._image.model_copy(update={"background": opposite})
        for _, picture in ImageFiles(tuple(self.flat_see_through[:3]), image).pictures():
            if isinstance(picture, Picture) and not is_flat(picture.pixels):
                return opposite
        return ""

    def notes(self) -> list[str]:
        """Returns a sentence for each kind of finding."""
        of = f" (of {self.decoded:,} files that were looked at)" if self.decoded < self.total else ""
        flat = f"{_count(self.flat, 'image has', 'images have')} a single colour once decoded, such as {_first(self.flat)}{of}"
        if self.flat_see_through:
            flat += (
                f"; {_count(self.flat_see_through, 'has', 'have')} transparent pixels, whose background is set by"
                " data.image.background (white, black, or a colour)"
            )
        frames = f"{_count(self.frames, 'file has', 'files have')} several frames or pages, of which the first is used"
        ignored = f"the EXIF orientation of {_count(self.ignored, 'image', 'images')} cannot be read and was ignored"
        return [
            *([flat] if self.flat else []),
            *([f"{frames}, such as {_first(self.frames)}{of}"] if self.frames else []),
            *([f"{ignored}, such as {_first(self.ignored)}{of}"] if self.ignored else []),
        ]


def is_flat(pixels: Array) -> bool:
    """Whether an image `(height, width, channels)` has a single colour."""
    return bool((pixels == pixels[:1, :1]).all())


def _spaced(count: int, most: int) -> Array:
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype("int64"))


def _count(paths: list[str], singular: str, plural: str) -> str:
    return f"{len(paths):,} {singular if len(paths) == 1 else plural}"


def _first(paths: list[str]) -> str:
    return paths[0] if paths else ""
