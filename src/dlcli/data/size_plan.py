"""The plan for the memory that examples take: how large they are, where they are kept, and what would fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path

from dlcli.runtime.free_memory import free_memory
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.pixel_file import free_disk
from dlcli.runtime.threads import affinity
from dlcli.spec.data.sizes import examples_in_words, size_in_words

_SIDE_STEP, _SMALLEST_SIDE = 8, 16


@dataclass(frozen=True)
class SizePlan:
    """The size of the examples of a source, and where they are kept.

    Attributes:
        what: the examples in words, such as `1,797 images of 8x8x1`.
        count: the number of examples.
        size: their bytes in memory.
        dtype: the type of their values; empty for columns of several types.
        shape: height, width and channels of images that are read from files; empty for examples in memory.
        share: the share of the free memory that pixels may take.
        cache: where the pixels of files are kept: `data.cache`.
        folder: the folder of pixels on the disk.
    """

    what: str
    count: int
    size: int
    dtype: str = ""
    shape: tuple[int, ...] = ()
    share: float = 1.0
    cache: str = "auto"
    folder: Path | None = None

    @property
    def fits(self) -> bool:
        """Whether the examples fit into the share of the free memory."""
        return self.size <= self.share * free_memory()

    @property
    def _kept(self) -> str:
        return f"data: {self.what}: {size_in_words(self.size)}{f' as {self.dtype}' if self.dtype else ''}"

    def line(self) -> str:
        """Returns the plan in one line."""
        if not self.shape or (self.fits and self.cache in ("auto", "memory")):
            return f"{self._kept} in memory"
        threads = len(affinity())
        decoding = f"decoded from their files in each epoch by {threads} thread{'' if threads == 1 else 's'}"
        if self.cache == "none":
            return f"{self._kept}, {decoding}"
        if self.cache == "disk" and self.folder is not None:
            return f"{self._kept}, decoded once into {self.folder} ({size_in_words(free_disk(self.folder))} of disk are free)"
        kept = int(self.share * free_memory() / (self.size / self.count))
        others = f"about {kept:,} of them are kept in memory, the others are {decoding}" if kept else decoding
        return f"{self._kept}; {self.limit()}: {others}{self.remedy()}"

    def refusal(self) -> str:
        """Returns why the pixels cannot all be kept in memory, with the numbers and what would help."""
        remedy = self.remedy() or "; a smaller `data.image.size` takes less"
        return (
            f"data.cache: memory: {self._kept.removeprefix('data: ')}, but {self.limit()}{remedy};"
            " `disk` keeps the pixels in a file, and `auto` as many in memory as fit"
        )

    def limit(self) -> str:
        """Returns the free memory and the share of it that pixels may take, in words."""
        free = free_memory()
        return f"{size_in_words(free)} of memory are free, of which {size_in_words(self.share * free)} may be used"

    def remedy(self) -> str:
        """Returns the side of square images that would fit into the memory; empty for other images, and where none would."""
        if len(self.shape) != 3 or self.shape[0] != self.shape[1]:
            return ""
        values = self.size / max(1, prod(self.shape))
        side = isqrt(int(self.share * free_memory() / max(1.0, values * self.shape[2]))) // _SIDE_STEP * _SIDE_STEP
        return f"; images of {side} x {side} would fit" if _SMALLEST_SIDE <= side < self.shape[0] else ""


def size_plan(
    parts: Mapping[str, Inputs], *, cache: str = "auto", share: float = 1.0, folder: Path | None = None
) -> SizePlan | None:
    """Returns the plan for the parts of an opened source; None without examples, or if their size is not known."""
    inputs = [part for part in parts.values() if len(part)]
    if not inputs or not sum(part.memory_bytes for part in inputs):
        return None
    first, count = inputs[0], sum(map(len, inputs))
    size, dtype = sum(part.memory_bytes for part in inputs), first.dtype_name
    shape = tuple(first.shape or ()) if first.in_files else ()
    what = examples_in_words(count, first.shape, images=first.kind == "images", columns=len(first.columns))
    return SizePlan(what, count, size, dtype, shape, share, cache, folder)
