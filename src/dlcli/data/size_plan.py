"""The plan for the memory that examples take: how large they are, where they are kept, and what would fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path

from dlcli.data.memory_limit import fits_in_memory, memory_limit
from dlcli.runtime.cores import affinity
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.stored_columns import StoredColumns
from dlcli.runtime.stored_files import free_disk
from dlcli.spec.data.sizes import examples_in_words, size_in_words

_SIDE_STEP, _SMALLEST_SIDE = 8, 16


@dataclass(frozen=True)
class SizePlan:
    """The size of the examples of a source, and where they are kept.

    Attributes:
        what: the number and shape of the examples, such as `1,797 images of 8x8x1`.
        count: the number of examples.
        size: their bytes in memory.
        dtype: the type of their values; empty for columns of several types.
        shape: height, width and channels of images that are read from files; empty for examples in memory.
        cache: where the pixels of files are kept: `data.cache`.
        folder: the folder of pixels on the disk.
        row_file: the file of the rows of a table, if they stay on the disk.
    """

    what: str
    count: int
    size: int
    dtype: str = ""
    shape: tuple[int, ...] = ()
    cache: str = "auto"
    folder: Path | None = None
    row_file: Path | None = None

    @property
    def fits(self) -> bool:
        """Whether the examples fit into the share of the free memory."""
        return fits_in_memory(self.size, self.cache)

    @property
    def _examples(self) -> str:
        """The examples and their size."""
        return f"data: {self.what}: {size_in_words(self.size)}{f' as {self.dtype}' if self.dtype else ''}"

    def line(self) -> str:
        """Returns the plan in one line."""
        if self.row_file is not None:
            place = f"a file in {self.row_file.parent}" if self.row_file.exists() else "a temporary file"
            return f"{self._examples}, read in batches from {place}"
        if not self.shape or (self.fits and self.cache in ("auto", "memory")):
            return f"{self._examples} in memory"
        threads = len(affinity())
        decoding = f"decoded from their files in each epoch by {threads} thread{'' if threads == 1 else 's'}"
        if self.cache == "none":
            return f"{self._examples}, {decoding}"
        if self.cache == "disk" and self.folder is not None:
            free = size_in_words(free_disk(self.folder))
            return f"{self._examples}, decoded once into {self.folder} ({free} of disk are free)"
        cached = int(memory_limit(self.cache).usable / (self.size / self.count))
        others = f"about {cached:,} of them are kept in memory, the others are {decoding}" if cached else decoding
        return f"{self._examples}; {self.limit()}: {others}{self.remedy()}"

    def refusal(self) -> str:
        """Returns why the pixels cannot all be kept in memory, with the numbers and what would help."""
        remedy = self.remedy() or "; a smaller `data.image.size` takes less"
        return (
            f"data.cache: memory: {self._examples.removeprefix('data: ')}, but {self.limit()}{remedy};"
            " `disk` keeps the pixels in a file, and `auto` as many in memory as fit"
        )

    def limit(self) -> str:
        """Returns a phrase on the free memory and the share of it that pixels may take."""
        limit = memory_limit(self.cache)
        return f"{size_in_words(limit.free)} of memory are free, of which {size_in_words(limit.usable)} may be used"

    def remedy(self) -> str:
        """Returns the side of square images that would fit into the memory; empty for other images, and where none would."""
        if len(self.shape) != 3 or self.shape[0] != self.shape[1]:
            return ""
        values = self.size / max(1, prod(self.shape))
        side = isqrt(int(memory_limit(self.cache).usable / max(1.0, values * self.shape[2]))) // _SIDE_STEP * _SIDE_STEP
        return f"; images of {side} x {side} would fit" if _SMALLEST_SIDE <= side < self.shape[0] else ""


def size_plan(parts: Mapping[str, Inputs], *, cache: str = "auto", folder: Path | None = None) -> SizePlan | None:
    """Returns the plan for the parts of an opened source; None without examples, or if their size is not known.

    Args:
        parts: the inputs of each part.
        cache: where the pixels of files are kept: `data.cache`. Without a folder, `disk` decodes them each time.
        folder: the folder of pixels on the disk.
    """
    cache = "none" if cache == "disk" and folder is None else cache
    inputs = [part for part in parts.values() if len(part)]
    if not inputs or not sum(part.memory_bytes for part in inputs):
        return None
    first, count = inputs[0], sum(map(len, inputs))
    size, dtype = sum(part.memory_bytes for part in inputs), first.dtype_name
    shape = tuple(first.shape or ()) if first.in_files else ()
    what = examples_in_words(count, first.shape, images=first.kind == "images", columns=len(first.columns))
    row_file = first.file.path if isinstance(first, StoredColumns) else None
    return SizePlan(what, count, size, dtype, shape, cache, folder, row_file)
