"""What a curve of losses over growing learning rates suggests, and whether it stands out of the noise of single batches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dlcli.arrays import Array

HALF_WIDTH = 1.0
"""Decades of the rate on each side that a smoothed loss averages; a loss falls over one or two."""
FEWEST_BESIDE = 4
"""Smallest number of steps on each side that it averages."""
CERTAIN = 4.0
"""Standard errors by which the steepest slope must be below 0: over a curve of noise alone one in thousands is."""
LEAST_FALL = 0.01
"""Share of the first loss by which it must fall."""


@dataclass(frozen=True)
class Suggestions:
    """Rates to try. `steepest`: where the loss falls fastest; `valley`: two thirds down its longest fall; `minimum`: a tenth
    of the rate with the smallest loss."""

    steepest: float
    valley: float
    minimum: float
    clear: bool = True
    """Whether the loss fell by more than its noise: the rates mean little otherwise."""


@dataclass(frozen=True)
class Smooth:
    """A smoothed curve: losses and slopes `(n,)` per decade of the rate, and each slope's standard error."""

    losses: Array
    slopes: Array
    errors: Array


def smooth_curve(rates: Array, losses: Array) -> Smooth:
    """Returns the curve smoothed by local lines with tricube weights (Cleveland 1979), which do not lag behind it.

    Losses above all of the first third, where it blows up, count as the largest of those.
    """
    places = np.log10(rates)
    losses = np.minimum(losses, losses[: max(FEWEST_BESIDE, len(losses) // 3)].max())
    smooth = Smooth(*(np.empty(len(losses)) for _ in range(3)))
    for at, place in enumerate(places):
        distance = np.sort(np.abs(places - place))[min(2 * FEWEST_BESIDE, len(places) - 1)]
        weights = (1 - np.minimum(np.abs(places - place) / (1.001 * max(HALF_WIDTH, distance)), 1) ** 3) ** 3
        terms = np.stack([np.ones(len(places)), places - place])
        # The row of each term holds the contribution of every loss.
        rows = np.linalg.solve((terms * weights) @ terms.T, terms * weights)
        smooth.losses[at], smooth.slopes[at] = rows @ losses
        smooth.errors[at] = np.sqrt((rows[1] ** 2).sum())
    before = losses[: max(int(smooth.losses.argmin()) + 1, len(losses) // 3)]
    return replace(smooth, errors=smooth.errors * noise_of(before))


def noise_of(losses: Array) -> float:
    """Returns the standard deviation of single losses about their curve.

    From each loss less the mean of its neighbours (Gasser, Sroka, Jennen-Steinmetz 1986).
    """
    bends = losses[1:-1] - (losses[:-2] + losses[2:]) / 2
    return float(np.sqrt(2 / 3 * np.mean(bends**2))) if len(bends) else 0.0


def suggested(rates: Array, smooth: Array, losses: Array) -> Suggestions:
    """Returns the suggestions of a curve: its rates, its losses smoothed, and its losses as they are."""
    curve = smooth_curve(rates, losses)
    low = max(int(smooth.argmin()), 2)
    slopes, errors = curve.slopes[: low + 1], curve.errors[: low + 1]
    certain = slopes < -CERTAIN * errors
    steepest = int(np.where(certain, slopes, 0).argmin() if certain.any() else slopes.argmin())
    fall = curve.losses[: steepest + 1].max() - curve.losses[low]
    clear = bool(certain.any() and fall > LEAST_FALL * abs(curve.losses[0]))
    first = min(len(rates) // 10, low)
    begin, end = _longest_fall(smooth[first : low + 1])
    valley = rates[first + begin + (end - begin) * 2 // 3]
    return Suggestions(float(rates[steepest]), float(valley), float(rates[low] / 10), clear)


def _longest_fall(losses: Array) -> tuple[int, int]:
    """Returns the start and end of the longest falling subsequence (fastai's `valley`)."""
    lengths, begins = np.ones(len(losses), dtype=int), np.arange(len(losses))
    for at in range(1, len(losses)):
        above = np.flatnonzero(losses[:at] > losses[at])
        if len(above):
            best = above[int(lengths[above].argmax())]
            lengths[at], begins[at] = lengths[best] + 1, begins[best]
    end = int(lengths.argmax())
    return int(begins[end]), end
