"""Calibration of probabilities: reliability, expected calibration error, Brier score, temperature.

Of several classes, the probability of the most likely class is used; of a binary task that of the second class, of several
labels that of each label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dlcli.arrays import Array
from dlcli.charts import content
from dlcli.score.outcome import Outcome
from dlcli.tasks import Decisions, Task

BINS = 15
_COLDEST, _HOTTEST = 0.02, 50.0


@dataclass(frozen=True)
class Bin:
    """The examples whose probability lies in (low, high]: their number, mean probability and share of correct claims."""

    low: float
    high: float
    examples: int
    confidence: float
    accuracy: float


def claims(outcome: Outcome) -> tuple[Array, Array]:
    """Returns the claimed probabilities and whether each claim is true, booleans; both `(claims,)`."""
    return _decisions(outcome.task).claims(outcome.truth, _scores(outcome))


def _decisions(task: Task) -> Decisions:
    assert isinstance(task.output, Decisions)
    return task.output


def _scores(outcome: Outcome) -> Array:
    assert outcome.scores is not None
    return outcome.scores


def reliability(probabilities: Array, came_true: Array) -> list[Bin]:
    """Returns the bins of equal width that hold examples (Guo et al. 2017, 15 bins)."""
    place = np.clip(np.ceil(probabilities * BINS).astype(int) - 1, 0, BINS - 1)
    bins = []
    for number in np.unique(place):
        inside = place == number
        confidence, accuracy = float(probabilities[inside].mean()), float(came_true[inside].mean())
        bins.append(Bin(number / BINS, (number + 1) / BINS, int(inside.sum()), confidence, accuracy))
    return bins


def calibration_error(bins: Sequence[content.Bin]) -> float:
    """Returns the expected calibration error (Naeini et al. 2015): the mean gap of the bins, weighted by their examples."""
    total = sum(item.examples for item in bins)
    return sum(item.examples * abs(item.confidence - item.accuracy) for item in bins) / total


def brier(outcome: Outcome) -> float:
    """Returns the mean squared error of probabilities (Brier 1950): summed over the classes of a classification, 0 to 2;
    of the second class, or over all labels, 0 to 1. The definition is that of scikit-learn's `brier_score_loss`."""
    return _decisions(outcome.task).brier(outcome.truth, _scores(outcome))


def calibrated(scores: Array, temperature: float, task: Task) -> Array:
    """Returns float64 probabilities whose logits are divided by the temperature; the predicted classes do not change.

    Args:
        scores: probabilities in the shapes of `Outcome.scores`.
        temperature: above 1 for an overconfident model.
        task: a task whose scores are probabilities.
    """
    return _decisions(task).calibrated(scores, temperature)


def with_temperature(outcome: Outcome, temperature: float) -> Outcome:
    """Returns an outcome with calibrated probabilities."""
    return replace(outcome, scores=calibrated(_scores(outcome), temperature, outcome.task))


def fit_temperature(outcome: Outcome) -> float:
    """Returns the temperature with the smallest log loss on these predictions (Guo et al. 2017), from 0.02 to 50."""
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        shares = calibrated(_scores(outcome), float(np.exp(logarithm)), outcome.task)
        return _decisions(outcome.task).log_loss(outcome.truth, shares)

    minimum = minimize_scalar(loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(minimum.x))
