"""The rows of a table over all splits, as its checks read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.spec.data.sources import Examples


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of all splits, one split after the other.

    A check reads one column after the other: the table may be larger than the memory.

    Attributes:
        columns: the values `(n,)` of each column, which are read at each access; columns without names are numbered from 0.
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
    _packed_gaps: dict[str, Array] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, splits: Mapping[str, Examples]) -> Rows:
        """Returns the rows of splits, given by name."""
        tables = [examples.inputs.table() for examples in splits.values()]
        return cls(
            columns=_JoinedColumns(tables),
            kinds=next(iter(splits.values())).inputs.column_kinds,
            ids=_JoinedIds([examples.ids for examples in splits.values()]),
            targets=np.concatenate([examples.targets for examples in splits.values()]),
            split=np.repeat(np.arange(len(splits)), [len(examples) for examples in splits.values()]),
            splits=tuple(splits),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def is_numeric(self, name: str) -> bool:
        """Whether a column holds numbers."""
        return name not in self.kinds or self.kinds[name].is_numeric

    def is_text(self, name: str) -> bool:
        """Whether a column holds texts, whose values usually all differ."""
        return name in self.kinds and self.kinds[name].is_text

    def gaps(self, name: str) -> Array:
        """Returns which cells of a column are missing, as bool `(n,)`. One bit of each cell is kept in memory."""
        if name not in self._packed_gaps:
            self._packed_gaps[name] = np.packbits(self._read_gaps(name))
        return np.unpackbits(self._packed_gaps[name], count=len(self)).astype(bool)

    def _read_gaps(self, name: str) -> Array:
        values = self.columns[name]
        if name in self.kinds:
            return self.kinds[name].gaps(values)
        return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)

    def numbers(self) -> Iterator[tuple[str, Array]]:
        """Yields the name and the values of each column of numbers, float64 with NaN for gaps."""
        for name, values in self.columns.items():
            if self.is_numeric(name):
                yield name, values.astype("float64")

    def categories(self) -> Iterator[tuple[str, Array]]:
        """Yields the name and the values of each column of categories, as text objects."""
        for name, values in self.columns.items():
            if not self.is_numeric(name) and not self.is_text(name):
                yield name, values

    def texts(self) -> Iterator[tuple[str, Array]]:
        """Yields the name and the values of each column of texts, as text objects."""
        for name in filter(self.is_text, self.columns):
            yield name, self.columns[name]

    def present(self, name: str) -> Array:
        """Returns the values of a column without gaps."""
        return self.columns[name][~self.gaps(name)]

    def ids_of(self, places: Array) -> tuple[str, ...]:
        """Returns the sorted ids of rows, given by their places or as bool `(n,)`."""
        chosen = np.flatnonzero(places) if places.dtype == bool else places
        return tuple(sorted(self.ids[place] for place in chosen.tolist()))

    def codes(self, name: str) -> Array:
        """Returns the number of each row's value `(n,)`, counted in the order of first appearance; a gap is a value."""
        return codes_of(self.columns[name])


def codes_of(values: Array) -> Array:
    """Returns the number of each value `(n,)`, counted in the order of first appearance; gaps are one value."""
    if values.dtype == object:
        numbers = dict[Any, int]()
        return np.fromiter((numbers.setdefault(value, len(numbers)) for value in values.tolist()), "int64", len(values))
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype="int64")
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(rank[inverse.reshape(-1)])


class _JoinedColumns(Mapping[str, Array]):
    """The columns of several tables, each joined when it is read; the last one is kept, since a check reads it repeatedly."""

    def __init__(self, tables: Sequence[Mapping[str, Array]]) -> None:
        self._tables, self._last = tables, dict[str, Array]()

    def __getitem__(self, name: str) -> Array:
        if name not in self._last:
            self._last.clear()  # frees the memory of the former column before another one is read
            self._last[name] = np.concatenate([table[name] for table in self._tables])
        return self._last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables[0])

    def __len__(self) -> int:
        return len(self._tables[0])


class _JoinedIds(Sequence[str]):
    """The ids of several splits, which a table of many rows computes when they are read."""

    def __init__(self, ids: Sequence[Sequence[str]]) -> None:
        self._ids, self._ends = ids, np.cumsum([len(part) for part in ids])

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(f"{place} of {len(self)} ids")
        place %= len(self)
        part = int(np.searchsorted(self._ends, place, side="right"))
        return self._ids[part][int(place - (self._ends[part - 1] if part else 0))]

    def __len__(self) -> int:
        return int(self._ends[-1])
