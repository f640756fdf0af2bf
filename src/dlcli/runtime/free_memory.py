"""The memory that this process may still use: that of the machine, or of its container if that is less."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_FILES = (
    ("", "memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "total_inactive_file"),
)
"""The controller, the limit, the use, the statistics, and the entry for file contents that can be dropped, in versions 2
and 1."""


def free_memory() -> int:
    """Returns the free bytes, among them those of files that the system keeps in memory as long as there is room."""
    free: int = psutil.virtual_memory().available
    room = _container_room()
    return free if room is None else max(0, min(free, room))


def container_limit() -> int | None:
    """Returns the bytes that a container, or a control group in which the process is, may use; None without a limit."""
    limits = [_text(folder / files[1]).strip() for files in _FILES for folder in _groups(files[0])]
    return min((int(limit) for limit in limits if limit.isdigit()), default=None)


def _container_room() -> int | None:
    """Returns the free bytes of the control group of a container, or of the process; None without a limit."""
    rooms = []
    for controller, limit_file, use_file, statistics_file, entry in _FILES:
        for folder in _groups(controller):
            limit, use = (_text(folder / name).strip() for name in (limit_file, use_file))
            if limit.isdigit() and use.isdigit():
                lines = _text(folder / statistics_file).splitlines()
                statistics = dict(line.split(maxsplit=1) for line in lines if " " in line)
                rooms.append(int(limit) - int(use) + int(statistics.get(entry, 0)))
    return min(rooms, default=None)


def _groups(controller: str) -> list[Path]:
    """Returns the folder of a controller, that of the whole machine or container, and those of the groups of this process."""
    root = _GROUPS / controller
    lines = [line.split(":", 2) for line in _text(_OWN_GROUPS).splitlines()]
    paths = [path.strip("/") for _, controllers, path in lines if controller in controllers.split(",")]
    nested = [folder for path in paths if path for folder in (root / path, *(root / path).parents) if root in folder.parents]
    return [root, *nested]


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
