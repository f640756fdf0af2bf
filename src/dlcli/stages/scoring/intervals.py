"""How far a score may be off by the luck of which examples were in the part: 95 % intervals.

Shares of right answers have the Wilson score interval (Wilson 1927; Brown, Cai and DasGupta 2001 for its coverage): a
bootstrap of 360 right answers out of 360 would say "from 1.0 to 1.0". Every other score has the percentile bootstrap (Efron
1979): the examples are drawn again with replacement, the score is computed for each draw, and the middle 95 % are kept.
Draws depend on the number of examples alone, so two models on one part are compared on the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dlcli.spec.metrics import MetricSpec

Array = np.ndarray[Any, Any]
LEVEL = 0.95
_QUANTILE = NormalDist().inv_cdf((1 + LEVEL) / 2)
_DRAWS = 1000
_FEWEST = 200
_CELLS = 5_000_000
_AT_ONCE = 1_000_000


def draws(examples: int) -> Iterator[Array]:
    """Yields positions `(some, examples)` drawn with replacement: 1,000 draws in all, of many examples 200."""
    left = int(np.clip(_CELLS // max(examples, 1), _FEWEST, _DRAWS))
    random = np.random.default_rng([0xB007, examples])
    some = max(1, _AT_ONCE // max(examples, 1))
    while left > 0:
        yield random.integers(0, examples, (min(some, left), examples), dtype="int32")
        left -= some


def metric_interval(metric: MetricSpec, truth: Array, scores: Array, task: str) -> tuple[float, float] | None:
    """Returns the 95 % interval of a metric; None where it is not defined or there are fewer than two examples."""
    if len(truth) < 2:
        return None
    values = metric.each(truth, scores, task)
    if values is not None and values.ndim == 1 and ((values == 0) | (values == 1)).all():
        return _share_interval(int(values.sum()), len(values))
    return middle(np.concatenate([metric.resampled(truth, scores, task, some) for some in draws(len(truth))]))


def mean_interval(values: Array) -> tuple[float, float] | None:
    """Returns the 95 % interval of a mean over examples."""
    if len(values) < 2:
        return None
    return middle(np.concatenate([values[some].mean(axis=1) for some in draws(len(values))]))


def middle(values: Array) -> tuple[float, float] | None:
    """Returns the bounds of the middle 95 % of values; None where fewer than half are numbers, or all are the same.

    Draws that all score alike, as those of an area of 1.0 on five examples do, tell nothing of other examples.
    """
    values = values[np.isfinite(values)]
    if len(values) < _FEWEST / 2:
        return None
    low, high = (float(bound) for bound in np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return (low, high) if low < high else None


def _share_interval(right: int, examples: int) -> tuple[float, float]:
    """Returns the Wilson score interval of a share. Written out: importing `scipy.stats` would cost every run half a second."""
    share = right / examples
    width = _QUANTILE**2 / examples
    middle_ = (share + width / 2) / (1 + width)
    half = sqrt(share * (1 - share) * width + width**2 / 4) / (1 + width)
    return max(0.0, middle_ - half), min(1.0, middle_ + half)
