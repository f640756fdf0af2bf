"""The pixels of image files on the disk, for `data.cache: disk`."""

from __future__ import annotations

import os
from pathlib import Path

from dlcli.data.image_files import Survey
from dlcli.errors import DataError
from dlcli.runs.files import own_folder
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.pixel_file import PixelFile, free_disk, pixel_key, write_pixels
from dlcli.spec.data.sizes import size_in_words


def stored_pixels(files: ImageFiles, folder: Path, survey: Survey) -> PixelFile:
    """Returns the file with the decoded pixels of image files; it is written if the folder lacks it.

    Args:
        files: the image files.
        folder: the folder of pixels that trainings share.
        survey: records the findings; of files that were decoded before, only a sample is checked.

    Raises:
        DataError: an image cannot be read, or the disk has too little room.
        DamagedFile: the folder is a link.
    """
    own_folder(folder)
    try:
        path = folder / f"{pixel_key(files.paths, files.image, files.shape, files.dtype)}.raw"
        if path.is_file() and path.stat().st_size == files.memory_bytes:
            os.utime(path)
            survey.sample(files)
        else:
            _refuse_full_disk(files, folder)
            write_pixels(path, lambda keep: survey.decode_to(files, keep))
        return PixelFile(path, len(files), files.shape, files.dtype)
    except OSError as error:
        raise DataError(f"data.cache: disk: {error.filename or folder}: {error.strerror or error}") from None


def _refuse_full_disk(files: ImageFiles, folder: Path) -> None:
    """Raises DataError if the disk has no room for the pixels and a reserve of a twentieth."""
    free, size = free_disk(folder), files.memory_bytes
    if size > 0.95 * free:
        raise DataError(
            f"data.cache: disk: the pixels of {len(files):,} images need {size_in_words(size)}, but on the disk of {folder}"
            f" only {size_in_words(free)} are free; `none` decodes the files in each epoch"
        )
