"""ROC and precision-recall curves of every class, and the thresholds that serve a purpose best."""

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
    """One class against the rest. `x` and `y` go with `thresholds`, from the highest on; `area` is that below the curve."""

    name: str
    x: Array
    y: Array
    thresholds: Array
    area: float


def one_against_rest(outcome: Outcome) -> Iterator[tuple[str, Array, Array]]:
    """Yields each class or label that has both members and others: its name, who is a member, and its probabilities.

    Of a binary task the second class alone.
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

    ROC: `x` is the share of others taken for members, `y` the share of members found. Precision-recall: `x` is the recall,
    `y` the precision, the area the average precision. Counted here: importing scikit-learn would cost every run a second.
    """
    roc, pr = [], []
    for name, members, scores in one_against_rest(outcome):
        thresholds, found, wrong = _counts_above(members, scores)
        recall, fall_out, precision = found / found[-1], wrong / wrong[-1], found / (found + wrong)
        steps = np.diff(recall, prepend=0.0)
        area = float(np.trapezoid(np.append(0.0, recall), np.append(0.0, fall_out)))
        thresholds = np.append(np.inf, thresholds)
        roc.append(_thinned(Curve(name, np.append(0.0, fall_out), np.append(0.0, recall), thresholds, area)))
        average = float((steps * precision).sum())
        pr.append(_thinned(Curve(name, np.append(0.0, recall), np.append(1.0, precision), thresholds, average)))
    return roc, pr


def _counts_above(members: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Returns the different scores from the highest on, and how many members and others have at least each of them."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    found = np.cumsum(members[order])[ends]
    return scores[order][ends].astype("float64"), found, ends + 1 - found


def _thinned(curve: Curve) -> Curve:
    """Returns a curve of at most 500 points, its ends kept."""
    if len(curve.x) <= _MOST_POINTS:
        return curve
    kept = np.unique(np.linspace(0, len(curve.x) - 1, _MOST_POINTS).round().astype(int))
    return Curve(curve.name, curve.x[kept], curve.y[kept], curve.thresholds[kept], curve.area)


@dataclass(frozen=True)
class Threshold:
    """A threshold for one label, and what it gives on these examples. `best_by`: default (0.5), f1 or cost."""

    label: str
    best_by: str
    threshold: float
    precision: float
    recall: float
    f1: float
    cost: float


def thresholds(outcome: Outcome, costs: tuple[float, float] | None = None) -> list[Threshold]:
    """Returns for each label the usual 0.5, the threshold with the best F1, and that with the least cost.

    A probability above the threshold is a yes. Each candidate lies halfway between two neighbouring probabilities.

    Args:
        outcome: predictions of a binary or multilabel task.
        costs: of a false yes and of a false no, 1 and 1 if not given (no threshold is chosen by them then).
    """
    found = []
    for name, members, scores in one_against_rest(outcome):
        cuts = _cuts(scores)
        rows = _counted(members, scores, cuts)
        price = costs or (1.0, 1.0)
        ways = {"default": int(np.flatnonzero(cuts == 0.5)[0]), "f1": int(_f1(rows).argmax())}
        if costs is not None:
            ways["cost"] = int(_cost(rows, price).argmin())
        found += [_threshold(name, way, cuts, rows, price, at) for way, at in ways.items()]
    return found


def _cuts(scores: Array) -> Array:
    """Returns 0.5 and what lies halfway between neighbouring probabilities, sorted; 0 and 1 at the ends."""
    values = np.unique(scores.astype("float64"))
    return np.unique(np.concatenate([[0.0, 0.5, 1.0], (values[1:] + values[:-1]) / 2]))


def _counted(members: Array, scores: Array, cuts: Array) -> tuple[Array, Array, Array]:
    """Returns true yes, false yes and false no at every cut."""
    yes = np.sort(scores[members].astype("float64"))
    no = np.sort(scores[~members].astype("float64"))
    found = len(yes) - np.searchsorted(yes, cuts, side="right")
    wrong = len(no) - np.searchsorted(no, cuts, side="right")
    return found, wrong, len(yes) - found


def _f1(rows: tuple[Array, Array, Array]) -> Array:
    found, wrong, missed = rows
    return np.asarray(2 * found / np.maximum(2 * found + wrong + missed, 1))


def _cost(rows: tuple[Array, Array, Array], costs: tuple[float, float]) -> Array:
    return np.asarray(costs[0] * rows[1] + costs[1] * rows[2])


def _threshold(
    name: str, way: str, cuts: Array, rows: tuple[Array, Array, Array], costs: tuple[float, float], at: int
) -> Threshold:
    found, wrong, missed = (int(row[at]) for row in rows)
    precision = found / (found + wrong) if found + wrong else 0.0
    recall = found / (found + missed)
    return Threshold(name, way, float(cuts[at]), precision, recall, float(_f1(rows)[at]), float(_cost(rows, costs)[at]))
