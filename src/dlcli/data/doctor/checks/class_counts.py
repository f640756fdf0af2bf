"""Counts of classes and labels in the splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from dlcli.data.doctor import words
from dlcli.data.doctor.check import NOT_APPLICABLE, Check, Progress, Subject
from dlcli.data.doctor.issue import Issue

FEWEST = 5
"""A class of fewer examples can be neither learned nor scored: with 1 example its score is 0 or 1."""


class ClassCounts(Check):
    """Finds classes without examples in a split, and classes of very few examples."""

    name = "counts of classes"

    def reason_against(self, subject: Subject) -> str:
        """Returns `NOT_APPLICABLE` for tasks without classes or labels."""
        if not subject.has_labels:
            return NOT_APPLICABLE
        counts = subject.experiment.task.output.counts(subject.splits.train.targets, subject.opened.classes)
        return "" if counts else NOT_APPLICABLE

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields the issues of the counts."""
        output, classes = subject.experiment.task.output, subject.opened.classes
        counts = {name: output.counts(part.targets, classes) for name, part in subject.splits.distinct.items()}
        totals = {label: sum(row[label] for row in counts.values()) for label in classes}
        yield from _single(subject, totals)
        yield from _absent(subject, counts, totals)
        yield from _few(subject, totals)


def _single(subject: Subject, totals: Mapping[str, int]) -> Iterator[Issue]:
    present = [label for label, total in totals.items() if total]
    if subject.has_classes and len(present) == 1:
        yield Issue(
            kind="single class",
            severity="error",
            summary=f"all examples have the class {words.name(present[0])}, so there is nothing to classify",
            advice="add examples of other classes, or check which column or folder gives the label",
        )


def _absent(subject: Subject, counts: Mapping[str, Mapping[str, int]], totals: Mapping[str, int]) -> Iterator[Issue]:
    noun, nouns = subject.experiment.task.output.noun, subject.experiment.task.output.nouns
    for split, row in counts.items():
        absent = [label for label, number in row.items() if not number and totals[label]]
        if not absent:
            continue
        is_train, has = split == "train", words.has_or_have(len(absent))
        effect = "the model cannot learn them" if is_train else "scores say nothing about them"
        yield Issue(
            kind=f"{noun} missing from a split",
            severity="error" if is_train else "warning",
            summary=f"{words.count(len(absent), noun, nouns)} {has} no {split} example: {words.names(absent)}; {effect}",
            advice="add examples, leave the class out with data.classes, or change data.split so that every split has it",
            evidence=tuple(f"{words.name(label)}: {totals[label]:,} in other splits" for label in absent),
        )


def _few(subject: Subject, totals: Mapping[str, int]) -> Iterator[Issue]:
    rare = {label: total for label, total in totals.items() if 0 < total < FEWEST}
    noun, nouns = subject.experiment.task.output.noun, subject.experiment.task.output.nouns
    if not rare or len([label for label, total in totals.items() if total]) == 1:
        return
    yield Issue(
        kind=f"{noun} with too few examples",
        severity="warning",
        summary=f"{words.count(len(rare), noun, nouns)} {words.has_or_have(len(rare))} fewer than {FEWEST} examples:"
        f" {words.names(list(rare))}",
        advice="add examples, join the class with another one, or leave it out with data.classes",
        evidence=tuple(f"{words.name(label)}: {words.count(total, 'example')}" for label, total in rare.items()),
        examples=_examples_of(subject, set(rare)),
    )


def _examples_of(subject: Subject, labels: set[str]) -> tuple[str, ...]:
    output, classes = subject.experiment.task.output, subject.opened.classes
    numbers = [place for place, label in enumerate(classes) if label in labels]
    ids = list[str]()
    for examples in subject.splits.distinct.values():
        strata = output.strata(examples.targets)
        chosen = np.isin(strata, numbers) if strata is not None else (examples.targets[:, numbers] == 1).any(axis=1)
        ids += [examples.ids[place] for place in np.flatnonzero(chosen).tolist()]
    return tuple(sorted(ids))
