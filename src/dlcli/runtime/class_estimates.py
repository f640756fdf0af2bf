"""Scores of classes with their 95 % intervals: rates of classes and labels, areas under curves, kappa, Matthews correlation.

Only scoring imports this module; checking a spec does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.estimates import NORMAL, Estimate, student, wilson

FEWEST_POSITIVES = 20
"""Minimum number of positives for an interval of an average precision."""
_PULL = 4.0
"""Weight, in examples, of the rate of all classes when the variance of a single class's rate is estimated."""
_TRUSTED = 30.0
"""Examples of the smaller class at which an estimated variance has the same weight as the formula without one."""


@dataclass(frozen=True)
class Rates:
    """Rates of several classes, labels or curves; the score is their weighted mean.

    Attributes:
        rates: `(k,)`, each between 0 and 1.
        sizes: the effective number of independent examples of each rate `(k,)`; 0 for a rate without examples.
        weights: `(k,)`, with the sum 1.
        influence: the effect of each example on the weighted mean `(n,)`, times n.
        variances: the variances of the influences on each rate `(k,)`.
    """

    rates: Array
    sizes: Array
    weights: Array
    influence: Array
    variances: Array

    @property
    def value(self) -> float:
        """The weighted mean."""
        return min(1.0, float((self.weights * self.rates).sum()))

    def size(self, *, harmonic: bool = False) -> float:
        """Returns the effective number of examples of the mean.

        The variance of each rate is that of `sizes` independent examples. The rate of a small class is often 0 or 1 by chance,
        which would give a variance of 0, so each rate is first shrunk towards the mean. The design effect (Kish 1965) accounts
        for examples that affect several rates at once.
        """
        value, has_examples = self.value, self.sizes > 0
        separate_variance = float((self.weights**2 * self.variances).sum())
        design = max(1.0, float(self.influence.var()) / separate_variance) if separate_variance > 0 else 1.0
        shrunken = (self.sizes * self.rates + _PULL * value) / (self.sizes + _PULL)
        is_certain = min(value, 1 - value) < 1e-9
        spread = np.ones(len(shrunken)) if is_certain else shrunken * (1 - shrunken) / (value * (1 - value))
        if harmonic:
            spread = spread * ((2 - shrunken) / (2 - value)) ** 2
        return 1 / (design * float((self.weights[has_examples] ** 2 * spread[has_examples] / self.sizes[has_examples]).sum()))


def of_rates(rates: Rates, *, harmonic: bool = False) -> Estimate:
    """Returns the weighted mean of rates; with `harmonic` the rates are F1 scores.

    An F1 score F corresponds to a share: F / (2 - F) is the share of hits among all hits, misses and false alarms (Hand,
    Christen and Kirielle 2021), so its interval is computed on that scale.
    """
    value = rates.value
    if not ((rates.sizes > 0) & (rates.weights > 0)).any():
        return Estimate(value, rates.influence, None, "nothing to count")
    size = rates.size(harmonic=harmonic)
    low, high = wilson(value / (2 - value) if harmonic else value, size)
    return Estimate(value, rates.influence, (2 * low / (1 + low), 2 * high / (1 + high)) if harmonic else (low, high))


def of_classes(kind: str, average: str, truth: Array, predicted: Array, classes: int) -> Estimate:
    """Returns precision, recall or F1 over the classes that occur or are predicted, or balanced accuracy.

    Args:
        kind: precision, recall, f1; balanced_accuracy is the recall of the classes that occur.
        average: macro, or weighted by the classes' sizes.
        truth: class numbers `(n,)`.
        predicted: class numbers `(n,)`.
        classes: the number of classes.
    """
    count, right = len(truth), (truth == predicted).astype("float64")
    class_sizes, predicted_sizes, hits = (
        np.bincount(numbers, weights, minlength=classes).astype("float64")
        for numbers, weights in ((truth, None), (predicted, None), (truth, right))
    )
    # An example counts for its own class, for the predicted one, or for both.
    counted, whole = {
        "precision": ([predicted], predicted_sizes),
        "recall": ([truth], class_sizes),
        "balanced_accuracy": ([truth], class_sizes),
        "f1": ([truth, predicted], class_sizes + predicted_sizes),
    }[kind]
    rates = _share(len(counted) * hits, whole)
    sizes = class_sizes + predicted_sizes - hits if kind == "f1" else whole
    present = class_sizes > 0 if kind == "balanced_accuracy" else class_sizes + predicted_sizes > 0
    weights = class_sizes / count if average == "weighted" else present / max(int(present.sum()), 1)
    moves = [(right - rates[numbers]) * count / whole[numbers] for numbers in counted]
    influence = np.sum([weights[numbers] * move for numbers, move in zip(counted, moves, strict=True)], axis=0)
    squares = np.sum([np.bincount(numbers, move**2, classes) for numbers, move in zip(counted, moves, strict=True)], axis=0)
    if kind == "f1":
        squares += 2 * np.bincount(truth, right * moves[0] * moves[1], classes)
    if average == "weighted":  # the sizes of the classes also vary with the examples
        influence += rates[truth] - float(weights @ rates)
    return of_rates(Rates(rates, sizes, weights, influence, squares / count), harmonic=kind == "f1")


