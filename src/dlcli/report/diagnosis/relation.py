"""Tests whether predictions are related to labels: rank and correlation tests, without TensorFlow and SciPy."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

import numpy as np

from dlcli.arrays import Array
from dlcli.tasks import Decisions, Task


def probability_of_no_relation(task: Task, truth: Array, scores: Array) -> float | None:
    """Returns the probability of predictions as good as these if they are unrelated to the labels: a one-sided p-value.

    For each class or label the area under the ROC curve by Mann and Whitney's test (1947, normal approximation without
    ties); for each target Pearson's correlation. The smallest of several is multiplied by their number (Bonferroni).
    None where there are too few examples.

    Args:
        task: the task.
        truth: labels as in `Outcome.truth`.
        scores: as in `Outcome.scores`.
    """
    if isinstance(task.output, Decisions):
        members, probabilities = task.output.members(truth, scores)
        z_values = [_area(column, shares) for column, shares in zip(members.T, probabilities.T, strict=True)]
    else:
        z_values = [_correlation(truth[:, at], scores[:, at]) for at in range(truth.shape[1])]
    p_values = [1 - NormalDist().cdf(z) for z in z_values if z is not None]
    return min(1.0, min(p_values) * len(p_values)) if p_values else None


def area(members: Array, scores: Array) -> float:
    """Returns the area under the ROC curve with ties counted half; 0.5 where there are no members or no others."""
    count, other_count = int(members.sum()), int((~members).sum())
    if not count or not other_count:
        return 0.5
    return float((_ranks(scores)[members].sum() - count * (count + 1) / 2) / (count * other_count))


def _area(members: Array, scores: Array) -> float | None:
    count, other_count = int(members.sum()), int((~members).sum())
    if min(count, other_count) < 3:
        return None
    return (area(members, scores) - 0.5) / sqrt((count + other_count + 1) / (12 * count * other_count))


def _ranks(values: Array) -> Array:
    """Returns the rank of each value from 1; equal values have their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return np.asarray((last - (counts - 1) / 2)[place.reshape(-1)])


def _correlation(truth: Array, values: Array) -> float | None:
    first, second = truth.astype("float64"), values.astype("float64")
    if len(first) < 5 or not first.std() or not second.std():
        return None
    r = float(np.clip(np.corrcoef(first, second)[0, 1], -0.999999, 0.999999))
    return float(np.arctanh(r) * sqrt(len(first) - 3))  # Fisher 1915
