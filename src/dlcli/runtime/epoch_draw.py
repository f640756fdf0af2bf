"""The examples of an epoch of a training that repeats or leaves out examples of some groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.stream import epoch_order

_DRAWING = 0xBA1A7CE
"""The second word of the generator's key: any other use of the same seed must have another word."""


@dataclass(frozen=True, eq=False)
class EpochDraw:
    """Draws a number of examples of each group for each epoch, as a function of (seed, epoch).

    Of a group of n examples, an epoch with s of them has each example s // n times and s % n of them once more. These are the
    next ones of a permutation of the group, so that each example is drawn before one is drawn again; once all were drawn,
    there is another permutation.

    Attributes:
        groups: the group of each example, int `(n,)`, from 0.
        sizes: the examples of each group in an epoch.
        seed: the seed of the run.

    Example:
        >>> draw = EpochDraw(np.array([0, 0, 0, 0, 1, 1]), [2, 3], seed=0)
        >>> len(draw), np.bincount(draw.groups[draw.order(0)]).tolist()
        (5, [2, 3])
        >>> sorted({int(place) for epoch in (0, 1) for place in draw.order(epoch) if place < 4})
        [0, 1, 2, 3]
    """

    groups: Array
    sizes: Sequence[int]
    seed: int

    def __len__(self) -> int:
        return sum(self.sizes)

    def order(self, epoch: int) -> Array:
        """Returns the places of the examples of an epoch in their order, int64 `(len(self),)`."""
        places = np.concatenate([self._of_group(group, size, epoch) for group, size in enumerate(self.sizes) if size])
        order: Array = places[epoch_order(self.seed, epoch, len(places))]
        return order

    def _of_group(self, group: int, size: int, epoch: int) -> Array:
        """Returns the places of a group's examples in an epoch."""
        places = np.flatnonzero(self.groups == group)
        repeats, rest = divmod(size, len(places))
        if not rest:
            return np.tile(places, repeats)
        cycle, turn = divmod(epoch, -(-len(places) // rest))
        bits = np.random.Philox(key=[self.seed, _DRAWING], counter=[0, group, cycle, 0]).random_raw(len(places))
        permutation = places[np.argsort(bits, kind="stable")]
        drawn = permutation[(turn * rest + np.arange(rest)) % len(places)]
        return np.concatenate([np.tile(places, repeats), np.sort(drawn)])
