"""The types of image files that dlcli reads: one list for training, evaluation, `predict FILE` and `predict FOLDER`."""

from __future__ import annotations

import os
import re

TYPES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c"),
    "AVIF": (".avif",),
}
"""Pillow's readers that are used, with the extensions of their files. Not all of Pillow's: one starts Ghostscript."""
FORMATS = tuple(TYPES)
EXTENSIONS = tuple(extension for extensions in TYPES.values() for extension in extensions)
_EXTENSIONS = frozenset(EXTENSIONS)
UNREADABLE = frozenset(
    {".heic", ".heif", ".jxl", ".svg", ".ico", ".tga", ".dib", ".psd", ".eps", ".pdf", ".exr", ".hdr", ".dcm", ".nii", ".fits"}
    | {".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2"}
)
"""Extensions of images that dlcli does not read."""
# The first bytes of a file of each type: a file without an extension must start with them to be an image.
_SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|BM.{4}\0{4}|GIF8[79]a|RIFF.{4}WEBP|II\*\0|MM\0\*|P[1-6]\s[\s#\d]"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|.{4}ftypavi[fs]",
    re.DOTALL,
)
_EXTENSION = re.compile(r"\.(?=[0-9]*[a-z])[a-z0-9]{1,8}")


def extension_of(name: str) -> str:
    """Returns a name's extension in lower case; empty where the last dot ends no word, as in `2021.05` or `x.jpg?size=9`."""
    ending = os.path.splitext(name)[1].lower()
    return ending if _EXTENSION.fullmatch(ending) else ""


def is_image_file(path: str) -> bool:
    """Whether a file is an image by its extension, or, where it has none, by its first bytes."""
    extension = extension_of(os.path.basename(path))
    if extension:
        return extension in _EXTENSIONS
    try:
        with open(path, "rb") as file:
            return _SIGNATURES.match(file.read(16)) is not None
    except OSError:
        return False
