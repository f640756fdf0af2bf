"""How far a score, or the difference of two, may be off by the luck of which examples were in the part: 95 % intervals.

How each is computed stands in `runtime/estimates.py` and `runtime/class_estimates.py`; docs/intervals.md says how often
they hold.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite, sqrt
from typing import TYPE_CHECKING

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.estimates import FEWEST_VALUES, LEVEL, Estimate, Interval, of_values, student
from dlcli.tasks import Task

if TYPE_CHECKING:
    from dlcli.spec.training.metrics import MetricSpec

__all__ = ["LEVEL", "difference_interval", "loss_estimate", "mean_interval", "metric_estimate", "metric_interval"]


def metric_estimate(metric: MetricSpec, truth: Array, scores: Array, task: Task) -> Estimate:
    """Returns a metric, as scikit-learn computes it, with its interval; of fewer than two examples there is none."""
    value = metric.score(truth, scores, task)
    if len(truth) >= 2:
        return replace(metric.estimate(truth, scores, task), value=value)
    return Estimate(value, np.zeros(len(truth)), None, "fewer than 2 examples")


def metric_interval(metric: MetricSpec, truth: Array, scores: Array, task: Task) -> Interval | None:
    """Returns the 95 % interval of a metric; None where it is not defined or there are too few examples."""
    return metric_estimate(metric, truth, scores, task).interval


def loss_estimate(losses: Array) -> Estimate:
    """Returns the mean loss with its interval; a loss that is one number for all examples, `()`, has none."""
    if losses.ndim:
        return of_values(losses)
    return Estimate(float(losses), np.zeros(0), None, "this loss has one value for all examples", bounded=False)


def mean_interval(values: Array) -> Interval | None:
    """Returns the 95 % interval of a mean over examples; None where there are too few, or all are the same."""
    return of_values(values).interval


def difference_interval(first: Estimate, other: Estimate) -> Interval | None:
    """Returns the 95 % interval of the difference of two scores on the same examples, second less first.

    Scores between two bounds: the two intervals are put together by the method of Zou and Donner (2008), which Newcombe (1998)
    had for two paired shares; it uses the correlation of the two scores over the examples. Means of errors and losses: the
    paired Student's interval of the differences of each example. None where one of the scores has no interval.
    """
    if not isfinite(other.value - first.value):
        return None
    apart, difference = other.influence - first.influence, other.value - first.value
    if not first.bounded:
        if len(apart) < FEWEST_VALUES:
            return None
        half = student(len(apart)) * float(apart.std(ddof=1)) / sqrt(len(apart))
        return difference - half, difference + half
    if first.interval is None or other.interval is None:
        return None
    deviations = float(first.influence.std()), float(other.influence.std())
    products = deviations[0] * deviations[1]
    together = float((first.influence * other.influence).mean()) / products if products > 0 else 0.0

    def half_width(of_other: float, of_first: float) -> float:
        return sqrt(max(0.0, of_other**2 + of_first**2 - 2 * together * of_other * of_first))

    below = half_width(other.value - other.interval[0], first.interval[1] - first.value)
    above = half_width(other.interval[1] - other.value, first.value - first.interval[0])
    return difference - below, difference + above
