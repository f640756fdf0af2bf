"""Targets that differ between the parts that a source gives."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np

from dlcli.data.doctor import words
from dlcli.data.doctor.check import NOT_APPLICABLE, Check, Progress, Subject
from dlcli.data.doctor.issue import Issue
from dlcli.spec.data.sources import Examples

DIFFERENT = 0.1
"""Share of the examples that would need another class for equal shares (total variation)."""
SHIFTED = 0.25
"""Difference of means in standard deviations."""
CHANCE = 0.001
"""Probability of such a difference by chance, at most."""


_DRIFT = (
    "the level of the series drifts: keep `normalize: window_last` or `window_standard`, which forecast changes from the level"
    " of each window"
)


class ClassShares(Check):
    """Compares the shares of the classes, or the mean of the targets, of given splits with those of the training split."""

    name = "targets of given splits"

    def reason_against(self, subject: Subject) -> str:
        """Returns `NOT_APPLICABLE` for splits that dlcli draws: they have equal shares but for chance."""
        applies = bool(subject.given_splits) and subject.has_labels
        return "" if applies and (subject.has_classes or subject.experiment.task.output.is_numeric) else NOT_APPLICABLE

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields an issue for each split that differs."""
        differences = _class_differences if subject.has_classes else _mean_differences
        for split, examples in subject.given_splits.items():
            lines = differences(subject, examples, split)
            if lines:
                drifts = subject.experiment.task.output.needs_series
                yield Issue(
                    kind="targets differ between splits",
                    severity="warning",
                    summary=lines[0],
                    advice=_DRIFT
                    if drifts
                    else "draw the splits from all examples, or find out how they were chosen: the score holds only for data"
                    " like that of the scored split",
                    evidence=tuple(lines[1:]),
                )


def _class_differences(subject: Subject, examples: Examples, split: str) -> list[str]:
    from scipy.stats import chi2_contingency

    classes = subject.opened.classes
    both = (subject.splits.train, examples)
    counts = np.stack([np.bincount(subject.class_numbers(part), minlength=len(classes)) for part in both])
    present = [name for name, number in zip(classes, counts.sum(axis=0).tolist(), strict=True) if number]
    counts = counts[:, counts.sum(axis=0) > 0]
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    if counts.shape[1] < 2 or distance < DIFFERENT or chi2_contingency(counts).pvalue > CHANCE:
        return []
    order = np.argsort(-np.abs(shares[0] - shares[1]))[:5].tolist()
    in_train, in_split = (list(map(words.share, row)) for row in shares.tolist())
    return [
        f"the classes have other shares in the {split} split than in training: {words.share(distance)} of its examples would"
        " need another class",
        *(f"{words.name(present[place])}: {in_train[place]} of train, {in_split[place]} of {split}" for place in order),
    ]


def _mean_differences(subject: Subject, examples: Examples, split: str) -> list[str]:
    train, other = subject.splits.train.targets.astype("float64"), examples.targets.astype("float64")
    lines = []
    for place in range(train.shape[1]):
        first, second = train[:, place], other[:, place]
        spread = float(np.sqrt((first.var() + second.var()) / 2))
        shift = float(second.mean() - first.mean()) / spread if spread else 0.0
        error = sqrt(1 / len(first) + 1 / len(second))
        if abs(shift) >= SHIFTED and abs(shift) > 3.29 * error:  # 3.29: the normal quantile of CHANCE, two-sided
            target = subject.opened.classes[place] if place < len(subject.opened.classes) else str(place)
            lines.append(f"{words.name(target)}: mean {first.mean():.4g} in train, {second.mean():.4g} in {split}")
    return [f"the targets of the {split} split differ from those of training", *lines] if lines else []
