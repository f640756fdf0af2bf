"""Scikit-learn's simple models for the output types, and their answers in the form of a network's scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlcli.upstream.sklearn import import_sklearn

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.tasks.output import OutputType

MOST_LINEAR = 512
"""The most features for a linear model that is fitted quickly: with more it takes seconds."""


@dataclass(frozen=True)
class SimpleExamples:
    """The examples of simple models.

    Attributes:
        inputs: training inputs `(n, features)`, or `Windows`.
        targets: their targets, in the form of scikit-learn's models.
        scored: inputs that are scored `(m, features)`.
        names: the names of the classes, labels or values.
        are_texts: whether inputs are sparse rows of texts.
    """

    inputs: Any
    targets: Array
    scored: Any
    names: Sequence[str]
    are_texts: bool = False


def quick_answers(output: OutputType, seed: int, examples: SimpleExamples) -> list[tuple[str, Array]]:
    """Returns the name and the scores of each simple model that takes at most a few seconds.

    Models that scikit-learn refuses are skipped: each needs other properties of the data.
    """
    answers = []
    for name, model in _models(output, seed, examples):
        is_wide = examples.inputs.shape[1] > MOST_LINEAR and not examples.are_texts
        if "boosting" in name or (is_wide and "regression" in name):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a simple model that has not converged is still a simple model
            try:
                model.fit(examples.inputs, examples.targets)
                answers.append((name, output.simple_scores(model, examples.scored, examples.names)))
            except ValueError:
                continue
    return answers


def _models(output: OutputType, seed: int, examples: SimpleExamples) -> Iterator[tuple[str, Any]]:
    from dlcli.tasks.forecasts import Forecasts

    if isinstance(output, Forecasts):
        from dlcli.tasks.forecasters import forecasters

        yield from forecasters(output, examples.inputs.season)
    else:
        yield from output.simple_models(seed, texts=examples.are_texts)


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


def text_classifiers(wrap: Callable[[Any], Any] = lambda model: model) -> Iterator[tuple[str, Any]]:
    """Yields the models of classes of texts by name; `wrap` adapts one to several labels."""
    import_sklearn()
    from sklearn import calibration, linear_model, svm

    yield "TF-IDF, logistic regression", wrap(linear_model.LogisticRegression(C=10, max_iter=1000))
    yield "TF-IDF, linear SVC", wrap(calibration.CalibratedClassifierCV(svm.LinearSVC(C=0.5), cv=3))


def text_regressors() -> Iterator[tuple[str, Any]]:
    """Yields the models of values of texts by name."""
    import_sklearn()
    from sklearn import linear_model

    yield "TF-IDF, ridge regression", linear_model.Ridge()


def classifiers_of_labels(seed: int, *, texts: bool = False) -> Iterator[tuple[str, Any]]:
    """Yields the models of several labels by name."""
    from sklearn import multioutput

    wrap = multioutput.MultiOutputClassifier
    yield from text_classifiers(wrap) if texts else classifiers(seed, wrap)


def class_scores(model: Any, inputs: Array, classes: int) -> Array:
    """Returns the probabilities `(n, classes)` of a fitted classifier; 0 for a class without training examples."""
    import numpy as np

    scores = np.zeros((inputs.shape[0], classes), dtype="float32")
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

    return np.asarray(model.predict(inputs), dtype="float32").reshape(inputs.shape[0], -1)


def _positive_probability(shares: Array, classes: Array) -> Array:
    """Returns the probability of 1 for one label, whose training examples may all have had the same value."""
    import numpy as np

    at = np.flatnonzero(np.asarray(classes) == 1)
    return np.asarray(shares[:, at[0]] if len(at) else np.zeros(len(shares)), dtype="float32")
