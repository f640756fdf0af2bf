"""Intervals of grouped examples: they contain the true score as often as they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlcli.runtime.estimates import Estimate, effective_size, of_shares, of_values, wilson
from dlcli.score.intervals import clustered

Array = np.ndarray[Any, Any]


def names(groups: int, size: int) -> Array:
    return np.repeat(np.arange(groups), size).astype(str).astype(object)


@pytest.mark.parametrize(("groups", "correlation"), [(20, 1.0), (30, 1.0), (30, 0.5), (60, 0.3)])
def test_intervals_of_grouped_shares_contain_the_truth(groups: int, correlation: float) -> None:
    random, truth, repeats, size = np.random.default_rng(0), 0.8, 400, 5
    contained, independent = 0, 0
    odds = (1 - correlation) / correlation
    for _ in range(repeats):
        if correlation == 1:
            right = np.repeat(random.random(groups) < truth, size)
        else:
            chances = random.beta(truth * odds, (1 - truth) * odds, groups)
            right = random.random(groups * size) < np.repeat(chances, size)
        plain = of_shares(right.astype("float64"))
        wide = clustered(plain, names(groups, size))
        assert plain.interval is not None
        assert wide.interval is not None
        contained += wide.interval[0] <= truth <= wide.interval[1]
        independent += plain.interval[0] <= truth <= plain.interval[1]
    assert contained / repeats > 0.92
    assert independent / repeats < 0.85


def test_intervals_of_grouped_losses_contain_the_mean() -> None:
    random, contained = np.random.default_rng(0), 0
    for _ in range(400):
        losses = np.exp((np.repeat(random.normal(size=30), 5) + random.normal(size=150)) / np.sqrt(8))
        interval = clustered(of_values(losses), names(30, 5)).interval
        assert interval is not None
        contained += interval[0] <= np.exp(0.125) <= interval[1]
    assert contained / 400 > 0.92


def test_groups_of_one_change_hardly_anything() -> None:
    plain = of_shares((np.arange(200) % 5 > 0).astype("float64"))
    single = clustered(plain, names(200, 1))
    assert plain.interval is not None
    assert single.interval is not None
    assert np.abs(np.subtract(plain.interval, single.interval)).max() < 0.003
    assert clustered(plain, None) is plain


def test_a_perfect_score_counts_groups() -> None:
    interval = clustered(of_shares(np.ones(60)), names(12, 5)).interval
    assert interval is not None
    assert interval == pytest.approx((wilson(1.0, 12)[0], 1), abs=0.05)
    assert interval[0] < wilson(1.0, 12)[0]


def test_too_few_groups_have_no_interval() -> None:
    assert clustered(of_shares(np.arange(10) % 2 * 1.0), names(1, 10)).reason == "fewer than 2 groups"
    assert clustered(of_values(np.arange(40.0)), names(8, 5)).reason == "fewer than 10 groups"
    none = Estimate(0.5, np.zeros(4), None, "fewer than 20 positives")
    assert clustered(none, names(2, 2)).reason == "fewer than 20 positives"


def test_the_effective_size_is_that_of_the_interval() -> None:
    for share, size in ((0.0, 7), (0.3, 25), (1.0, 400)):
        low, high = wilson(share, size)
        assert effective_size(share, high - low) == pytest.approx(size, rel=1e-6)
