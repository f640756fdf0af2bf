"""What tells whether examples are the ones that a run was trained on: a digest of their ids, labels and inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from dlcli.runtime.inputs import array_bytes
from dlcli.spec.data.sources import Examples
from dlcli.spec.data.sources.part_names import SPLITS


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
        digest.update(array_bytes(examples.targets))
        for column, content in examples.inputs.content():
            digest.update(column.encode())
            digest.update(content)
    return digest.hexdigest()
