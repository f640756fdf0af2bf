"""The pixels of image files: decoded into memory, into a file, or each time, as `data.cache` says."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from dlcli.data.image_files import Survey
from dlcli.data.memory_limit import fits_in_memory
from dlcli.errors import DataError
from dlcli.runs.files import own_folder
from dlcli.runtime.free_memory import MemoryShare
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.inputs import Images
from dlcli.runtime.pixel_cache import PixelCache
from dlcli.runtime.pixel_file import PixelFile, free_disk, pixel_key, write_pixels
from dlcli.spec.data.sizes import size_in_words
from dlcli.spec.data.sources import Examples


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


def decoded_examples(examples: Examples, *, survey: Survey, memory: MemoryShare, cache: str, pixels: Path | None) -> Examples:
    """Returns the examples with image files decoded, if the pixels fit in memory; else with a cache for some of them.

    Args:
        examples: the examples of a split.
        survey: records the findings.
        memory: grants memory for the cached files of all splits.
        cache: where pixels are kept: `data.cache`.
        pixels: the folder for `disk`; None to decode the files each time.

    Raises:
        DataError: an image cannot be read, or the disk has too little room.
    """
    inputs = examples.inputs
    if not isinstance(inputs, ImageFiles):
        if isinstance(inputs, Images):
            survey.look_at_arrays(inputs.values, examples.ids)
        return examples
    if cache == "disk" and pixels is not None:
        return replace(examples, inputs=replace(inputs, cache=stored_pixels(inputs, pixels, survey)))
    if cache in ("none", "disk"):
        survey.sample(inputs)
        return replace(examples, inputs=replace(inputs, cache=None))
    if not fits_in_memory(inputs.memory_bytes, cache):
        survey.sample(inputs)
        return replace(examples, inputs=replace(inputs, cache=PixelCache(len(inputs), inputs.shape, inputs.dtype, memory)))
    decoded = survey.decode(inputs)
    return replace(examples, inputs=replace(inputs, decoded=decoded) if inputs.image.is_deep else Images(decoded))
