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


def _drawn(members: Array, scores: Array, counts: Array) -> tuple[Array, Array]:
    """Returns how often members and others were drawn `(draws, thresholds)`, at each different score from the highest on."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) != 0]))
    ours, drawn = members[order], counts[:, order]
    return np.add.reduceat(drawn * ours, starts, axis=1), np.add.reduceat(drawn * ~ours, starts, axis=1)


def areas_under_roc(members: Array, scores: Array, counts: Array) -> Array:
    """Returns the area under the ROC curve of each draw: the share of pairs in order, ties by half; NaN without pairs."""
    right, wrong = _drawn(members, scores, counts)
    pairs = right.sum(axis=1) * wrong.sum(axis=1)
    before = right.cumsum(axis=1) - right
    ordered = ((before + right / 2) * wrong).sum(axis=1)
    return np.where(pairs > 0, ordered / np.maximum(pairs, 1), np.nan)


def areas_under_pr(members: Array, scores: Array, counts: Array) -> Array:
    """Returns the average precision of each draw, as scikit-learn has it; NaN without members or others."""
    right, wrong = _drawn(members, scores, counts)
    found, taken = right.cumsum(axis=1), (right + wrong).cumsum(axis=1)
    total, others = found[:, -1], wrong.sum(axis=1)
    area = (right * found / np.maximum(taken, 1)).sum(axis=1) / np.maximum(total, 1)
    return np.where((total > 0) & (others > 0), area, np.nan)
