"""Pillow: what its libraries write to stderr by themselves."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from dlcli.upstream.start import VERBOSE


@cache
def silence_libtiff() -> None:
    """Keeps libtiff from writing its errors and warnings to stderr; Pillow raises its own errors where a file is damaged.

    Pillow does not replace libtiff's handlers, which print (github.com/python-pillow/Pillow `src/libImaging/TiffDecode.c`).
    They are functions of the library that Pillow has loaded; where it cannot be found its lines stay.
    """
    if os.environ.get(VERBOSE):
        return
    import PIL._imaging  # noqa: F401  (loads the library)

    with suppress(OSError, AttributeError):
        for path in _loaded("libtiff"):
            library = ctypes.CDLL(path)
            for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                handler = getattr(library, name)
                handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                handler(None)


def _loaded(name: str) -> set[str]:
    """Returns the files of a library that this process has loaded."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    paths = {line[line.index("/") :] for line in lines if "/" in line}
    return {path for path in paths if Path(path).name.startswith(name)}
