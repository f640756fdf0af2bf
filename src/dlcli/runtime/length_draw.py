"""Batches of texts of similar length: their order, and rows that are padded only to the longest text of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.derived_rows import DerivedRows
from dlcli.runtime.stream import Draw, epoch_order, on_host

_BATCHES = 0x1E267
"""The second word of the generator's key: any other use of the same seed must have another word."""
_POOL = 64
"""Batches whose texts are sorted together: many, so that lengths are close, and few enough that neighbours change."""
_BLOCK = 16_384
"""Rows whose lengths are counted at once."""


@dataclass(frozen=True)
class TextPlace:
    """Where the tokens of texts are in encoded rows: at their end, step by step, each with one value of every column.

    Attributes:
        first: the number of the features before them.
        columns: the number of columns of texts.
        lengths: the numbers of steps that batches may be padded to, ascending; the last one is that of the rows.
    """

    first: int
    columns: int
    lengths: Sequence[int]


@dataclass(frozen=True, eq=False)
class LengthDraw:
    """Draws batches of similar length, as a function of (seed, epoch).

    The order of an epoch is that of `draw`, or shuffled. Its examples are sorted by their length within pools of some batches,
    and the batches are shuffled; the rest that fills no batch is the last batch.

    Attributes:
        lengths: the length of each example `(n,)`.
        batch_size: the size of a batch.
        seed: the seed of the run.
        draw: which examples an epoch has; None for each of them once.

    Example:
        >>> draw = LengthDraw(np.array([9, 1, 8, 2, 5]), batch_size=2, seed=0)
        >>> order = draw.order(0)
        >>> sorted(order.tolist()), np.sort(np.diff(np.sort(draw.lengths[order[:4]].reshape(2, 2)))).tolist()
        ([0, 1, 2, 3, 4], [[1], [1]])
    """

    lengths: Array
    batch_size: int
    seed: int
    draw: Draw | None = None

    def __len__(self) -> int:
        return len(self.lengths) if self.draw is None else len(self.draw)

    def order(self, epoch: int) -> Array:
        """Returns the places of the examples of an epoch in their order, int64 `(len(self),)`."""
        order = epoch_order(self.seed, epoch, len(self.lengths)) if self.draw is None else self.draw.order(epoch)
        whole = len(order) // self.batch_size * self.batch_size
        drawn, rest = order[:whole], order[whole:]
        pools = np.arange(whole) // (_POOL * self.batch_size)
        batches = drawn[np.lexsort((self.lengths[drawn], pools))].reshape(-1, self.batch_size)
        bits = np.random.Philox(key=[self.seed, _BATCHES], counter=[0, 0, epoch, 0]).random_raw(len(batches))
        shuffled: Array = np.concatenate([batches[np.argsort(bits, kind="stable")].reshape(-1), rest])
        return shuffled


@dataclass(frozen=True, eq=False)
class CutRows(DerivedRows):
    """Encoded rows `(n, features)` whose batches have only the steps of their longest text, `(n, fewer features)`.

    Attributes:
        rows: the rows.
        place: where their tokens are.
    """

    place: TextPlace

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The number of features of a row that is not cut."""
        return self.rows.shape

    @property
    def gathers(self) -> bool:
        """Whether the rows are gathered from memory."""
        return self.rows.gathers

    @cached_property
    def lengths(self) -> Array:
        """The number of tokens of the longest text of each row, int32 `(n,)`."""
        lengths = np.empty(len(self), "int32")
        for start in range(0, len(self), _BLOCK):
            places = np.arange(start, min(start + _BLOCK, len(self)))
            is_token = self.rows.read(places)[:, self.place.first :] != 0
            steps = is_token.reshape(len(places), -1, self.place.columns).any(axis=2)
            lengths[places] = steps.sum(axis=1, dtype="int32")
        return lengths

    def take(self, places: Array) -> Self:
        """Returns the rows at the given places."""
        return type(self)(self.rows.take(places), self.place)

    def read(self, places: Array) -> Any:
        """Returns whole rows."""
        return self.rows.read(places)

    def reader(self) -> Callable[[Any], Any]:
        """Returns a function from indices to the rows of a batch, which are cut."""
        from dlcli.runtime.engine import tf

        read, place = self.rows.reader(), self.place
        lengths, sizes = on_host(self.lengths), on_host(np.array(place.lengths, "int32"))

        def cut(indices: Any) -> Any:
            longest = tf.reduce_max(tf.gather(lengths, indices))
            steps = sizes[tf.searchsorted(sizes, longest[None])[0]]
            return read(indices)[:, : place.first + place.columns * steps]

        return cut
