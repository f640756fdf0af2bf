"""Rows of a table that are encoded batch by batch, for tables whose encoded rows do not fit into the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from dlcli.arrays import Array
from dlcli.runtime.inputs import Inputs, Kind


@dataclass(frozen=True, eq=False)
class EncodedRows(Inputs):
    """Rows of a table as float32 `(n, features)`; the features are computed when a batch is read.

    They have the same bits as features that are computed once: the encoding of a row does not depend on other rows.

    Attributes:
        rows: the rows.
        encode: the Keras model that encodes them.
    """

    rows: Inputs
    encode: Any
    kind: ClassVar[Kind] = "arrays"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of features."""
        return (int(self.encode.output_shape[-1]),)

    @property
    def memory_bytes(self) -> int:
        """The bytes of the rows before they are encoded."""
        return self.rows.memory_bytes

    @property
    def on_disk(self) -> bool:
        """Whether the rows stay on the disk."""
        return self.rows.on_disk

    def take(self, places: Array) -> Self:
        """Returns the rows at the given places."""
        return type(self)(self.rows.take(places), self.encode)

    def read(self, places: Array) -> Array:
        """Returns the features of the rows at the given places."""
        features: Array = self.encode(self.rows.read(places), training=False).numpy()
        return features

    def reader(self) -> Callable[[Any], Any]:
        """Returns a function from indices to the features of a batch."""
        read = self.rows.reader()
        return lambda indices: self.encode(read(indices), training=False)

    def keys(self, places: Array) -> list[Any]:
        """Returns a hash of each row's cells."""
        return self.rows.keys(places)

    def digest(self, place: int) -> bytes:
        """Returns a digest of a row's cells."""
        return self.rows.digest(place)

    def content(self) -> Iterator[tuple[str, bytes | memoryview]]:
        """Yields the bytes of each column by name."""
        return self.rows.content()
