"""Ids of the rows of a large table, computed when they are needed: a million texts would take 80 MB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from dlcli.arrays import Array


class RowIds(Sequence[str]):
    """The ids `<part>/<row>` of rows.

    `split.csv` names the rows of such a part by `pattern` in one line: the source always finds the same rows.

    >>> import numpy as np
    >>> ids = RowIds("train", np.array([0, 2, 5]))
    >>> ids[1], list(ids.take(np.array([2, 0]))), ids.pattern
    ('train/2', ['train/5', 'train/0'], 'train/*')

    Args:
        part: the name of the part.
        rows: the number of each row in the files, from 0, int64 `(n,)`.
        is_whole: whether these are all rows of the part.
    """

    def __init__(self, part: str, rows: Array, *, is_whole: bool = True) -> None:
        self.part, self.rows, self.is_whole = part, rows, is_whole

    @property
    def pattern(self) -> str:
        """What stands for all rows of the part."""
        return f"{self.part}/*"

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> RowIds: ...
    def __getitem__(self, place: int | slice) -> str | RowIds:
        return self.take(place) if isinstance(place, slice) else f"{self.part}/{self.rows[place]}"

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BLOCK):
            yield from (f"{self.part}/{row}" for row in self.rows[start : start + _BLOCK].tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def take(self, places: Any) -> RowIds:
        """Returns the ids at some places."""
        return RowIds(self.part, self.rows[places], is_whole=False)


_BLOCK = 65_536


def ids_at(ids: Sequence[str], places: Any) -> Sequence[str]:
    """Returns the ids at some places."""
    return ids.take(places) if isinstance(ids, RowIds) else [ids[place] for place in places]


def recorded_names(ids: Sequence[str]) -> Sequence[str]:
    """Returns how `split.csv` names examples: by their ids, or by the pattern that stands for all rows of a part."""
    return [ids.pattern] if isinstance(ids, RowIds) and ids.is_whole else ids


def names_in(ids: Sequence[str], split: Mapping[str, str]) -> Sequence[str]:
    """Returns how a recorded split names examples, if it names them."""
    return [ids.pattern] if isinstance(ids, RowIds) and ids.pattern in split else ids
