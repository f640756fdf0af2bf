"""Scikit-learn's simple models for the output types, and their answers in the form of a network's scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dlcli.upstream.sklearn import import_sklearn

if TYPE_CHECKING:
    from dlcli.arrays import Array


def regressors(seed: int) -> Iterator[tuple[str, Any]]:
    """Yields the models of values by name."""
    import numpy as np

    import_sklearn()
    from sklearn import ensemble, linear_model, multioutput, neighbors, pipeline, preprocessing

    scaled = preprocessing.StandardScaler
    yield "ridge regression", pipeline.make_pipeline(scaled(), linear_model.RidgeCV(np.logspace(-3, 3, 7)))
    yield "5 nearest neighbours", pipeline.make_pipeline(scaled(), neighbors.KNeighborsRegressor())
    yield "random forest", ensemble.RandomForestRegressor(random_state=seed, n_jobs=-1)
    boosting = ensemble.HistGradientBoostingRegressor(random_state=seed)
    yield "gradient boosting", multioutput.MultiOutputRegressor(boosting)


def classifiers(seed: int, wrap: Callable[[Any], Any] = lambda model: model) -> Iterator[tuple[str, Any]]:
    """Yields the models of classes by name; `wrap` adapts one to several labels."""
    import_sklearn()
    from sklearn import ensemble, linear_model, neighbors, pipeline, preprocessing

    scaled = preprocessing.StandardScaler
    logistic = linear_model.LogisticRegression(max_iter=500)
    yield "logistic regression", pipeline.make_pipeline(scaled(), wrap(logistic))
    yield "5 nearest neighbours", pipeline.make_pipeline(scaled(), neighbors.KNeighborsClassifier())
    yield "random forest", ensemble.RandomForestClassifier(random_state=seed, n_jobs=-1)
    yield "gradient boosting", wrap(ensemble.HistGradientBoostingClassifier(random_state=seed))


def classifiers_of_labels(seed: int) -> Iterator[tuple[str, Any]]:
    """Yields the models of several labels by name."""
    from sklearn import multioutput

    yield from classifiers(seed, multioutput.MultiOutputClassifier)


def class_scores(model: Any, inputs: Array, classes: int) -> Array:
    """Returns the probabilities `(n, classes)` of a fitted classifier; 0 for a class without training examples."""
    import numpy as np

    scores = np.zeros((len(inputs), classes), dtype="float32")
    scores[:, model.classes_] = model.predict_proba(inputs)
    return scores


def label_scores(model: Any, inputs: Array) -> Array:
    """Returns the probabilities `(n, labels)` of a fitted classifier of several labels."""
    import numpy as np

    shares = model.predict_proba(inputs)
    return np.stack(
        [_positive_probability(label_shares, classes) for label_shares, classes in zip(shares, model.classes_, strict=True)],
        axis=1,
    )


def values(model: Any, inputs: Array) -> Array:
    """Returns the values `(n, targets)` of a fitted regressor."""
    import numpy as np

    return np.asarray(model.predict(inputs), dtype="float32").reshape(len(inputs), -1)


def _positive_probability(shares: Array, classes: Array) -> Array:
    """Returns the probability of 1 for one label, whose training examples may all have had the same value."""
    import numpy as np

    at = np.flatnonzero(np.asarray(classes) == 1)
    return np.asarray(shares[:, at[0]] if len(at) else np.zeros(len(shares)), dtype="float32")
