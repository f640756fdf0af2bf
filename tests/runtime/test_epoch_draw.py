"""Which examples an epoch has where classes are repeated or left out."""

from __future__ import annotations

from math import ceil

import numpy as np
from hypothesis import given, settings, strategies

from dlcli.runtime.epoch_draw import EpochDraw

GROUPS = strategies.lists(strategies.integers(1, 12), min_size=1, max_size=4)


@settings(database=None, deadline=None, max_examples=60)
@given(GROUPS, strategies.data(), strategies.integers(0, 2**31 - 1), strategies.integers(0, 500))
def test_every_epoch_has_the_size_of_each_group_and_repeats_its_examples_evenly(
    counts: list[int], data: strategies.DataObject, seed: int, epoch: int
) -> None:
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    sizes = data.draw(strategies.lists(strategies.integers(1, 40), min_size=len(counts), max_size=len(counts)))
    draw = EpochDraw(groups, sizes, seed)
    order = draw.order(epoch)
    assert len(order) == len(draw) == sum(sizes)
    assert np.bincount(groups[order], minlength=len(counts)).tolist() == sizes
    times = np.bincount(order, minlength=len(groups))
    for group, (count, size) in enumerate(zip(counts, sizes, strict=True)):
        assert set(times[groups == group]) <= {size // count, ceil(size / count)}
    assert (order == EpochDraw(groups, sizes, seed).order(epoch)).all()


def test_each_example_of_a_frequent_class_is_drawn_before_one_is_drawn_again() -> None:
    groups = np.array([0] * 10 + [1] * 3)
    draw = EpochDraw(groups, [3, 3], seed=7)
    for cycle in range(3):  # 10 examples, 3 in an epoch
        drawn = np.concatenate([draw.order(4 * cycle + turn) for turn in range(4)])
        times = np.bincount(drawn, minlength=13)
        assert times[:10].min() == 1
        assert times[:10].max() <= 2
        assert (times[10:] == 4).all()
    assert not np.array_equal(np.sort(draw.order(0)), np.sort(draw.order(4))), "each cycle has a permutation of its own"


def test_the_draw_of_an_epoch_is_the_same_in_every_version() -> None:
    """Resumed runs depend on it."""
    draw = EpochDraw(np.array([0] * 7 + [1] * 2), [3, 4], seed=5)
    assert [draw.order(epoch).tolist() for epoch in (0, 3)] == [[4, 5, 7, 7, 8, 0, 8], [8, 0, 8, 7, 4, 1, 7]]
