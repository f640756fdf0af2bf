"""What tells whether examples are the ones that a run was trained on: a digest of their ids, labels and inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.errors import DataError
from dlcli.spec.data.sources import Examples
from dlcli.spec.data.sources.part_names import SPLITS

# Image files of up to so many bytes together are read whole for the fingerprint (a second or two), of more only their sizes.
CONTENT_HASHED = 2**30


def fingerprint(splits: Mapping[str, Examples]) -> str:
    """Returns a SHA-256 over every split's ids, labels and inputs; of image files over their bytes, not their pixels.

    So it is the same whether the images are in memory or read when needed.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for name in [name for name in SPLITS if name in splits]:
        examples = splits[name]
        digest.update(f"{name}\0{chr(0).join(examples.ids)}\0".encode())
        digest.update(_bytes_of(examples.targets))
        for column_name, column in examples.inputs.items() if isinstance(examples.inputs, dict) else [("", examples.inputs)]:
            digest.update(column_name.encode())
            digest.update(_bytes_of(column))
    return digest.hexdigest()


def _bytes_of(column: Any) -> bytes | memoryview:
    if hasattr(column, "read"):
        return _bytes_of_files(column.paths)
    if column.dtype == object:
        return "\0".join(column).encode()
    return np.ascontiguousarray(column).data.cast("B")


def _bytes_of_files(paths: tuple[str, ...]) -> bytes:
    """Returns the sizes of files, and a digest of their content where all together are small enough to be read."""
    try:
        sizes = [Path(path).stat().st_size for path in paths]
        digest = hashlib.sha256("\0".join(map(str, sizes)).encode())
        if sum(sizes) <= CONTENT_HASHED:
            for path in paths:
                digest.update(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}") from None
    return digest.digest()
