"""What a spec may say of classifiers: scikit-learn's names and defaults."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dlcli.errors import SpecError
from dlcli.spec.base import dump
from dlcli.spec.load import load_text
from dlcli.spec.model.heads import KNN, SVC, Classifier, ClassifierSpec, LinearSVC, LogisticRegression, RandomForest
from spec.members import UNIONS

CLASSIFIERS: list[type[ClassifierSpec]] = [LogisticRegression, LinearSVC, SVC, RandomForest, KNN]
DIFFERENCES = {(LogisticRegression, "max_iter"): (100, 1000), (LinearSVC, "max_iter"): (1000, 10000)}
"""Features of a backbone are many, and take more iterations."""
TRANSFER = """\
version: 1
name: tiny
task: classification
data: {{source: {{kind: builtin, name: digits}}, image: {{size: 96, channels: 3}}}}
model:
  kind: transfer
  backbone: mobilenet_v2
  head: {head}
training: {{}}
"""


def head(value: Any) -> Any:
    return UNIONS["Head"].validate(value)


def test_every_classifier_is_looked_at() -> None:
    assert Classifier.__args__ == tuple(CLASSIFIERS)


@pytest.mark.parametrize("member", CLASSIFIERS, ids=lambda member: member.__name__)
def test_fields_are_settings_of_scikit_learn_with_its_defaults(member: type[ClassifierSpec]) -> None:
    spec: Any = head(member.model_fields["kind"].annotation.__args__[0])
    theirs = inspect.signature(type(spec.estimator(0)).__init__).parameters
    for name, value in spec.settings().items():
        pair = (theirs[name].default, value)
        expected = DIFFERENCES.get((member, name))
        assert pair == expected if expected else pair[0] == pair[1], name


@pytest.mark.parametrize("member", CLASSIFIERS, ids=lambda member: member.__name__)
def test_the_estimator_gets_what_the_spec_says(member: type[ClassifierSpec]) -> None:
    spec: Any = head(member.model_fields["kind"].annotation.__args__[0])
    assert spec.settings().items() <= spec.estimator(7).get_params().items()
    assert spec.estimator(7).get_params().get("random_state", 7) == 7


def test_settings_survive_being_written_out() -> None:
    given = {"kind": "svc", "kernel": "poly", "gamma": 0.5, "degree": 2, "standardize": False}
    assert head(dump(head(given))) == head(given)
    forest = {"kind": "random_forest", "max_features": 0.25}
    assert head(dump(head(forest))) == head(forest)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "logistic_regression", "penalty": "l2"},
        {"kind": "logistic_regression", "C": 0},
        {"kind": "svc", "kernel": "sigmoid"},
        {"kind": "svc", "degree": 2.5},
        {"kind": "random_forest", "n_estimators": 0},
        {"kind": "knn", "n_neighbors": "5"},
        {"kind": "knn", "metric": "cosine"},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        head(wrong)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("{kind: svc, gamma: wide}", "model.head.gamma: expected a number above 0, `scale` or `auto`, found the text 'wide'"),
        ("{kind: svc, gamma: -1}", "model.head.gamma: expected a number above 0, `scale` or `auto`, found -1"),
        ("{kind: svc, gamma: .inf}", "model.head.gamma: expected a number above 0, `scale` or `auto`, found inf"),
        ("{kind: svc, gamma: true}", "model.head.gamma: expected a number above 0, `scale` or `auto`, found true"),
        (
            "{kind: random_forest, max_features: 8}",
            "model.head.max_features: expected a fraction above 0 and up to 1, `sqrt` or `log2`, found 8",
        ),
        (
            "{kind: svc, kernel: rfb}",
            "model.head.kernel: expected rbf, linear or poly, found the text 'rfb'; did you mean `rbf`?",
        ),
        ("{kind: knn, neighbors: 3}", "model.head.neighbors: unknown key; did you mean `n_neighbors`?"),
    ],
)
def test_a_wrong_setting_is_told_in_words(wrong: str, expected: str) -> None:
    text = TRANSFER.format(head=wrong)
    with pytest.raises(SpecError) as refused:
        load_text(text, Path("spec.yaml"), ())
    (fault,) = refused.value.faults
    assert (fault.line, f"{fault.key}: {fault.message}") == (8, expected)
