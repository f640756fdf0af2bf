"""Facts about every image of a source, which the checks of images share: each image is decoded once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from PIL import Image

from dlcli.arrays import Array
from dlcli.data.doctor.check import Progress, Subject
from dlcli.data.doctor.image_hashes import NO_HASHES, hashes_of
from dlcli.data.image_files import is_flat, with_value_range
from dlcli.errors import DataError
from dlcli.runtime.helper_process import HelperFailed, HelperProcess
from dlcli.runtime.image_reader import Picture, Settings, UnreadableImage, read_picture
from dlcli.runtime.images import (
    ImageFiles,
    ImageOptions,
    fault_of_decoded,
    settings_of,
    shown,
    warnings_by_thread,
    warnings_of_thread,
)
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.threads import affinity
from dlcli.spec.data.sources import Examples

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
_CHUNK = 256
_MANY_FILES, _MOST_PROCESSES = 1000, 8
"""Number of files from which on several processes decode them, and how many at most."""
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


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """The facts about the images of all splits, in the order of the splits; one entry for each image.

    Attributes:
        ids: the ids of the examples.
        splits: the split of each.
        labels: the text of each label; empty for targets without texts.
        paths: the files; empty for images of an array.
        records: what is known of each image.
        fault: why the value range of the files cannot be determined; empty if it can.
        digest_of: returns the digest of the decoded pixels of the image at a place.
    """

    ids: list[str]
    splits: list[str]
    labels: list[str]
    paths: list[str]
    records: list[ImageRecord]
    fault: str
    digest_of: Callable[[int], bytes]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def decoded(self) -> list[int]:
        """The places of the images that could be decoded."""
        return [place for place, record in enumerate(self.records) if record.size != (0, 0)]


def has_images(subject: Subject) -> bool:
    """Whether the examples are images."""
    return subject.splits.train.inputs.kind == "images"


def image_facts(subject: Subject, progress: Progress) -> ImageFacts:
    """Returns the facts about the images, which are measured when they are first needed; about 4 kB are kept of each."""
    if "images" not in subject.measurements:
        subject.measurements["images"] = _measured(subject, progress)
    facts: ImageFacts = subject.measurements["images"]
    return facts


FILE_RECORDS = "image files"
"""The name of the measurement that holds the records of the image files that were decoded to find unreadable ones."""
FileRecords = dict[tuple[str, Settings], ImageRecord]
"""Records of image files, by their path and the settings that they were read with."""


def file_records(files: ImageFiles, decoded: FileRecords | None = None) -> Iterator[ImageRecord]:
    """Yields the record of each image file, in order. All cores decode them, except for those that `decoded` has."""
    settings, decoded = settings_of(files.image), decoded or {}
    missing = [place for place, path in enumerate(files.paths) if (path, settings) not in decoded]
    new = _new_records(files.take(np.array(missing, "int64")))
    for path in files.paths:
        yield decoded[path, settings] if (path, settings) in decoded else next(new)


def _new_records(files: ImageFiles) -> Iterator[ImageRecord]:
    """Yields the record of each image file, which helper processes decode too if there are many of them.

    Most of the work on small images is done by Python, so that threads mostly wait for each other.
    """
    chunks = [files.take(np.arange(start, min(start + _CHUNK, len(files)))) for start in range(0, len(files), _CHUNK)]
    waiting, complete, yielded = deque(range(len(chunks))), dict[int, list[ImageRecord]](), 0
    with _helper_processes(len(files)) as helpers:
        running = dict[HelperProcess, tuple[int, Future[list[ImageRecord]]]]()
        while yielded < len(chunks):
            for helper in helpers:
                if helper not in running and waiting:
                    number = waiting.popleft()
                    running[helper] = number, helper.submit(_records_of, chunks[number])
            if waiting:
                number = waiting.popleft()
                complete[number] = _records_of(chunks[number], threads=1 if helpers else len(affinity()))
            for helper, (number, future) in list(running.items()):
                if future.done() or not waiting:
                    complete[number] = _answer(future, chunks[number])
                    del running[helper]
            while yielded in complete:
                yield from complete.pop(yielded)
                yielded += 1


def _answer(future: Future[list[ImageRecord]], files: ImageFiles) -> list[ImageRecord]:
    try:
        return future.result()
    except HelperFailed:
        return _records_of(files)


@contextmanager
def _helper_processes(files: int) -> Iterator[list[HelperProcess]]:
    """Runs a helper process on each further core, if there are enough files for their start to pay."""
    count = min(len(affinity()), _MOST_PROCESSES) - 1 if files >= _MANY_FILES else 0
    helpers = list[HelperProcess]()
    with ExitStack() as stack:
        with suppress(OSError):  # too little memory, or too many processes
            for _ in range(count):
                helpers.append(HelperProcess())
                stack.callback(helpers[-1].close)
        yield helpers


def _records_of(files: ImageFiles, threads: int = 1) -> list[ImageRecord]:
    with warnings_by_thread(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda place: _file_record(files, place), range(len(files))))


def _measured(subject: Subject, progress: Progress) -> ImageFacts:
    settings, fault = subject.experiment.data.image, ""
    splits = subject.splits
    try:
        splits, _, _ = with_value_range(splits, settings, subject.opened.value_range, first=True)
    except DataError as error:
        fault = str(error)
    examples = splits.distinct
    total, records = sum(map(len, examples.values())), list[ImageRecord]()
    for split_examples in examples.values():
        for record in _records(split_examples.inputs, subject.measurements.get(FILE_RECORDS)):
            records.append(record)
            if len(records) % _CHUNK == 0 or len(records) == total:
                progress("reading images", len(records), total)
    output, classes = subject.experiment.task.output, subject.opened.classes
    places = [(of, place) for of in examples.values() for place in range(len(of))]
    return ImageFacts(
        ids=[of.ids[place] for of, place in places],
        splits=[split for split, of in examples.items() for _ in of.ids],
        labels=[output.text(of.targets[place], classes) if output.has_texts else "" for of, place in places],
        paths=[of.inputs.paths[place] if isinstance(of.inputs, ImageFiles) else "" for of, place in places],
        records=records,
        fault=fault,
        digest_of=lambda place: records[place].digest or _whole_digest(*places[place]),
    )


def _records(inputs: Inputs, decoded: FileRecords | None) -> Iterator[ImageRecord]:
    """Yields what is known of each image, in order."""
    if isinstance(inputs, ImageFiles):
        yield from file_records(inputs, decoded)
        return
    for start in range(0, len(inputs), _CHUNK):
        for pixels in inputs.read(np.arange(start, min(start + _CHUNK, len(inputs)))):
            yield _record(None, pixels, is_whole=True)


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
    record = _record(replace(picture, pixels=pixels[:0]), pixels, is_whole=is_whole)
    upright = (width, height) if picture.turn > 4 else (height, width)
    return replace(record, fault=fault, size=upright)


def _settings(image: ImageOptions, size: tuple[int, int] | None) -> Settings:
    """Returns the settings for decoding in colour: at the stored size, or stretched to `size`."""
    return replace(settings_of(image), size=size, channels=3, resize="stretch")


def _whole_digest(examples: Examples, place: int) -> bytes:
    """Returns the digest of an image that was reduced while it was decoded, from all its pixels."""
    files = examples.inputs
    assert isinstance(files, ImageFiles)
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


def _record(picture: Picture | None, pixels: Array, *, is_whole: bool) -> ImageRecord:
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
