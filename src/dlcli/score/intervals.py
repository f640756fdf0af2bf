"""95 % intervals of a score, or of the difference of two scores: the uncertainty from the choice of the split's examples.

`runtime/estimates.py` and `runtime/class_estimates.py` compute them; docs/intervals.md has their measured coverage.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite, sqrt
from typing import TYPE_CHECKING

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.estimates import (
    FEWEST_VALUES,
    LEVEL,
    NORMAL,
    Estimate,
    Interval,
    effective_size,
    of_values,
    student,
    wilson,
)
from dlcli.tasks import Task

if TYPE_CHECKING:
    from dlcli.spec.training.metrics import MetricSpec

__all__ = [
    "LEVEL",
    "blocked",
    "clustered",
    "dependent",
    "difference_interval",
    "group_notes",
    "loss_estimate",
    "mean_interval",
    "metric_estimate",
    "metric_interval",
]


def metric_estimate(metric: MetricSpec, truth: Array, scores: Array, task: Task) -> Estimate:
    """Returns a metric, as scikit-learn computes it, with its interval; fewer than two examples have none."""
    value = metric.score(truth, scores, task)
    if len(truth) >= 2:
        return replace(metric.estimate(truth, scores, task), value=value)
    return Estimate(value, np.zeros(len(truth)), None, "fewer than 2 examples")


def metric_interval(metric: MetricSpec, truth: Array, scores: Array, task: Task) -> Interval | None:
    """Returns the 95 % interval of a metric; None where it is not defined or there are too few examples."""
    return metric_estimate(metric, truth, scores, task).interval


def loss_estimate(losses: Array) -> Estimate:
    """Returns the mean loss with its interval; a loss that is one number for all examples, shape `()`, has no interval."""
    if losses.ndim:
        return of_values(losses)
    return Estimate(float(losses), np.zeros(0), None, "this loss has one value for all examples", bounded=False)


def mean_interval(values: Array) -> Interval | None:
    """Returns the 95 % interval of a mean over examples; None where there are too few, or all are the same."""
    return of_values(values).interval


_ROUNDING = 1e-9


def group_notes(groups: Array | None, *, are_blocks: bool = False) -> list[str]:
    """Returns a note that intervals consider the groups of the examples; none without groups.

    `are_blocks`: whether groups are stretches of time, whose intervals are those of a block bootstrap.
    """
    if groups is None:
        return []
    count = len(set(groups.tolist()))
    if are_blocks:
        blocks = f"{count:,} block{'' if count == 1 else 's'} of time"
        return [f"intervals are those of a bootstrap of {blocks}: windows near each other are not independent"]
    return [f"intervals are those of {count:,} group{'' if count == 1 else 's'}: examples of one group are not independent"]


_SAMPLES = 4000
_FEWEST_BLOCKS = 8


def blocked(estimate: Estimate, groups: Array | None) -> Estimate:
    """Returns the estimate for forecasts, whose examples depend on each other within blocks of time.

    Whole blocks are drawn with replacement (Carlstein 1986, Annals of Statistics 14, 1171-1179), 4,000 times from a fixed seed,
    and the interval is that of the score of the drawn blocks, by its influences. With few blocks samples vary less than new
    data would: they are stretched by the root of B / (B - 1) and by Student's quantile for B blocks.

    Args:
        estimate: the estimate for independent examples.
        groups: the block of each example `(n,)`; None if there are no blocks.
    """
    influence = estimate.influence
    if groups is None or len(groups) != len(influence) or estimate.interval is None:
        return clustered(estimate, groups)
    numbers = np.unique(groups.astype(str), return_inverse=True)[1]
    sums, sizes, count = np.bincount(numbers, weights=influence), np.bincount(numbers), len(influence)
    by_block = replace(estimate, influence=sums * len(sums) / count)
    if len(sums) < _FEWEST_BLOCKS:
        return replace(by_block, interval=None, reason=f"fewer than {_FEWEST_BLOCKS} blocks of time")
    drawn = np.random.default_rng(0).integers(len(sums), size=(_SAMPLES, len(sums)))
    shifts = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    stretch = sqrt(len(sums) / (len(sums) - 1)) * student(len(sums)) / NORMAL
    low, high = (estimate.value + stretch * np.quantile(shifts, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])).tolist()
    low = max(low, 0.0) if estimate.interval[0] >= 0 else low
    return replace(by_block, interval=(low, min(high, 1.0) if estimate.bounded else high))


def dependent(estimate: Estimate, groups: Array | None, task: Task) -> Estimate:
    """Returns the estimate for examples of a task that may depend on each other: in blocks of time, or in groups."""
    return (blocked if task.output.needs_series else clustered)(estimate, groups)


def clustered(estimate: Estimate, groups: Array | None) -> Estimate:
    """Returns the estimate for examples that depend on each other within groups; its influences are those of the groups.

    The variance of the score is that of the sums of influences of each group (Liang and Zeger 1986, Biometrika 73, 13-22),
    with the correction G / (G - 1) for G groups and Student's quantile of G - 1 degrees of freedom. Its ratio to the variance
    of independent examples is the design effect (Kish 1965): a bounded score has Wilson's interval for a number of examples
    that is divided by it, and other intervals are stretched by its root. It is at least 1; if all examples have the same
    influence, it is that of groups whose examples are all alike.

    Args:
        estimate: the estimate for independent examples.
        groups: the group of each example `(n,)`; None if the examples are independent.
    """
    influence = estimate.influence
    if groups is None or len(groups) != len(influence):
        return estimate
    numbers = np.unique(groups.astype(str), return_inverse=True)[1]
    sums, sizes, count = np.bincount(numbers, weights=influence), np.bincount(numbers), len(influence)
    by_group = replace(estimate, influence=sums * len(sums) / count)
    if estimate.interval is None:
        return by_group
    fewest = 2 if estimate.bounded else FEWEST_VALUES
    if len(sums) < fewest:
        return replace(by_group, interval=None, reason=f"fewer than {fewest} groups")
    total = float((influence**2).sum())
    effect = float((sums**2).sum()) * len(sums) / (len(sums) - 1) / total if total > 0 else float((sizes**2).sum()) / count
    factor = max(effect, 1.0) * (student(len(sums)) / student(count)) ** 2
    low, high = estimate.interval
    if estimate.bounded and low >= 0 and high <= 1 and low - _ROUNDING <= estimate.value <= high + _ROUNDING:
        size = effective_size(estimate.value, high - low)
        return replace(by_group, interval=wilson(estimate.value, size / factor))
    return replace(by_group, interval=_stretched(estimate, sqrt(factor)))


def _stretched(estimate: Estimate, factor: float) -> Interval:
    """Returns an interval whose distances from the value are multiplied by a factor; within -1 to 1 if it is bounded."""
    assert estimate.interval is not None
    low, high = estimate.interval
    low, high = estimate.value - factor * (estimate.value - low), estimate.value + factor * (high - estimate.value)
    return (max(low, -1.0), min(high, 1.0)) if estimate.bounded and estimate.interval[0] >= -1 else (low, high)


def difference_interval(first: Estimate, second: Estimate) -> Interval | None:
    """Returns the 95 % interval of the difference of two scores on the same examples, second minus first.

    Bounded scores: the two intervals are combined by the method of Zou and Donner (2008), which Newcombe (1998) described for
    two paired shares; it uses the correlation of the two scores over the examples. Means of errors and losses: the paired
    Student's interval of the examples' differences. None where one of the scores has no interval.
    """
    if not isfinite(second.value - first.value):
        return None
    influences, difference = second.influence - first.influence, second.value - first.value
    if not first.bounded:
        if len(influences) < FEWEST_VALUES:
            return None
        half = student(len(influences)) * float(influences.std(ddof=1)) / sqrt(len(influences))
        return difference - half, difference + half
    if first.interval is None or second.interval is None:
        return None
    deviations = float(first.influence.std()), float(second.influence.std())
    products = deviations[0] * deviations[1]
    correlation = float((first.influence * second.influence).mean()) / products if products > 0 else 0.0

    def half_width(of_second: float, of_first: float) -> float:
        return sqrt(max(0.0, of_second**2 + of_first**2 - 2 * correlation * of_second * of_first))

    below = half_width(second.value - second.interval[0], first.interval[1] - first.value)
    above = half_width(second.interval[1] - second.value, first.value - first.interval[0])
    return difference - below, difference + above
