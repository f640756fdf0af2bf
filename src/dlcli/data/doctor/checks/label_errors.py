"""Examples whose label may be wrong: a model that did not see them is sure of another class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor import words
from dlcli.data.doctor.check import ClassCheck, NotChecked, Progress, Subject
from dlcli.data.doctor.features import simple_features
from dlcli.data.doctor.issue import Issue
from dlcli.data.doctor.label_model import FOLDS, out_of_fold
from dlcli.program import install_command
from dlcli.upstream.sklearn import import_sklearn

if TYPE_CHECKING:
    from dlcli.data.doctor.network_answers import NetworkAnswers

MANY, SURE = 0.02, 0.9
"""Share of the examples, and accuracy of the model, from which on candidates are a warning: a weaker model errs itself."""
LEAST = 0.5
"""Accuracy of the model as a share of the way from always guessing to perfect, below which it says nothing about labels."""
CERTAIN = 0.8
"""Least probability of the other class of a candidate: iris flowers between two species are no label errors."""
_MOST_EXAMPLES = 20_000
_FEWEST = 2 * FOLDS


@dataclass(frozen=True)
class LabelProbabilities:
    """Probabilities of the classes of every example, by models that did not see its label.

    Attributes:
        ids: the ids of the examples.
        labels: their class numbers `(n,)`.
        values: the probabilities `(n, classes)`.
        trained_on: the number of examples whose label the network of a run was trained on.
    """

    ids: list[str]
    labels: Array
    values: Array
    trained_on: int = 0

    @property
    def of_labels(self) -> Array:
        """The probability of each example's label: the lower, the more suspect (self-confidence)."""
        return np.asarray(self.values[np.arange(len(self.labels)), self.labels])

    @property
    def accuracy(self) -> float:
        """The share of the labels that are the most probable class."""
        return float((self.values.argmax(axis=1) == self.labels).mean())


class LabelErrors(ClassCheck):
    """Finds label-error candidates by confident learning (Northcutt, Jiang, Chuang 2021), as cleanlab implements it.

    The probabilities are out of fold: logistic regression on simple features of the examples, or on the features of the
    networks of runs, averaged with the networks' own probabilities for examples that none of them was trained on.
    """

    name = "label errors"

    def reason_against(self, subject: Subject) -> str:
        """Returns why labels cannot be judged: too few or too many examples, or cleanlab is missing."""
        reason = super().reason_against(subject)
        if reason:
            return reason
        if find_spec("cleanlab") is None:
            return f"cleanlab is not installed; {install_command('data')}"
        total = sum(map(len, subject.splits.distinct.values()))
        if total > _MOST_EXAMPLES:
            return f"{total:,} examples are more than {_MOST_EXAMPLES:,}"
        counts = _counts(subject)
        if (counts[counts > 0] < _FEWEST).any() or (counts > 0).sum() < 2:
            return f"a class has fewer than {_FEWEST} examples"
        return ""

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields at most one issue, whose evidence begins with the most suspect label."""
        probabilities = label_probabilities(subject, progress)
        guess = _counts(subject).max() / len(probabilities.labels)
        if probabilities.accuracy < guess + LEAST * (1 - guess):
            remedy = "" if subject.runs else "; --run RUN uses the network of a run"
            raise NotChecked(
                f"{_judge(subject)} {'have' if len(subject.runs) > 1 else 'has'} an accuracy of"
                f" {probabilities.accuracy:.3f} only, where always guessing has {guess:.3f}{remedy}"
            )
        candidates = _candidates(probabilities)
        if not len(candidates):
            return
        share, ids = len(candidates) / len(probabilities.labels), [probabilities.ids[place] for place in candidates]
        count, networks = probabilities.trained_on, "they were" if len(subject.runs) > 1 else "it was"
        trained_on = f", {count:,} of which {networks} trained on" if count else ""
        yield Issue(
            kind="label errors",
            severity="warning" if share >= MANY and probabilities.accuracy >= SURE else "note",
            summary=f"{words.count(len(ids), 'label')} may be wrong ({words.share(share)} of"
            f" {len(probabilities.labels):,}{trained_on}): {_judge(subject)}, with an accuracy of"
            f" {probabilities.accuracy:.3f}, {'are' if len(subject.runs) > 1 else 'is'} sure of another class",
            advice="look at the examples, the first ones first, and correct wrong labels; hard examples with a right label are"
            " among them",
            evidence=tuple(_line(subject, probabilities, place) for place in candidates),
            examples=tuple(sorted(ids)),
        )


def _judge(subject: Subject) -> str:
    """Returns what judges the labels."""
    if not subject.runs:
        return "a simple model"
    names = ", ".join(run.id for run in subject.runs)
    return f"the network of {names}" if len(subject.runs) == 1 else f"the networks of {names}"


def _counts(subject: Subject) -> Array:
    parts = subject.splits.distinct.values()
    numbers = np.concatenate([subject.class_numbers(examples) for examples in parts])
    return np.bincount(numbers, minlength=len(subject.opened.classes))


def label_probabilities(subject: Subject, progress: Progress) -> LabelProbabilities:
    """Returns probabilities of the classes of every example, by models that did not see its label.

    Raises:
        DataError: the network of a run takes other examples.
    """
    parts = subject.splits.distinct.values()
    ids = [name for examples in parts for name in examples.ids]
    labels = np.concatenate([subject.class_numbers(examples) for examples in parts])
    classes = len(subject.opened.classes)
    if not subject.runs:
        return LabelProbabilities(ids, labels, out_of_fold(simple_features(subject, progress), labels, classes))
    from dlcli.data.doctor.network_answers import network_answers

    answers = [network_answers(subject, run, progress) for run in subject.runs]
    clean = [answer for answer in answers if not (answer.has_learned_features and answer.is_trained_on.any())] or answers
    values = out_of_fold(np.concatenate([answer.features for answer in clean], axis=1), labels, classes)
    own, is_new = _own_probabilities(answers, values.shape)
    values[is_new] = (values[is_new] + own[is_new]) / 2
    is_trained_on = np.any([answer.is_trained_on for answer in answers], axis=0)
    return LabelProbabilities(ids, labels, values, int(is_trained_on.sum()))


def _own_probabilities(answers: Sequence[NetworkAnswers], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Returns the mean probabilities of the networks that were not trained on an example, and whether there is such a one."""
    total, count = np.zeros(shape), np.zeros(shape[0])
    for answer in answers:
        if answer.probabilities is not None:
            is_new = ~answer.is_trained_on
            total[is_new] += answer.probabilities[is_new]
            count += is_new
    return total / np.maximum(count, 1)[:, None], count > 0


def _candidates(probabilities: LabelProbabilities) -> list[int]:
    """Returns the places of examples whose label may be wrong, the most suspect first."""
    import_sklearn()
    from cleanlab.filter import find_label_issues

    present, labels = np.unique(probabilities.labels, return_inverse=True)  # cleanlab wants classes without gaps
    values = probabilities.values[:, present]
    values = values / values.sum(axis=1, keepdims=True)
    candidates = find_label_issues(
        labels.reshape(-1), values, filter_by="both", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return [int(place) for place in candidates if values[place].max() >= CERTAIN]


def _line(subject: Subject, probabilities: LabelProbabilities, place: int) -> str:
    classes, values = subject.opened.classes, probabilities.values[place]
    label, likely = int(probabilities.labels[place]), int(values.argmax())
    return (
        f"{words.name(probabilities.ids[place])} has the label {words.name(classes[label])} ({values[label]:.3f});"
        f" more likely: {words.name(classes[likely])} ({values[likely]:.3f})"
    )
