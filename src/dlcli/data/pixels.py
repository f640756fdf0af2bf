"""The pixels of image files: decoded into memory, into a file, or each time, as `data.cache` says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dlcli.data.image_files import Survey
from dlcli.data.stored_files import DiskNeed, disk_errors, stored_file
from dlcli.runtime.free_memory import MemoryShare
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.inputs import Images
from dlcli.runtime.pixel_cache import PixelCache
from dlcli.runtime.pixel_file import PixelFile, pixel_key, write_pixels
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
    size = files.memory_bytes
    need = DiskNeed(size, f"the pixels of {len(files):,} images", "`none` decodes the files in each epoch")
    with disk_errors(folder):
        path, is_old = stored_file(
            folder,
            pixel_key(files.paths, files.image, files.shape, files.dtype),
            lambda file: write_pixels(file, lambda keep: survey.decode_to(files, keep)),
            is_whole=lambda path: path.stat().st_size == size,
            need=need,
        )
        if is_old:
            survey.sample(files)
        return PixelFile(path, len(files), files.shape, files.dtype)


def decoded_examples(
    examples: Examples, *, survey: Survey, memory: MemoryShare, cache: str, pixels: Path | None, fits: bool
) -> Examples:
    """Returns the examples with image files decoded, if those of all splits fit in memory; else with a cache for some of them.

    Args:
        examples: the examples of a split.
        survey: records the findings.
        memory: grants memory for the cached files of all splits.
        cache: where pixels are kept: `data.cache`.
        pixels: the folder for `disk`; None to decode the files each time.
        fits: whether the pixels of all splits fit in memory (`SizePlan.fits`).

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
    if not fits:
        survey.sample(inputs)
        return replace(examples, inputs=replace(inputs, cache=PixelCache(len(inputs), inputs.shape, inputs.dtype, memory)))
    decoded = survey.decode(inputs)
    return replace(examples, inputs=replace(inputs, decoded=decoded) if inputs.image.is_deep else Images(decoded))