def of_labels(kind: str, average: str, truth: Array, predicted: Array) -> Estimate:
    """Returns precision, recall or F1 of labels.

    Args:
        kind: precision, recall or f1.
        average: macro, weighted or micro; of one label they are the same.
        truth: whether each example has each label `(n, k)`, 0 or 1.
        predicted: whether each example was predicted to have each label `(n, k)`, 0 or 1.
    """
    truth, predicted = truth.astype("float64"), predicted.astype("float64")
    hits, labelled = truth * predicted, truth.sum(axis=0)
    if average == "micro":
        truth, predicted, hits = (part.sum(axis=1, keepdims=True) for part in (truth, predicted, hits))
    part, whole, trials = {
        "precision": (hits, predicted, predicted),
        "recall": (hits, truth, truth),
        "f1": (2 * hits, truth + predicted, truth + predicted - hits),
    }[kind]
    total, harmonic = whole.sum(axis=0), kind == "f1"
    rates = _share(part.sum(axis=0), total)
    influences = _share((part - rates * whole) * len(truth), total)
    sizes, weights = trials.sum(axis=0), np.full(len(rates), 1 / len(rates))
    influence = influences @ weights
    if average == "micro":
        sizes = _independent(rates, sizes, influences, harmonic=harmonic)
    if average == "weighted" and labelled.sum() > 0:
        weights = labelled / labelled.sum()
        influence = influences @ weights + (truth @ rates - truth.sum(axis=1) * (weights @ rates)) * len(truth) / labelled.sum()
    return of_rates(Rates(rates, sizes, weights, influence, influences.var(axis=0)), harmonic=harmonic)


def _share(part: Array, whole: Array) -> Array:
    """Returns part / whole; 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)


def _independent(rates: Array, sizes: Array, influences: Array, *, harmonic: bool) -> Array:
    """Returns effective sizes `(1,)`, which are smaller if the labels of an example tend to be right or wrong together."""
    variance = float(influences.var()) / len(influences)
    rate = float(rates[0])
    if harmonic:
        variance, rate = variance * (2 / (2 - rate) ** 2) ** 2, rate / (2 - rate)
    answers = rate * (1 - rate) / variance if variance > 0 else 0.0
    return np.minimum(sizes, answers) if answers > 0 else sizes


def area_under_roc(members: Array, columns: Array) -> Estimate | None:
    """Returns the mean area under the ROC curve of several columns `(n, k)`; None if no column has both classes.

    The effective number of examples of one area is that in Newcombe's (2006, method 5) form of the variance of Hanley and
    McNeil (1982), which assumes equal variances of the scores in both groups. The variance of DeLong et al. (1988) does not,
    but is too unstable with few positives to be used alone: it can widen the interval, and narrows it only with many.
    """
    pairs = list(_with_both(members, columns))
    return of_rates(_mean_of([_area(is_member, column) for is_member, column in pairs])) if pairs else None


def _with_both(members: Array, columns: Array) -> Iterator[tuple[Array, Array]]:
    """Yields the columns that have both classes, members and others."""
    for is_member, column in zip(members.T, columns.T, strict=True):
        if 0 < is_member.sum() < len(is_member):
            yield is_member.astype(bool), column


def _mean_of(columns: list[tuple[float, float, Array]]) -> Rates:
    """Returns the unweighted mean of areas, each given with its effective number of examples and its influences."""
    areas, sizes = (np.array([column[part] for column in columns]) for part in (0, 1))
    influence = np.mean([column[2] for column in columns], axis=0)
    variances = np.array([column[2].var() for column in columns])
    return Rates(areas, sizes, np.full(len(columns), 1 / len(columns)), influence, variances)


def _area(members: Array, scores: Array) -> tuple[float, float, Array]:
    """Returns the area of one column, its effective number of examples, and each example's influence."""
    ours, others = np.sort(scores[members]), np.sort(scores[~members])
    above = _placed(others, scores[members])
    below = 1 - _placed(ours, scores[~members])
    area, count = float(above.mean()), len(scores)
    influence = np.zeros(count)
    influence[members] = (above - area) * count / len(ours)
    influence[~members] = (below - area) * count / len(others)
    return area, _area_size(area, above, below), influence


