"""Probabilities of classes by logistic regression, out of fold: no model has seen the label that it judges."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.upstream.sklearn import import_sklearn

FOLDS = 5
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse strengths of the penalty on the weights (scikit-learn's `C`), of which the best is used."""
_MOST_FEATURES = 1024
_MOST_COMPARED = 2000
"""Number of examples on which strengths are compared, besides further ones of rare classes."""


def out_of_fold(features: Array, labels: Array, classes: int) -> Array:
    """Returns the probabilities `(n, classes)` of models that were fitted on the other folds.

    The strength of the penalty has the smallest log loss out of fold, on about 2,000 of the examples.

    Args:
        features: float32 `(n, features)`; of more than 1,024, as many principal components are used.
        labels: class numbers `(n,)`, with at least 5 examples of each class that occurs.
        classes: the number of classes.
    """
    return _probabilities(features, labels, classes, _best_strength(features, labels, classes))


def _best_strength(features: Array, labels: Array, classes: int) -> float:
    places = _compared(labels)
    features, labels = features[places], labels[places]
    losses = [_log_loss(_probabilities(features, labels, classes, strength), labels) for strength in STRENGTHS]
    return STRENGTHS[int(np.argmin(losses))]


def _compared(labels: Array) -> Array:
    """Returns the places of a random sample: of each class its share, but at least as many as there are folds.

    A model that is fitted on the other folds must know every class.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    if len(labels) <= _MOST_COMPARED:
        return order
    is_compared = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        is_compared[of_class[: max(FOLDS, round(len(of_class) * _MOST_COMPARED / len(labels)))]] = True
    return np.asarray(order[is_compared[order]])


def _log_loss(probabilities: Array, labels: Array) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-6)).mean())


def _probabilities(features: Array, labels: Array, classes: int, strength: float) -> Array:
    import_sklearn()
    from sklearn.model_selection import StratifiedKFold

    probabilities = np.zeros((len(labels), classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a model that has not converged still ranks
        for fitted, judged in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(features, labels):
            model = _model(min(features.shape[1], len(fitted)), strength).fit(features[fitted], labels[fitted])
            probabilities[np.ix_(judged, model.classes_)] = model.predict_proba(features[judged])
    return probabilities


def _model(features: int, strength: float) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    reduced = [PCA(_MOST_FEATURES, random_state=0)] if features > _MOST_FEATURES else []
    return make_pipeline(StandardScaler(), *reduced, LogisticRegression(C=strength, max_iter=300))
