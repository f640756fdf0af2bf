"""Files of decoded data in the folder that trainings share, as `data.cache: disk` keeps them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path

from dlcli.errors import DataError
from dlcli.runs.files import own_folder
from dlcli.runtime.stored_files import SUFFIX, free_disk, write_whole
from dlcli.spec.data.sizes import size_in_words


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Raises DataError for a file that cannot be read or written inside the block."""
    try:
        yield
    except OSError as error:
        raise DataError(f"data.cache: disk: {error.filename or folder}: {error.strerror or error}") from None


def stored_file(
    folder: Path, key: str, write: Callable[[BufferedWriter], object], *, is_whole: Callable[[Path], bool], need: DiskNeed
) -> tuple[Path, bool]:
    """Returns the file of a key, and whether it was there before; it is written if the folder lacks it.

    Args:
        folder: the folder that trainings share.
        key: the name of the file, which its content decides.
        write: writes the content to an open file.
        is_whole: whether a file has the content of the key.
        need: what is written.

    Raises:
        DataError: the disk has too little room.
        DamagedFile: the folder is a link.
        OSError: the file cannot be written.
    """
    own_folder(folder)
    path = folder / f"{key}{SUFFIX}"
    if path.is_file() and is_whole(path):
        os.utime(path)
        return path, True
    need.refuse_full(folder)
    write_whole(path, write)
    return path, False


@dataclass(frozen=True)
class DiskNeed:
    """The room that a file needs on the disk.

    Attributes:
        size: its bytes.
        what: what it holds, such as `the pixels of 12 images`.
        remedy: what takes less room.
    """

    size: int
    what: str
    remedy: str

    def refuse_full(self, folder: Path) -> None:
        """Raises DataError if the disk of a folder has no room for the file and a reserve of a twentieth."""
        free = free_disk(folder)
        if self.size > 0.95 * free:
            raise DataError(
                f"data.cache: disk: {self.what} need {size_in_words(self.size)}, but on the disk of {folder} only"
                f" {size_in_words(free)} are free; {self.remedy}"
            )
