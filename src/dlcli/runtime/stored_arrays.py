"""Checks of an `.npz` file before NumPy reads it."""

from __future__ import annotations

import zipfile
from pathlib import Path

UNREADABLE_ARRAYS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError)
"""Exceptions of NumPy for a damaged `.npz` file."""


def refuse_packed(path: Path) -> None:
    """Raises ValueError for a compressed archive, which could grow without limit: NumPy stores arrays uncompressed."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size for member in members):
        raise ValueError("its arrays are packed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("its arrays overlap")
