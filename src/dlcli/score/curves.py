"""ROC and precision-recall curves of every class, and the best thresholds for the F1 score or for given costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dlcli.arrays import Array
from dlcli.score.outcome import Outcome
from dlcli.tasks import Decisions

MOST_CLASSES = 100
_MOST_POINTS = 500


@dataclass(frozen=True)
class Curve:
    """The curve of one class against the rest: a point for each of `thresholds`, the highest first, and the area below."""

    name: str
    x: Array
    y: Array
    thresholds: Array
    area: float


def one_against_rest(outcome: Outcome) -> Iterator[tuple[str, Array, Array]]:
    """Yields each class or label that has both members and others: its name, which examples are members, its probabilities.

    For a binary task only the second class.
    """
    output = outcome.task.output
    assert isinstance(output, Decisions)
    assert outcome.scores is not None
    members, probabilities = output.members(outcome.truth, outcome.scores)
    for name, column, scores in zip(output.member_names(outcome.classes), members.T, probabilities.T, strict=True):
        if 0 < column.sum() < len(column):
            yield name, column, scores


def curves(outcome: Outcome) -> tuple[list[Curve], list[Curve]]:
    """Returns the ROC curves and the precision-recall curves, with the areas that scikit-learn gives.

    ROC: `x` is the false positive rate, `y` the true positive rate. Precision-recall: `x` is the recall, `y` the precision,
    the area the average precision. They are counted here because importing scikit-learn would cost every run a second.
    """
    roc, pr = [], []
    for name, members, scores in one_against_rest(outcome):
        thresholds, true_positives, false_positives = _counts_above(members, scores)
        recall, fall_out, precision = (
            true_positives / true_positives[-1],
            false_positives / false_positives[-1],
            true_positives / (true_positives + false_positives),
        )
        steps = np.diff(recall, prepend=0.0)
        area = float(np.trapezoid(np.append(0.0, recall), np.append(0.0, fall_out)))
        thresholds = np.append(np.inf, thresholds)
        roc.append(_thinned(Curve(name, np.append(0.0, fall_out), np.append(0.0, recall), thresholds, area)))
        average = float((steps * precision).sum())
        pr.append(_thinned(Curve(name, np.append(0.0, recall), np.append(1.0, precision), thresholds, average)))
    return roc, pr


def _counts_above(members: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Returns the distinct scores, the highest first, and how many members and others reach each of them."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true_positives = np.cumsum(members[order])[ends]
    return scores[order][ends].astype("float64"), true_positives, ends + 1 - true_positives


def _thinned(curve: Curve) -> Curve:
    """Returns a curve of at most 500 points with both ends."""
    if len(curve.x) <= _MOST_POINTS:
        return curve
    places = np.unique(np.linspace(0, len(curve.x) - 1, _MOST_POINTS).round().astype(int))
    return Curve(curve.name, curve.x[places], curve.y[places], curve.thresholds[places], curve.area)


@dataclass(frozen=True)
class Threshold:
    """A threshold for one label, and its scores on these examples. `best_by`: default (0.5), f1 or cost."""

    label: str
    best_by: str
    threshold: float
    precision: float
    recall: float
    f1: float
    cost: float


def thresholds(outcome: Outcome, costs: tuple[float, float] | None = None) -> list[Threshold]:
    """Returns for each label the default of 0.5, the threshold with the best F1, and that with the least cost.

    A probability above the threshold is a positive. Each candidate lies halfway between two neighbouring probabilities.

    Args:
        outcome: predictions of a binary or multilabel task.
        costs: of a false positive and of a false negative; None: both cost 1, and no threshold is chosen by cost.
    """
    chosen = []
    for name, members, scores in one_against_rest(outcome):
        cuts = _cuts(scores)
        rows = _counted(members, scores, cuts)
        price = costs or (1.0, 1.0)
        criteria = {"default": int(np.flatnonzero(cuts == 0.5)[0]), "f1": int(_f1(rows).argmax())}
        if costs is not None:
            criteria["cost"] = int(_cost(rows, price).argmin())
        chosen += [_threshold(name, criterion, cuts, rows, price, at) for criterion, at in criteria.items()]
    return chosen


def _cuts(scores: Array) -> Array:
    """Returns the candidates, sorted: 0, 0.5, 1 and the midpoints of neighbouring probabilities."""
    values = np.unique(scores.astype("float64"))
    return np.unique(np.concatenate([[0.0, 0.5, 1.0], (values[1:] + values[:-1]) / 2]))


def _counted(members: Array, scores: Array, cuts: Array) -> tuple[Array, Array, Array]:
    """Returns the counts of true positives, false positives and false negatives at every cut."""
    yes = np.sort(scores[members].astype("float64"))
    no = np.sort(scores[~members].astype("float64"))
    true_positives = len(yes) - np.searchsorted(yes, cuts, side="right")
    false_positives = len(no) - np.searchsorted(no, cuts, side="right")
    return true_positives, false_positives, len(yes) - true_positives


def _f1(rows: tuple[Array, Array, Array]) -> Array:
    true_positives, false_positives, false_negatives = rows
    return np.asarray(2 * true_positives / np.maximum(2 * true_positives + false_positives + false_negatives, 1))


def _cost(rows: tuple[Array, Array, Array], costs: tuple[float, float]) -> Array:
    return np.asarray(costs[0] * rows[1] + costs[1] * rows[2])


def _threshold(
    name: str, criterion: str, cuts: Array, rows: tuple[Array, Array, Array], costs: tuple[float, float], at: int
) -> Threshold:
    true_positives, false_positives, false_negatives = (int(row[at]) for row in rows)
    precision = true_positives / (true_positives + false_positives) if true_positives + false_positives else 0.0
    recall = true_positives / (true_positives + false_negatives)
    return Threshold(name, criterion, float(cuts[at]), precision, recall, float(_f1(rows)[at]), float(_cost(rows, costs)[at]))
