"""Image files of a source, which are read when needed, by the rules of `image_reader`."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b, sha256
from math import prod
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from PIL import Image

from dlcli.errors import DataError
from dlcli.runtime.image_orientation import orientation
from dlcli.runtime.image_reader import (
    FORMATS,
    Picture,
    Settings,
    UnreadableImage,
    is_deep,
    read_picture,
)
from dlcli.runtime.inputs import Inputs, Kind, not_zero
from dlcli.runtime.jpeg_data import missing_part
from dlcli.runtime.pixel_cache import PixelCache
from dlcli.runtime.pixel_file import PixelFile
from dlcli.upstream.pillow import silence_libtiff

if TYPE_CHECKING:
    from dlcli.arrays import Array

silence_libtiff()
_ENDS = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"))
CONTENT_HASHED = 2**30
"""Maximum total size of files whose bytes are part of the fingerprint (a second or two); else only their sizes are."""
_TAIL_BYTES = 16_384
_IN_TURN = 4
"""Files that a thread of a pool reads one after the other."""
_EIGHT_BITS = (b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")


class ImageOptions(Protocol):
    """The settings for reading images: the `data.image` of a spec.

    Attributes:
        size: height and width.
        channels: 1 for grey, 3 for colour; None for colour, or the channels of the array.
        resize: how images are brought to one size.
        background_colour: red, green and blue behind transparent pixels.
        value_range: the values that are scaled to 0 and 255, or the name of a range.
        is_deep: whether images have more than 8 bits.
        decoded_mb: the maximum size of a decoded image in MB.
    """

    @property
    def size(self) -> tuple[int, int] | None: ...  # noqa: D102
    @property
    def channels(self) -> int | None: ...  # noqa: D102
    @property
    def resize(self) -> Any: ...  # noqa: D102
    @property
    def background_colour(self) -> tuple[int, int, int]: ...  # noqa: D102
    @property
    def value_range(self) -> Any: ...  # noqa: D102
    @property
    def is_deep(self) -> bool: ...  # noqa: D102
    @property
    def decoded_mb(self) -> Any: ...  # noqa: D102

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """Returns a copy of the options with the fields of `update`."""
        ...


@dataclass(frozen=True, eq=False)
class ImageFiles(Inputs):
    """Image files, read in one size: `(height, width, channels)`, 0 to 255, uint8 or (by `value_range`) float32.

    Attributes:
        paths: the files.
        image: the settings for reading them.
        decoded: their pixels `(n, height, width, channels)` if they are all kept in memory.
        cache: keeps the pixels of some of them in memory, or of all on the disk; None to read the files each time.
    """

    paths: tuple[str, ...]
    image: ImageOptions
    decoded: Array | None = None
    cache: PixelCache | PixelFile | None = None
    kind: ClassVar[Kind] = "images"
    in_files: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width = self.image.size or (0, 0)
        return (height, width, self.image.channels or 3)

    @property
    def dtype(self) -> str:
        """The type of the pixels: `uint8`, or `float32` for deep images."""
        return "float32" if self.image.is_deep else "uint8"

    @property
    def memory_bytes(self) -> int:
        """The bytes of the decoded pixels of all files."""
        return len(self) * prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def dtype_name(self) -> str:
        """The type of the pixels."""
        return self.dtype

    def take(self, places: Array) -> ImageFiles:
        """Returns the files at the given positions."""
        decoded = None if self.decoded is None else self.decoded[places]
        return ImageFiles(tuple(self.paths[place] for place in places), self.image, decoded)

    def unreadable(self, *, thorough: bool) -> dict[int, str]:
        """Returns the positions of unreadable files, each with its path and error.

        With `thorough` every file is decoded, and truncated JPEG data is found. Without it a file that begins and ends as its
        format requires counts as intact: this finds empty and truncated files and files that are no images in a tenth of
        the time, but no wrong byte in the middle.
        """

        def fault(position: int) -> str:
            path = self.paths[position]
            if not thorough and _ends_well(path):
                return ""
            with warnings_of_thread() as messages:
                try:
                    read_picture(path, settings_of(self.image))
                except UnreadableImage as error:
                    return f"{path}: {error}"
            return fault_of_decoded(path, messages) if thorough else ""

        with warnings_by_thread(), ThreadPoolExecutor() as pool:
            faults = enumerate(pool.map(fault, range(len(self.paths))))
            return {position: words for position, words in faults if words}

    def stored_size(self, place: int) -> tuple[int, int] | None:
        """Returns height and width of the image in a file; None if it cannot be read."""
        try:
            with Image.open(self.paths[place], formats=FORMATS) as file:
                return file.height, file.width
        except (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError):
            return None

    def upright_size(self, place: int) -> tuple[int, int] | None:
        """Returns height and width of the image in a file once it is turned upright; None if it cannot be read."""
        try:
            with Image.open(self.paths[place], formats=FORMATS) as file:
                is_turned = orientation(file)[0] > 4
                return (file.width, file.height) if is_turned else (file.height, file.width)
        except (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError):
            return None

    def read(self, places: Array) -> Array:
        """Returns the images at the given positions, `(len(places), height, width, channels)`.

        Raises:
            DataError: a file is empty, truncated or no image; the message names it.
        """
        if self.decoded is not None:
            chosen: Array = self.decoded[places]
            return chosen
        with ThreadPoolExecutor() as pool:
            return self._read_files(places, pool)

    def _read_files(self, places: Array, pool: ThreadPoolExecutor) -> Array:
        """Returns the images at the given positions, read by the threads of a pool."""
        images = np.empty((len(places), *self.shape), dtype=self.dtype)
        missing = list(range(len(places))) if self.cache is None else self.cache.copy_into(images, places)

        def fill(first: int) -> None:
            for position in missing[first : first + _IN_TURN]:
                images[position] = read_image(self.paths[places[position]], self.image)
                if self.cache is not None:
                    self.cache.add(places[position], images[position])

        list(pool.map(fill, range(0, len(missing), _IN_TURN)))  # Pillow decodes and resizes outside the interpreter's lock
        return images

    def reader(self) -> Callable[[Any], Any]:
        """Returns a function from indices to a batch of images, read from their files.

        All batches share a pool: to start threads for each costs a tenth of the time of small photos.
        """
        from dlcli.runtime.engine import tf

        pool, shape = ThreadPoolExecutor(thread_name_prefix="image files"), (None, *self.shape)

        def read(places: Array) -> Array:
            return self.read(places) if self.decoded is not None else self._read_files(places, pool)

        return lambda indices: tf.ensure_shape(tf.numpy_function(read, [indices], self.dtype), shape)

    def expect_repeats(self) -> None:
        """Keeps the pixels of files that are read from now on, as far as the memory allows."""
        if isinstance(self.cache, PixelCache):
            self.cache.is_open = True

    def keys(self, places: Array) -> list[Any]:
        """Returns each file's size with a hash of its last bytes; a missing file equals no other."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(_file_key, (self.paths[place] for place in places)))

    def digest(self, place: int) -> bytes:
        """Returns a digest of a file's bytes."""
        try:
            return blake2b(Path(self.paths[place]).read_bytes()).digest()
        except OSError:
            return self.paths[place].encode(errors="surrogateescape")

    def content(self) -> Iterator[tuple[str, bytes | memoryview]]:
        """Yields a digest of the sizes of the files, and of their content if all together are small enough to be read.

        Raises:
            DataError: a file cannot be read.
        """
        try:
            sizes = [Path(path).stat().st_size for path in self.paths]
            digest = sha256("\0".join(map(str, sizes)).encode())
            if sum(sizes) <= CONTENT_HASHED:
                for path in self.paths:
                    digest.update(Path(path).read_bytes())
        except OSError as error:
            raise DataError(f"{error.filename}: {error.strerror}") from None
        yield "", digest.digest()

    def scale(self, normalize: str) -> tuple[Array, Array]:
        """Reads every image and returns mean and deviation of each channel."""
        channels = self.shape[-1]
        total, squares, count = np.zeros(channels), np.zeros(channels), 0
        for start in range(0, len(self), 256):
            pixels = self.read(np.arange(start, min(start + 256, len(self)))).astype("float64").reshape(-1, channels)
            total, squares, count = total + pixels.sum(0), squares + (pixels**2).sum(0), count + len(pixels)
        mean = total / count
        return mean, not_zero(np.sqrt(np.maximum(squares / count - mean**2, 0)))

    def pictures(self) -> Iterator[tuple[str, Picture | str]]:
        """Yields each file's path with its picture, or with its error, in order."""

        def picture(path: str) -> Picture | str:
            try:
                return read_picture(path, settings_of(self.image))
            except UnreadableImage as error:
                return str(error)

        with ThreadPoolExecutor() as pool:
            for start in range(0, len(self.paths), 256):
                chunk = self.paths[start : start + 256]
                yield from zip(chunk, pool.map(picture, chunk), strict=True)

    def with_range(self, value_range: Any) -> ImageFiles:
        """Returns the same files with another value range, none of them in memory."""
        return replace(self, decoded=None, cache=None, image=self.image.model_copy(update={"value_range": value_range}))


