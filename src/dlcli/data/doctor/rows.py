"""The rows of a table over all splits, as its checks read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.spec.data.sources import Examples


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of all splits, one split after the other.

    Attributes:
        columns: the values `(n,)` of each column; columns without names are numbered from 0.
        kinds: the kinds of the columns of a table; empty for arrays, whose columns are numbers.
        ids: the id of each row.
        targets: the target of each row.
        split: the number of each row's split `(n,)` in `splits`.
        splits: the names of the splits.
    """

    columns: Mapping[str, Array]
    kinds: Mapping[str, ColumnKind]
    ids: Sequence[str]
    targets: Array
    split: Array
    splits: tuple[str, ...]

    @classmethod
    def of(cls, splits: Mapping[str, Examples]) -> Rows:
        """Returns the rows of splits, given by name."""
        tables = [examples.inputs.table() for examples in splits.values()]
        return cls(
            columns={name: np.concatenate([table[name] for table in tables]) for name in tables[0]},
            kinds=next(iter(splits.values())).inputs.column_kinds,
            ids=[name for examples in splits.values() for name in examples.ids],
            targets=np.concatenate([examples.targets for examples in splits.values()]),
            split=np.repeat(np.arange(len(splits)), [len(examples) for examples in splits.values()]),
            splits=tuple(splits),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def is_numeric(self, name: str) -> bool:
        """Whether a column holds numbers."""
        return name not in self.kinds or self.kinds[name].is_numeric

    @cached_property
    def gaps(self) -> dict[str, Array]:
        """Which cells of each column are missing, as bool `(n,)`."""
        return {name: self._gaps(name, values) for name, values in self.columns.items()}

    def _gaps(self, name: str, values: Array) -> Array:
        if name in self.kinds:
            return self.kinds[name].gaps(values)
        return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)

    def numbers(self) -> Iterator[tuple[str, Array]]:
        """Yields the name and the values of each column of numbers, float64 with NaN for gaps."""
        for name, values in self.columns.items():
            if self.is_numeric(name):
                yield name, values.astype("float64")

    def categories(self) -> Iterator[tuple[str, Array]]:
        """Yields the name and the values of each other column, as text objects."""
        for name, values in self.columns.items():
            if not self.is_numeric(name):
                yield name, values

    def present(self, name: str) -> Array:
        """Returns the values of a column without gaps."""
        return self.columns[name][~self.gaps[name]]

    def ids_of(self, places: Array) -> tuple[str, ...]:
        """Returns the sorted ids of rows, given by their places or as bool `(n,)`."""
        chosen = np.flatnonzero(places) if places.dtype == bool else places
        return tuple(sorted(self.ids[place] for place in chosen.tolist()))

    def codes(self, name: str) -> Array:
        """Returns the number of each row's value `(n,)`, counted in the order of first appearance; a gap is a value."""
        return codes_of(self.columns[name])


def codes_of(values: Array) -> Array:
    """Returns the number of each value `(n,)`, counted in the order of first appearance."""
    column = values if values.dtype.kind != "O" else values.astype(str)
    _, first, inverse = np.unique(column, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype="int64")
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(rank[inverse.reshape(-1)])
