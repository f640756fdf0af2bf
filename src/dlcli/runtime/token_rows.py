"""Rows of token numbers, kept in as few bytes as the largest number needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.inputs import Arrays

_FLOAT_BYTES = 4


class TokenRows(Arrays):
    """Numbers of tokens `(n, features)` in one or two bytes each, which are read as float32.

    >>> rows = TokenRows(np.array([[3, 65_535], [1, 0]], token_dtype([["", "[UNK]"] * 32_768])))
    >>> rows.read(np.array([0])).tolist(), str(rows.read(np.array([0])).dtype), rows.memory_bytes
    ([[3.0, 65535.0]], 'float32', 8)
    """

    def read(self, places: Array) -> Array:
        """Returns the rows at the given places, float32."""
        return super().read(places).astype("float32")

    def reader(self) -> Callable[[Any], Any]:
        """Returns a function from indices to the rows of a batch, float32."""
        from dlcli.runtime.engine import tf

        gather = super().reader()
        return lambda indices: tf.cast(gather(indices), tf.float32)


def token_dtype(vocabularies: Iterable[Sequence[str]]) -> str | None:
    """Returns the type of one or two bytes that holds the numbers of all tokens; None where they need as much as float32.

    >>> token_dtype([["", "[UNK]", "a"]]), token_dtype([["", "[UNK]"] * 200]), token_dtype([[""] * 65_537])
    ('uint8', 'uint16', None)
    """
    largest = np.min_scalar_type(max(map(len, vocabularies)) - 1)
    return str(largest) if largest.itemsize < _FLOAT_BYTES else None
