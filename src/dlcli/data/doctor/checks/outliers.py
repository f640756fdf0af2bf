"""Numbers that lie far outside of their column."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor import words
from dlcli.data.doctor.check import Progress, Subject, TableCheck
from dlcli.data.doctor.issue import Issue

FAR = 10.0
"""Distance from the median, in robust standard deviations, from which on a number is suspect. In a normal distribution there
is none; in a skewed one there are many, so the second distance counts too."""
FAR_LOG = 4.5
"""The same for the logarithms of positive numbers: prices, incomes and areas have long upper tails that are no errors."""
MOST = 0.01
"""Largest share of outliers: more of them are part of the distribution."""
FEW = 3
"""Outliers of a small table that are reported all the same."""
_NORMAL = 1.4826
_FEWEST_ROWS = 20
_SHOWN = 1000


class Outliers(TableCheck):
    """Finds numbers that are far from the median of their column on its own scale and, if positive, on that of logarithms.

    The distance is in robust standard deviations: 1.4826 times the median absolute deviation (Rousseeuw and Croux 1993), or
    the interquartile range by 1.349 where more than half of the values are equal.
    """

    name = "outliers"

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields at most one issue."""
        rows, lines = subject.rows, list[tuple[float, str]]()
        is_affected, columns = np.zeros(len(rows), dtype=bool), list[str]()
        for name, values in rows.numbers():
            distances = _distances(values)
            is_outlier = distances > FAR
            if not 0 < is_outlier.sum() <= max(FEW, MOST * len(rows)):
                continue
            is_affected |= is_outlier
            columns.append(name)
            middle = float(np.nanmedian(values))
            lines += [
                (
                    float(distances[place]),
                    f"{words.name(name)} is {values[place]:g} in row {words.name(rows.ids[place])}; the median is {middle:g}",
                )
                for place in np.flatnonzero(is_outlier).tolist()
            ]
        if not columns:
            return
        ids = rows.ids_of(is_affected)
        yield Issue(
            kind="outlier",
            severity="warning",
            summary=f"{words.count(len(ids), 'row')} {words.has_or_have(len(ids))} a number far outside the usual"
            f" range of {words.columns(columns)}",
            advice="check the rows: a slipped decimal point, another unit, or a mark of a missing value such as -999"
            " (data.source.missing)",
            evidence=tuple(line for _, line in sorted(lines, reverse=True)[:_SHOWN]),
            examples=ids,
            columns=tuple(columns),
            exclude=ids,
        )


def _distances(values: Array) -> Array:
    """Returns the distance of each number from the median in robust deviations; 0 for gaps and where it is no outlier."""
    present = values[np.isfinite(values)]
    if len(present) < _FEWEST_ROWS or not (scale := _scale(present)):
        return np.zeros(len(values))
    distances: Array = np.nan_to_num(np.abs(values - np.median(present)) / scale)
    usual = present[np.abs(present - np.median(present)) <= FAR * scale]
    if usual.min() >= 0:  # a negative number among them has no logarithm, and stays far
        is_positive = values > 0
        logarithms = np.log(values[is_positive])
        spread = _scale(logarithms) if len(logarithms) else 0.0
        if spread:
            is_near = np.abs(logarithms - np.median(logarithms)) <= FAR_LOG * spread
            distances[np.flatnonzero(is_positive)[is_near]] = 0
    return distances


def _scale(values: Array) -> float:
    """Returns a robust standard deviation; 0 where most values are equal."""
    deviation = _NORMAL * float(np.median(np.abs(values - np.median(values))))
    if deviation:
        return deviation
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low) / 1.349