def _file_key(path: str) -> tuple[int, bytes]:
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(-min(size, _TAIL_BYTES), os.SEEK_END)
            return size, blake2b(file.read(), digest_size=16).digest()
    except OSError:
        return -1, path.encode(errors="surrogateescape")


def read_image(path: str, image: ImageOptions) -> Array:
    """Returns the first frame of a file as `(height, width, channels)`, turned upright (EXIF) and resized.

    Raises:
        DataError: the file is empty, truncated, too large or no image.
    """
    try:
        return read_picture(path, settings_of(image)).pixels
    except UnreadableImage as error:
        raise DataError(f"{path}: {error}") from None


def settings_of(image: ImageOptions) -> Settings:
    """Returns the reader's settings for those of a spec. With a range of `auto`, which is not resolved yet, it reads 8 bits."""
    return Settings(
        size=image.size,
        channels=image.channels or 3,
        resize=image.resize,
        background=image.background_colour,
        value_range=image.value_range if image.is_deep else None,
        decoded_mb=image.decoded_mb,
    )


def incomplete_words(path: str) -> str:
    """Returns the error of a truncated JPEG file; empty for a complete one and for other formats."""
    try:
        share = missing_part(path)
    except OSError:
        return ""
    return f"{path}: truncated JPEG: {100 * share:.0f} % of the image, at the bottom, is missing" if share else ""


