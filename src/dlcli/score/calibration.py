"""Whether probabilities are what they say: reliability, expected calibration error, Brier score, temperature.

Of several classes the likeliest one's probability is looked at; of a binary task that of the second class, of several labels
each label's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcli.charts import content
from dlcli.score.outcome import Outcome

Array = np.ndarray[Any, Any]
BINS = 15
_SMALLEST = 1e-7
_COLDEST, _HOTTEST = 0.02, 50.0


@dataclass(frozen=True)
class Bin:
    """The examples whose probability lies in (low, high]: how many, their mean probability, the share that came true."""

    low: float
    high: float
    examples: int
    confidence: float
    accuracy: float


def claims(outcome: Outcome) -> tuple[Array, Array]:
    """Returns what was claimed and whether it came true: probabilities and booleans, both `(claims,)`."""
    if outcome.task == "classification":
        assert outcome.scores is not None
        return outcome.scores.max(axis=1).astype("float64"), outcome.predicted == outcome.truth
    assert outcome.scores is not None
    return outcome.scores.reshape(-1).astype("float64"), outcome.truth.reshape(-1) == 1


def reliability(probabilities: Array, came_true: Array) -> list[Bin]:
    """Returns the bins of equal width that hold examples (Guo et al. 2017, 15 bins)."""
    place = np.clip(np.ceil(probabilities * BINS).astype(int) - 1, 0, BINS - 1)
    found = []
    for number in np.unique(place):
        inside = place == number
        confidence, accuracy = float(probabilities[inside].mean()), float(came_true[inside].mean())
        found.append(Bin(number / BINS, (number + 1) / BINS, int(inside.sum()), confidence, accuracy))
    return found


def calibration_error(bins: Sequence[content.Bin]) -> float:
    """Returns the expected calibration error (Naeini et al. 2015): the mean gap of the bins, each by its examples."""
    total = sum(one.examples for one in bins)
    return sum(one.examples * abs(one.confidence - one.accuracy) for one in bins) / total


def brier(outcome: Outcome) -> float:
    """Returns the mean squared error of probabilities (Brier 1950): summed over the classes of a classification, 0 to 2;
    of the second class, or over all labels, 0 to 1. As scikit-learn's `brier_score_loss` has it."""
    assert outcome.scores is not None
    scores = outcome.scores.astype("float64")
    if outcome.task != "classification":
        return float(((scores - outcome.truth) ** 2).mean())
    right = scores[np.arange(len(scores)), outcome.truth]
    return float((1 - 2 * right + (scores**2).sum(axis=1)).mean())


def calibrated(scores: Array, temperature: float, task: str) -> Array:
    """Returns probabilities whose logits are divided by the temperature; what is predicted does not change.

    Args:
        scores: probabilities in the shapes of `Outcome.scores`.
        temperature: above 1 for a model that is too sure.
        task: classification, binary or multilabel.
    """
    from scipy.special import expit, softmax

    known = np.clip(scores.astype("float64"), _SMALLEST, 1.0)
    if task == "classification":
        return np.asarray(softmax(np.log(known) / temperature, axis=1))
    known = np.minimum(known, 1 - _SMALLEST)
    return np.asarray(expit((np.log(known) - np.log1p(-known)) / temperature))


def fit_temperature(outcome: Outcome) -> float:
    """Returns the temperature with the smallest log loss on these predictions (Guo et al. 2017), from 0.02 to 50."""
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        assert outcome.scores is not None
        shares = calibrated(outcome.scores, float(np.exp(logarithm)), outcome.task)
        if outcome.task == "classification":
            return float(-np.log(np.maximum(shares[np.arange(len(shares)), outcome.truth], _SMALLEST)).mean())
        shares = np.clip(shares, _SMALLEST, 1 - _SMALLEST)
        return float(-np.where(outcome.truth == 1, np.log(shares), np.log1p(-shares)).mean())

    found = minimize_scalar(loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))
