"""The memory that this process may still use: that of the machine, or of its container if that is less."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)
"""The limit, the use, the statistics, and the entry for file contents that can be dropped, in versions 2 and 1."""


def free_memory() -> int:
    """Returns the free bytes, among them those of files that the system keeps in memory as long as there is room."""
    free: int = psutil.virtual_memory().available
    room = _container_room()
    return free if room is None else max(0, min(free, room))


def container_limit() -> int | None:
    """Returns the bytes that a container may use; None without a limit."""
    limits = (_text(_GROUPS / files[0]).strip() for files in _FILES)
    return next((int(limit) for limit in limits if limit.isdigit()), None)


def _container_room() -> int | None:
    """Returns the free bytes of the control group of a container; None without a limit."""
    for limit_file, use_file, statistics_file, entry in _FILES:
        limit, use = (_text(_GROUPS / name).strip() for name in (limit_file, use_file))
        if limit.isdigit() and use.isdigit():
            statistics = dict(line.split(maxsplit=1) for line in _text(_GROUPS / statistics_file).splitlines() if " " in line)
            return int(limit) - int(use) + int(statistics.get(entry, 0))
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


class MemoryShare:
    """Grants memory up to a share of what would be free without the memory that it has granted.

    Each request asks for the free memory anew, so that several processes leave memory to each other and to the training.

    Args:
        share: the share, 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self._share, self._granted, self._lock = share, 0, Lock()

    def grant(self, size: int) -> bool:
        """Returns whether `size` bytes may be allocated, and counts them if so."""
        with self._lock:
            if self._granted + size > self._share * (free_memory() + self._granted):
                return False
            self._granted += size
            return True
