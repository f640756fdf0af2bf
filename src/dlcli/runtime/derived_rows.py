"""Rows that are made of other rows: what both have in common is asked of those."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from dlcli.arrays import Array
from dlcli.runtime.inputs import Inputs, Kind


@dataclass(frozen=True, eq=False)
class DerivedRows(Inputs):
    """Rows that are computed from other rows when they are read; size, keys and content are those of the other rows.

    Attributes:
        rows: the other rows.
    """

    rows: Inputs
    kind: ClassVar[Kind] = "arrays"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def memory_bytes(self) -> int:
        """The bytes of the other rows."""
        return self.rows.memory_bytes

    @property
    def on_disk(self) -> bool:
        """Whether the other rows stay on the disk."""
        return self.rows.on_disk

    def keys(self, places: Array) -> list[Any]:
        """Returns a key of each row."""
        return self.rows.keys(places)

    def digest(self, place: int) -> bytes:
        """Returns a digest of a row."""
        return self.rows.digest(place)

    def content(self) -> Iterator[tuple[str, bytes | memoryview]]:
        """Yields the bytes of the other rows by name."""
        return self.rows.content()
