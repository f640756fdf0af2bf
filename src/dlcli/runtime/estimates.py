"""Scores with their 95 % intervals, and the influence of each example on a score.

Only scoring imports this module; checking a spec does not. No interval comes from a bootstrap: with few examples of a class its
samples vary less than new data would (for an area under the ROC curve with 3 positives its intervals contain the true value 7
times in 10). benchmarks/coverage.py measures the coverage of each interval; docs/intervals.md records the result.

Every score between 0 and 1 has Wilson's interval (Wilson 1927) for an *effective* number of examples: the number of independent
right or wrong predictions whose share would vary as much as the score does. Means of errors and losses have Student's interval,
corrected for skewness by Hall's transformation (Hall 1992).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt

import numpy as np

from dlcli.arrays import Array

Interval = tuple[float, float]
LEVEL = 0.95
NORMAL = 1.959963984540054
"""The standard normal distribution's quantile of (1 + LEVEL) / 2."""
FEWEST_VALUES = 10
"""Minimum number of examples for an interval of a mean of errors or losses."""
FEWEST_SQUARES = 20
"""Minimum number of examples for an interval of a mean of squares or an R2, which few large errors dominate."""


@dataclass(frozen=True)
class Estimate:
    """A score with its interval.

    Attributes:
        value: the score.
        influence: the effect of each example on the score `(n,)`, times n: the score of other examples would be about
            `value + influence.mean()` over those. Its deviation, divided by the root of n, is the standard error.
        interval: the 95 % interval, or None.
        reason: why there is no interval; empty if there is one.
        bounded: whether the score has a smallest and a largest possible value.
    """

    value: float
    influence: Array
    interval: Interval | None
    reason: str = ""
    bounded: bool = True


def wilson(share: float, size: float) -> Interval:
    """Returns the Wilson score interval of a share of `size` examples, which need not be a whole number."""
    width = NORMAL**2 / size
    middle = (share + width / 2) / (1 + width)
    half = sqrt(max(0.0, share * (1 - share) * width + width**2 / 4)) / (1 + width)
    return max(0.0, middle - half), min(1.0, middle + half)


def effective_size(share: float, width: float) -> float:
    """Returns the number of examples for which Wilson's interval of a share has a width, which is between 0 and 1."""
    low, high = 1e-6, 1e15
    for _ in range(100):
        middle = sqrt(low * high)
        below, above = wilson(share, middle)
        low, high = (middle, high) if above - below > width else (low, middle)
    return sqrt(low * high)


def student(examples: int) -> float:
    """Returns the quantile of Student's distribution for the mean of a number of examples."""
    from scipy.special import stdtrit

    return float(stdtrit(examples - 1, (1 + LEVEL) / 2))


def of_shares(values: Array) -> Estimate:
    """Returns the mean of values between 0 and 1: right predictions, or each example's share of right labels.

    The labels of one example are correlated, so the effective number of examples is that of Kish (1965): the variance of
    independent labels divided by the observed variance.
    """
    mean, count = float(values.mean()), len(values)
    variance = float(values.var(ddof=1)) if count > 1 else 0.0
    size = count * mean * (1 - mean) / variance if variance > 0 else float(count)
    if ((values == 0) | (values == 1)).all():
        size = float(count)
    return Estimate(mean, values - mean, wilson(mean, size))


def of_values(values: Array, fewest: int = FEWEST_VALUES) -> Estimate:
    """Returns the mean of values without an upper bound, such as errors and losses; with an interval from `fewest` examples."""
    values = values.astype("float64")
    mean, count = float(values.mean()), len(values)
    if count < fewest or (values == values[0]).all():
        reason = f"fewer than {fewest} examples" if count < fewest else "all examples have the same value"
        return Estimate(mean, values - mean, None, reason, bounded=False)
    low, high = hall(mean, values - mean)
    return Estimate(mean, values - mean, (max(low, 0.0) if (values >= 0).all() else low, high), bounded=False)


def hall(value: float, influence: Array) -> Interval:
    """Returns Student's interval of a score, corrected for the skewness of its influences.

    Hall's cubic transformation of the t statistic is applied (Hall 1992, Journal of the Royal Statistical Society B 54,
    221-228): errors have a long upper tail, and the uncorrected interval is too low.
    """
    count = len(influence)
    deviation = float(influence.std(ddof=1))
    quantile = student(count) / sqrt(count)
    skewness = float((influence**3).mean()) / float(influence.std()) ** 3

    def back(t: float) -> float:
        if abs(skewness) < 1e-6:
            return t
        return float(3 / skewness * (np.cbrt(1 + skewness * (t - skewness / (6 * count))) - 1))

    return value - deviation * back(quantile), value - deviation * back(-quantile)


def explained(truth: Array, predicted: Array, value: float) -> Estimate:
    """Returns R2 `value`, the mean over the targets `(n, targets)`.

    The interval is Student's for the logarithm of the unexplained share, with the standard error of the jackknife (Tukey 1958).
    """
    truth, predicted = truth.astype("float64"), predicted.astype("float64")
    count, total = len(truth), ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    if count < FEWEST_SQUARES or (total == 0).any():
        reason = f"fewer than {FEWEST_SQUARES} examples" if count < FEWEST_SQUARES else "a target is constant"
        return Estimate(value, np.zeros(count), None, reason)
    squares, spread = (truth - predicted) ** 2, (truth - truth.mean(axis=0)) ** 2 * count / (count - 1)
    without = ((squares.sum(axis=0) - squares) / np.maximum(total - spread, 1e-300)).mean(axis=1)
    rest = 1 - value
    if rest <= 0 or (without <= 0).any():
        return Estimate(value, np.zeros(count), None, "no variance is unexplained")
    logs = (count - 1) * (np.log(without).mean() - np.log(without))
    half = student(count) * float(logs.std(ddof=1)) / sqrt(count)
    return Estimate(value, -rest * logs, (1 - rest * exp(half), 1 - rest * exp(-half)))


def root(squared: Estimate) -> Estimate:
    """Returns the estimate of the square root of a mean of squares."""
    value = sqrt(squared.value)
    interval = squared.interval and (sqrt(max(squared.interval[0], 0.0)), sqrt(squared.interval[1]))
    return Estimate(value, squared.influence / (2 * max(value, 1e-300)), interval, squared.reason, bounded=False)
