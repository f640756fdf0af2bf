"""The fingerprint of data: a digest of ids, labels and inputs, which identifies the data of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from dlcli.runtime.inputs import array_bytes
from dlcli.spec.data.sources import Examples
from dlcli.spec.data.sources.part_names import SPLITS

_BLOCK = 65_536
"""Ids that are joined at once."""


def fingerprint(splits: Mapping[str, Examples]) -> str:
    """Returns a SHA-256 over every split's ids, labels and inputs; image files count by their bytes, not their pixels.

    So the fingerprint is the same whether images are kept in memory or read when needed.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for name in [name for name in SPLITS if name in splits]:
        examples = splits[name]
        digest.update(f"{name}\0".encode())
        for start in range(0, len(examples.ids), _BLOCK):
            separator = "\0" if start else ""
            digest.update(f"{separator}{chr(0).join(examples.ids[start : start + _BLOCK])}".encode())
        digest.update(b"\0")
        digest.update(array_bytes(examples.targets))
        for column, content in examples.inputs.content():
            digest.update(column.encode())
            digest.update(content)
    return digest.hexdigest()
