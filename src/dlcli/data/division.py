"""Divides examples: a share of them, folds, and an order whose beginnings are samples; by classes and by groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DataError

_LARGE = 0.25
"""A group of more examples than this fraction of the smallest set is assigned before the others."""


@dataclass(frozen=True)
class Pool:
    """Examples to divide.

    Attributes:
        size: their number, n.
        strata: the class number of each int64 `(n,)`; None to ignore classes.
        groups: the number of each example's group int64 `(n,)`, from 0; None if every example may be in any set.
    """

    size: int
    strata: Array | None = None
    groups: Array | None = None

    def __len__(self) -> int:
        return self.size

    @property
    def units(self) -> int:
        """The number of groups; without groups, of examples."""
        return len(self) if self.groups is None else int(self.groups.max()) + 1

    def refuse_fewer(self, fewest: int, sets: str) -> None:
        """Raises DataError if there are fewer groups, or examples, than sets to divide them into."""
        if self.units < fewest:
            what = "example" if self.groups is None else "group"
            raise DataError(f"data.split: {self.units} {what}{'s' * (self.units > 1)} cannot be divided into {sets}")

    def take(self, places: Array) -> Pool:
        """Returns the pool of the examples at some places."""
        strata = None if self.strata is None else self.strata[places]
        groups = None if self.groups is None else np.unique(self.groups[places], return_inverse=True)[1]
        return Pool(len(places), strata, groups)

    def share(self, share: float, random: np.random.Generator, *, left: int = 1) -> Array:
        """Returns the sorted places of a share of the examples, at least one.

        Of groups it is the nearest share that they allow; at least `left` groups are not in it.
        """
        if self.groups is not None:
            return np.flatnonzero(self._grouped(np.array([share, 1 - share]), np.array([1, left]), random) == 0)
        if self.strata is not None:
            return _stratified(self.strata, share, random)
        return _random(len(self), share, random)

    def folds(self, count: int, random: np.random.Generator) -> Array:
        """Returns the number of the fold of each example, from 1, int64 `(n,)`.

        Without groups the sizes of two folds, and their examples of a class, differ by one example at most.

        Raises:
            DataError: there are fewer examples, or groups, than folds.
        """
        self.refuse_fewer(count, f"{count} folds")
        if self.groups is not None:
            return self._grouped(np.full(count, 1 / count), np.ones(count, dtype="int64"), random) + 1
        order = random.permutation(len(self))
        if self.strata is not None:
            order = order[np.argsort(self.strata[order], kind="stable")]
        folds = np.empty(len(self), dtype="int64")
        folds[order] = np.arange(len(self)) % count + 1
        return folds

    def sample(self, fraction: float, random: np.random.Generator) -> Array:
        """Returns the sorted places of a fraction of the examples; a smaller fraction's are among a larger one's.

        Every class is kept, and classes have the same proportions up to one example. Of groups, whole groups are taken, and
        a group counts for its most frequent class.
        """
        units = np.arange(len(self)) if self.groups is None else self.groups
        sizes = np.bincount(units)
        strata = np.zeros(len(sizes), dtype="int64")
        if self.strata is not None:
            strata = _counts(units, self.strata).argmax(axis=1)
        order, classes = _alternating(strata, random), len(np.unique(strata))
        reached = np.cumsum(sizes[order])
        count = int(np.argmin(np.abs(reached - fraction * len(self)))) + 1
        is_chosen = np.zeros(len(sizes), dtype=bool)
        is_chosen[order[: max(count, classes)]] = True
        return np.flatnonzero(is_chosen[units])

    def _grouped(self, shares: Array, fewest: Array, random: np.random.Generator) -> Array:
        """Returns the set of each example int64 `(n,)`, from 0: all examples of a group are in one, and sets have at least
        their `fewest` groups.

        A greedy assignment: each group goes to the set that lacks most of its classes. Large groups come first, the others in
        random order, so that small sets do not consist of small groups alone.
        """
        assert self.groups is not None
        strata = np.zeros(len(self), dtype="int64") if self.strata is None else self.strata
        counts = _counts(self.groups, strata).astype("float64")
        counts = np.hstack([counts, counts.sum(axis=1, keepdims=True)])  # the sizes of the sets count like a class
        weights = 1 / np.maximum(counts.sum(axis=0), 1) ** 2
        lacking = shares[:, None] * counts.sum(axis=0)
        units, missing = self.units, fewest.copy()
        assigned = np.zeros(units, dtype="int64")
        for rank, group in enumerate(_large_first(counts[:, -1], shares.min() * len(self), random)):
            # The squared distance of all sets from their shares after the group is added to one, up to a constant.
            cost = ((counts[group] - 2 * lacking) * counts[group] * weights).sum(axis=1)
            if units - rank <= missing.clip(0).sum():
                cost[missing <= 0] = np.inf
            best = int(cost.argmin())
            assigned[group] = best
            missing[best] -= 1
            lacking[best] -= counts[group]
        return assigned[self.groups]


def _counts(groups: Array, strata: Array) -> Array:
    """Returns the number of examples of each class in each group, int64 `(groups, classes)`."""
    classes = np.unique(strata, return_inverse=True)[1]
    count = int(classes.max()) + 1
    return np.bincount(groups * count + classes, minlength=(int(groups.max()) + 1) * count).reshape(-1, count)


def _large_first(sizes: Array, smallest: float, random: np.random.Generator) -> Array:
    """Returns the groups in the order of assignment: large ones by size, then the others as drawn."""
    order = random.permutation(len(sizes))
    rank = np.where(sizes[order] > _LARGE * smallest, -sizes[order], 0)
    return order[np.argsort(rank, kind="stable")]


def _alternating(strata: Array, random: np.random.Generator) -> Array:
    """Returns a random order of units in which every beginning has the classes in about the same proportions."""
    order = random.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    sizes = np.unique(strata, return_counts=True)[1]
    place = np.concatenate([np.arange(size) / size for size in sizes])
    return order[np.argsort(place, kind="stable")]


def _random(examples: int, share: float, random: np.random.Generator) -> Array:
    """Returns the sorted places of a random share of the examples, at least one."""
    count = min(max(1, round(share * examples)), examples - 1)
    return np.sort(random.permutation(examples)[:count])


def _stratified(targets: Array, share: float, random: np.random.Generator) -> Array:
    """Returns the sorted places of a share of every class: at least one of a class of two or more, none of a single one.

    Fractions of examples are rounded by the largest remainder, so that the counts add up. scikit-learn's splitter
    refuses a class with one example, and its import would cost half a second before the first step.
    """
    order = random.permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    classes = np.split(order, np.flatnonzero(np.diff(targets[order])) + 1)
    sizes = np.array([len(members) for members in classes])
    shares = share * sizes
    counts = np.floor(shares).astype(int)
    largest = np.argsort(counts - shares, kind="stable")
    counts[largest[: round(share * len(targets)) - counts.sum()]] += 1
    counts = np.minimum(np.maximum(counts, 1), sizes - 1)
    return np.sort(np.concatenate([members[:count] for members, count in zip(classes, counts, strict=True)]))
