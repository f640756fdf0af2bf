"""Examples whose label may be wrong: a model that did not see them is sure of another class."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor import words
from dlcli.data.doctor.check import ClassCheck, NotChecked, Progress, Subject
from dlcli.data.doctor.features import simple_features
from dlcli.data.doctor.issue import Issue
from dlcli.program import install_command
from dlcli.upstream.sklearn import import_sklearn

FOLDS = 5
MANY, SURE = 0.02, 0.9
"""Share of the examples, and accuracy of the model, from which on candidates are a warning: a weaker model errs itself."""
LEAST = 0.5
"""Accuracy of the model as a share of the way from always guessing to perfect, below which it says nothing about labels."""
CERTAIN = 0.8
"""Least probability of the other class of a candidate: iris flowers between two species are no label errors."""
_MOST_EXAMPLES = 20_000
_MOST_FEATURES = 256
_FEWEST = 2 * FOLDS


@dataclass(frozen=True)
class LabelProbabilities:
    """Probabilities of the classes of every example, by models that did not see its label.

    Attributes:
        ids: the ids of the examples.
        labels: their class numbers `(n,)`.
        values: the probabilities `(n, classes)`.
        known: the number of examples whose label the network of a run has seen.
    """

    ids: list[str]
    labels: Array
    values: Array
    known: int = 0

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

    The probabilities are out of fold: logistic regression on simple features of the examples, or on the features of a run's
    network, averaged with the network's own probabilities for examples that it was not trained on.
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
            remedy = "" if subject.run is not None else "; --run RUN uses the network of a run"
            raise NotChecked(f"the model has an accuracy of {probabilities.accuracy:.3f} only{remedy}")
        candidates = _candidates(probabilities)
        if not len(candidates):
            return
        share, ids = len(candidates) / len(probabilities.labels), [probabilities.ids[place] for place in candidates]
        source = f"the network of {subject.run.id}" if subject.run is not None else "a simple model"
        known = f", {probabilities.known:,} of which it was trained on" if probabilities.known else ""
        yield Issue(
            kind="label errors",
            severity="warning" if share >= MANY and probabilities.accuracy >= SURE else "note",
            summary=f"{words.count(len(ids), 'label')} may be wrong ({words.share(share)} of"
            f" {len(probabilities.labels):,}{known}): {source}, with an accuracy of {probabilities.accuracy:.3f}, is sure of"
            " another class",
            advice="look at the examples, the first ones first, and correct wrong labels; hard examples with a right label are"
            " among them",
            evidence=tuple(_line(subject, probabilities, place) for place in candidates),
            examples=tuple(sorted(ids)),
        )


def _counts(subject: Subject) -> Array:
    parts = subject.splits.distinct.values()
    numbers = np.concatenate([subject.class_numbers(examples) for examples in parts])
    return np.bincount(numbers, minlength=len(subject.opened.classes))


def label_probabilities(subject: Subject, progress: Progress) -> LabelProbabilities:
    """Returns probabilities of the classes of every example, by models that did not see its label.

    Raises:
        DataError: the run's network takes other examples.
    """
    parts = subject.splits.distinct.values()
    ids = [name for examples in parts for name in examples.ids]
    labels = np.concatenate([subject.class_numbers(examples) for examples in parts])
    classes = len(subject.opened.classes)
    if subject.run is None:
        return LabelProbabilities(ids, labels, _out_of_fold(simple_features(subject, progress), labels, classes))
    from dlcli.data.doctor.network_answers import network_answers

    answers = network_answers(subject, subject.run, progress)
    values, is_known = _out_of_fold(answers.features, labels, classes), answers.is_known
    if answers.probabilities is not None:
        values[~is_known] = (values[~is_known] + answers.probabilities[~is_known]) / 2
    return LabelProbabilities(ids, labels, values, int(is_known.sum()))


def _out_of_fold(features: Array, labels: Array, classes: int) -> Array:
    """Returns the probabilities `(n, classes)` of models that were fitted on the other folds."""
    import_sklearn()
    from sklearn.model_selection import StratifiedKFold

    values = np.zeros((len(labels), classes))
    for fitted, asked in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(features, labels):
        model = _model(min(features.shape[1], len(fitted)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model that has not converged still ranks
            model.fit(features[fitted], labels[fitted])
        values[np.ix_(asked, model.classes_)] = model.predict_proba(features[asked])
    return values


def _model(features: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    reduced = [PCA(_MOST_FEATURES, random_state=0)] if features > _MOST_FEATURES else []
    return make_pipeline(StandardScaler(), *reduced, LogisticRegression(C=0.1, max_iter=300))


def _candidates(probabilities: LabelProbabilities) -> list[int]:
    """Returns the places of examples whose label may be wrong, the most suspect first."""
    import_sklearn()
    from cleanlab.filter import find_label_issues

    present, labels = np.unique(probabilities.labels, return_inverse=True)  # cleanlab wants classes without gaps
    values = probabilities.values[:, present]
    values = values / values.sum(axis=1, keepdims=True)
    found = find_label_issues(
        labels.reshape(-1), values, filter_by="both", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return [int(place) for place in found if values[place].max() >= CERTAIN]


def _line(subject: Subject, probabilities: LabelProbabilities, place: int) -> str:
    classes, values = subject.opened.classes, probabilities.values[place]
    label, likely = int(probabilities.labels[place]), int(values.argmax())
    return (
        f"{words.name(probabilities.ids[place])} has the label {words.name(classes[label])} ({values[label]:.3f});"
        f" more likely: {words.name(classes[likely])} ({values[likely]:.3f})"
    )