def _placed(ordered: Array, scores: Array) -> Array:
    """Returns for each score the share of ordered scores below it; equal scores count half."""
    return (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / (2 * len(ordered))


def _area_size(area: float, above: Array, below: Array) -> float:
    few, many = sorted((len(above), len(below)))
    half = (few + many) / 2 - 1
    newcombe = few * many / (1 + half * (1 - area) / (2 - area) + half * area / (1 + area))
    if few < 2 or not 0 < area < 1:
        return newcombe
    delong = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    delong *= (student(max(few, 5)) / NORMAL) ** 2  # the variance of few examples is itself uncertain
    return _trusted(newcombe, area * (1 - area) / delong if delong > 0 else newcombe, few)


def _trusted(safe: float, estimated: float, few: int) -> float:
    """Returns an effective number of examples: the smaller estimate, else a value between the estimated and the safe one.

    The weight of the estimate grows with the number of examples of the smaller class.
    """
    return float(min(estimated, safe) if estimated <= safe else safe * (estimated / safe) ** (few / (few + _TRUSTED)))


def average_precision(members: Array, columns: Array) -> Estimate | None:
    """Returns the mean average precision of several columns `(n, k)`; None if no column has both classes.

    The effective number of examples is the number of positives (Boyd, Eng and Page 2013). With few positives the average
    precision itself is biased upwards, and no interval around it contains the true value.
    """
    pairs = list(_with_both(members, columns))
    if not pairs:
        return None
    mean_estimate = of_rates(_mean_of([_precision_area(is_member, column) for is_member, column in pairs]))
    fewest = int(min(is_member.sum() for is_member, _ in pairs))
    if fewest < FEWEST_POSITIVES:
        reason = f"{fewest} positive example{'s' if fewest > 1 else ''}; an interval needs {FEWEST_POSITIVES}"
        return Estimate(mean_estimate.value, mean_estimate.influence, None, reason)
    return mean_estimate


def _precision_area(members: Array, scores: Array) -> tuple[float, float, Array]:
    """Returns the average precision of one column, its effective number of examples, and each example's influence."""
    order = np.argsort(-scores, kind="stable")
    is_member = members[order]
    ends = np.append(np.flatnonzero(np.diff(scores[order]) != 0), len(order) - 1)
    end = ends[np.searchsorted(ends, np.arange(len(order)))]  # the last place with the same score
    hits = np.cumsum(is_member)[end].astype("float64")
    ranked = end + 1.0
    precision, positives, count = hits / ranked, int(is_member.sum()), len(order)
    area = float(precision[is_member].sum()) / positives
    # One more positive raises the precision at every lower score by (ranked - hits) / ranked^2; one more negative lowers it.
    start = np.append(0, ends[:-1] + 1)[np.searchsorted(ends, np.arange(len(order)))]
    raised, lowered = (
        (np.append(np.cumsum(np.where(is_member, part, 0)[::-1])[::-1], 0.0))[start]
        for part in ((ranked - hits) / ranked**2, hits / ranked**2)
    )
    influence = np.empty(count)
    influence[order] = np.where(is_member, precision - area + raised, -lowered) * count / positives
    variance = float(influence.var()) / count
    estimated = area * (1 - area) / variance if variance > 0 and 0 < area < 1 else float(positives)
    return area, _trusted(positives, estimated, positives), influence


def agreement(kind: str, truth: Array, predicted: Array, classes: int) -> Estimate:
    """Returns Cohen's kappa or the Matthews correlation of class numbers `(n,)`.

    The interval is that of the accuracy, scaled by the ratio of the deviations of the score and the accuracy (from the
    jackknife).
    """
    count = len(truth)
    right = (truth == predicted).astype("float64")
    class_sizes, predicted_sizes = (np.bincount(numbers, minlength=classes).astype("float64") for numbers in (truth, predicted))
    sums = np.array([right.sum(), class_sizes @ predicted_sizes, class_sizes @ class_sizes, predicted_sizes @ predicted_sizes])
    value = float(_agreement(kind, sums[:1], sums[1:2], sums[2:3], sums[3:], count)[0])
    without = _agreement(
        kind,
        sums[0] - right,
        sums[1] - class_sizes[predicted] - predicted_sizes[truth] + right,
        sums[2] - 2 * class_sizes[truth] + 1,
        sums[3] - 2 * predicted_sizes[predicted] + 1,
        count - 1,
    )
    influence = (count - 1) * (without.mean() - without)
    share = float(right.mean())
    chance = sums[1] / count**2
    stretch = float(influence.std() / right.std()) if 0 < share < 1 else 1 / max(1 - chance, 1e-9)
    low, high = wilson(share, count)
    return Estimate(value, influence, (max(-1.0, value - stretch * (share - low)), min(1.0, value + stretch * (high - share))))


def _agreement(kind: str, right: Array, both: Array, truth_squares: Array, predicted_squares: Array, count: int) -> Array:
    """Returns kappa (Cohen 1960) or the Matthews correlation (Gorodkin 2004) from sums; 0 where it is undefined.

    Args:
        kind: kappa or mcc.
        right: the number of right predictions.
        both: the sum over the classes of examples times predictions.
        truth_squares: the sum of the squared numbers of examples.
        predicted_squares: the sum of the squared numbers of predictions.
        count: the number of examples.
    """
    product = (count**2 - truth_squares) * (count**2 - predicted_squares)
    spread = count**2 - both if kind == "kappa" else np.sqrt(np.maximum(product, 0))
    return _share(right * count - both, spread)
