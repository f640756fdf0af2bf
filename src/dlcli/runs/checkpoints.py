"""The files of `checkpoints/`: written atomically, each with its checksum in its name; the newest two are kept.

`000012-3f9a0c....npz` is the twelfth checkpoint of a run; the rest of the name is the file's SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from dlcli.runs.files import replacing

_NAME = re.compile(r"(\d{6,})-([0-9a-f]{64})\.npz")


def checkpoint_files(folder: Path) -> list[Path]:
    """Returns a run's checkpoints, the newest first, including damaged ones."""
    try:
        names = [name for name in os.listdir(folder) if _NAME.fullmatch(name)]
    except OSError:
        return []
    return [folder / name for name in sorted(names, key=_number, reverse=True)]


def save_checkpoint(folder: Path, write: Callable[[Path], None], *, keep: int = 2) -> Path:
    """Writes a new checkpoint, then removes all but the newest `keep`, and returns the path of the new one.

    Raises:
        OSError: the checkpoint could not be written; the others are unchanged.
    """
    folder.mkdir(exist_ok=True)
    before = checkpoint_files(folder)
    number = _number(before[0].name) + 1 if before else 1
    with replacing(folder / "new.npz") as temporary:
        write(temporary)
        path = folder / f"{number:06d}-{_digest(temporary)}.npz"
    (folder / "new.npz").replace(path)
    prune_checkpoints(folder, keep)
    return path


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Removes all checkpoints except the newest `keep`."""
    for path in checkpoint_files(folder)[keep:]:
        path.unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is intact: its content has the checksum in its name."""
    match = _NAME.fullmatch(path.name)
    try:
        return match is not None and path.is_file() and not path.is_symlink() and _digest(path) == match.group(2)
    except OSError:
        return False


def _number(name: str) -> int:
    match = _NAME.fullmatch(name)
    assert match is not None
    return int(match.group(1))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
