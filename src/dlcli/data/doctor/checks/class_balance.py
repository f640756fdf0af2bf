"""The balance of classes in the training split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dlcli.data.doctor import words
from dlcli.data.doctor.check import ClassCheck, Progress, Subject
from dlcli.data.doctor.issue import Issue

HIGH, MODERATE = 10.0, 3.0
"""Ratios of the largest to the smallest class. At 10, always guessing the larger of two classes has an accuracy of 0.91."""
_SHOWN = 10


class ClassBalance(ClassCheck):
    """Compares the largest with the smallest class of the training split."""

    name = "balance of classes"
    is_fast = True

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields at most one issue."""
        classes = subject.opened.classes
        counts = np.bincount(subject.class_numbers(subject.splits.train), minlength=len(classes))
        order = [place for place in np.argsort(-counts, kind="stable").tolist() if counts[place]]
        if len(order) < 2:
            return
        largest, smallest = order[0], order[-1]
        ratio = counts[largest] / counts[smallest]
        if ratio < MODERATE:
            return
        guess = counts[largest] / counts.sum()
        shown = [*order[: _SHOWN // 2], *order[-_SHOWN // 2 :]] if len(order) > _SHOWN else order
        yield Issue(
            kind="class imbalance",
            severity="warning" if ratio >= HIGH else "note",
            summary=f"the class {words.name(classes[largest])} has {ratio:.3g} times as many training examples as"
            f" {words.name(classes[smallest])}; always guessing it has an accuracy of {guess:.3f}",
            advice="judge the model by the recall of each class and not by accuracy; collect examples of the small classes, or"
            " set data.balance, such as `class_weight`",
            evidence=tuple(
                f"{words.name(classes[place])}: {counts[place]:,} ({words.share(counts[place] / counts.sum())})"
                for place in shown
            ),
        )