def fault_of_decoded(path: str, messages: Sequence[str]) -> str:
    """Returns the error of a file that was decoded with these warnings though it is truncated; empty for an intact one."""
    broken = next((text for text in messages if "truncated" in text.lower()), "")
    return incomplete_words(path) or (f"{path}: {broken}" if broken else "")


_thread = local()


@contextmanager
def warnings_by_thread() -> Iterator[None]:
    """Passes each warning inside the block to the `warnings_of_thread` of its thread; other warnings are dropped.

    `warnings.catch_warnings` alone cannot tell the threads of a pool apart.
    """

    def keep(message: Any, *_: Any, **__: Any) -> None:
        getattr(_thread, "messages", []).append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = keep
        yield


@contextmanager
def warnings_of_thread() -> Iterator[list[str]]:
    """Yields the texts of the warnings that this thread raises inside the block."""
    _thread.messages = messages = list[str]()
    try:
        yield messages
    finally:
        _thread.messages = []


def is_deep_file(path: str) -> bool:
    """Whether a file has more than 8 bits per value, judged by its beginning; False if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            begin = file.read(26)
    except OSError:
        return False
    if begin.startswith(b"\x89PNG\r\n\x1a\n"):
        return begin[24:25] == b"\x10"
    if begin.startswith(_EIGHT_BITS):
        return False
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return is_deep(picture)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError):
        return False


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


def range_note(low: float, high: float) -> str:
    """Returns the note on the values of deep images that are scaled to 0 and 255."""
    return f"images have more than 8 bits: values from {low:,g} to {high:,g} become 0 to 255 (data.image.value_range)"
