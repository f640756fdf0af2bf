"""The memory that the data of a run may take."""

from __future__ import annotations

from dataclasses import dataclass

from dlcli.runtime.free_memory import free_memory

MEMORY_SHARE = 0.25
"""Images up to this share of the free memory are decoded once; of a larger set, a training keeps as many as fit, and the
others are read from their files in each epoch."""
MEMORY_SHARE_SET = 0.75
"""The same share where the spec sets `data.cache: memory`."""


@dataclass(frozen=True)
class MemoryLimit:
    """The free memory in bytes, and the share of it that data may take."""

    free: int
    share: float

    @property
    def usable(self) -> float:
        """The bytes that data may take."""
        return self.share * self.free


def memory_limit(cache: str = "auto") -> MemoryLimit:
    """Returns the limit for data that is kept as `data.cache` says."""
    return MemoryLimit(free_memory(), MEMORY_SHARE_SET if cache == "memory" else MEMORY_SHARE)


def fits_in_memory(size: int, cache: str = "auto") -> bool:
    """Whether data of a size in bytes fits into the share of the free memory that data may take."""
    return size <= memory_limit(cache).usable
