"""Many draws of the same examples, scored at once: a thousand calls of scikit-learn would take seconds.

Only scoring imports this module; checking a spec does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def class_counts(truth: Array, predicted: Array, task: str, classes: int, draws: Array) -> tuple[Array, Array, Array]:
    """Returns how many of each class were predicted rightly, were predicted, and are there: three times `(draws, classes)`.

    Of a binary task both classes, of several labels each label.
    """
    if task == "multilabel":
        whole = (truth * predicted, predicted, truth)
    else:
        labels, guesses = (numbers[:, None] == np.arange(classes) for numbers in (truth, predicted))
        whole = (labels & guesses, guesses, labels)
    weights = np.stack([np.bincount(draw, minlength=len(truth)) for draw in draws]).astype("float64")
    right, guessed, there = (weights @ one.astype("float64") for one in whole)
    return right, guessed, there


def share(part: Array, whole: Array) -> Array:
    """Returns part / whole, 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


class _Sorted:
    """Examples from the highest score on, as often as each was drawn; those of equal scores are one group.

    `ours` are the places of the members; `first` and `behind` tell for each where its group begins and the next one does.
    """

    def __init__(self, members: Array, scores: Array, counts: Array) -> None:
        order = np.argsort(-scores, kind="stable")
        starts = np.append(np.flatnonzero(np.append(True, np.diff(scores[order]) != 0)), len(order))
        self.drawn = counts[:, order]
        self.ours = np.flatnonzero(members[order])
        group = np.searchsorted(starts, self.ours, side="right")
        self.first, self.behind = starts[group - 1], starts[group]
        self.of_ours = self.drawn[:, self.ours]
        self.total = self.of_ours.sum(axis=1, dtype="int64")
        self.others = self.drawn.sum(axis=1, dtype="int64") - self.total

    def before(self, places: Array, *, members: bool = True) -> Array:
        """Returns how many were drawn before some places `(draws, places)`, the members among them or not."""
        drawn = self.drawn
        if not members:
            drawn = drawn.copy()
            drawn[:, self.ours] = 0
        sums = np.cumsum(drawn, axis=1, dtype="int32")
        return np.where(places > 0, sums[:, places - 1], 0)


def areas_under_roc(members: Array, scores: Array, counts: Array) -> Array:
    """Returns the area under the ROC curve of each draw: the share of pairs in order, ties by half; NaN without pairs.

    `counts` tells how often each example was drawn, `(draws, n)`, at most 255 times.
    """
    drawn = _Sorted(members, scores, counts)
    pairs = drawn.total * drawn.others
    ends = drawn.before(np.concatenate([drawn.first, drawn.behind]), members=False)
    above, and_equal = np.split(ends, 2, axis=1)
    below = drawn.others[:, None] - (above + and_equal) / 2
    return np.where(pairs > 0, (drawn.of_ours * below).sum(axis=1) / np.maximum(pairs, 1), np.nan)


def areas_under_pr(members: Array, scores: Array, counts: Array) -> Array:
    """Returns the average precision of each draw, as scikit-learn has it; NaN without members or others."""
    drawn = _Sorted(members, scores, counts)
    taken = drawn.before(drawn.behind)
    found = np.cumsum(drawn.of_ours, axis=1, dtype="int64")
    last = np.searchsorted(drawn.ours, drawn.behind - 1, side="right") - 1
    precision = found[:, last] / np.maximum(taken, 1)
    area = (drawn.of_ours * precision).sum(axis=1) / np.maximum(drawn.total, 1)
    return np.where((drawn.total > 0) & (drawn.others > 0), area, np.nan)
