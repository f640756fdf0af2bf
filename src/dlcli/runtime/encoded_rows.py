"""Rows of a table that are encoded batch by batch, for tables whose encoded rows do not fit into the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from dlcli.arrays import Array
from dlcli.runtime.derived_rows import DerivedRows


@dataclass(frozen=True, eq=False)
class EncodedRows(DerivedRows):
    """Rows of a table as float32 `(n, features)`; the features are computed when a batch is read.

    They have the same bits as features that are computed once: the encoding of a row does not depend on other rows.

    Attributes:
        rows: the rows.
        encode: the Keras model that encodes them.
    """

    encode: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of features."""
        return (int(self.encode.output_shape[-1]),)

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
