"""Baselines: the scores of scikit-learn's simple models on a spec's own data, splits and metrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.resolve import prepared
from dlcli.data.splits import Splits, open_splits
from dlcli.errors import UsageError
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.reporter import Log
from dlcli.runs.scored_splits import title_of
from dlcli.runtime.column_kinds import Encoding
from dlcli.runtime.columns import column_inputs
from dlcli.runtime.device import any_device, use_device
from dlcli.runtime.engine import keras
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.stream import ordered_batches
from dlcli.score.intervals import metric_interval
from dlcli.spec.data.sources import Examples
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.support import refuse_unsupported
from dlcli.spec.training.metrics import MetricSpec
from dlcli.tasks import Classes, Labels, OutputType, Task, Values, entry_of, required_entry

MOST_EXAMPLES = 10_000
_MOST_FEATURES = 4096


@dataclass(frozen=True)
class Row:
    """One simple model: its scores with intervals by metric, or why it has none."""

    name: str
    scores: dict[str, tuple[float, tuple[float, float] | None]]
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Baselines:
    """The scores of simple models on one split."""

    split: str
    examples: int
    trained_on: int
    metrics: list[str]
    rows: list[Row]
    fingerprint: str
    title: str


def baselines(
    experiment: Experiment, log: Log, *, split: str = "", most: int = MOST_EXAMPLES, offline: bool = False
) -> Baselines:
    """Fits scikit-learn's simple models on the training split and scores them on another split.

    Images become rows of their pixels from 0 to 1; columns are prepared as for the network (scaled, gaps marked, categories
    one-hot). Of more than `most` training examples a random subset is used, drawn by the spec's seed.

    Raises:
        UsageError: there is no such split, or the kind of model has no scores.
        DataError: the data cannot be read.
    """
    refuse_unsupported(experiment.model, "evaluate", f"`{command()} baseline`")
    use_device(any_device(experiment.hardware), experiment.seed)
    experiment = prepared(experiment, offline=offline)
    splits = open_splits(experiment, offline=offline)
    split = split or splits.scored
    if split not in splits:
        raise UsageError(f"--split: the data has no {split} split; it has {', '.join(splits.by_name)}")
    train, scored_inputs = model_rows(splits.train, splits[split])
    places = np.arange(len(splits.train))
    if len(places) > most:
        places = np.sort(np.random.default_rng(experiment.seed).permutation(len(places))[:most])
        log(f"note: {most:,} of {len(splits.train):,} training examples are used; raise --examples to use more")
    truth, metrics = splits[split].targets, list(experiment.training.metrics or [])
    rows = []
    for name, model in simple_models(splits.task, experiment.seed):
        log(f"{name}: fitting {len(places):,} examples with {train.shape[1]:,} features")
        rows.append(_row(name, model, train[places], splits.train.targets[places], scored_inputs, truth, splits, metrics))
    title = title_of(split, shared=split == "test" and splits.test_is_validation)
    names = [metric.name for metric in metrics]
    return Baselines(split, len(truth), len(places), names, rows, splits.fingerprint, title)


def model_rows(train: Examples, scored: Examples) -> tuple[Array, Array]:
    """Returns the training examples and the scored examples as float32 `(n, features)`."""
    first, second = train.inputs, scored.inputs
    if first.columns:
        columns = column_inputs(first.columns, first.column_kinds, Encoding("standard", before_training=False))
        encode = keras.Model(columns.inputs, columns.features)
        encode.jit_compile = False
        return _encoded(encode, first), _encoded(encode, second)
    return _flat(train), _flat(scored)


def _encoded(encode: Any, inputs: Inputs) -> Array:
    return np.asarray(encode.predict(ordered_batches(inputs, examples=len(inputs), batch_size=1024), verbose=0))


def _flat(examples: Examples) -> Array:
    """Returns images as rows of numbers from 0 to 1, large ones subsampled; other arrays as rows."""
    inputs = examples.inputs
    if inputs.kind != "images":
        return np.asarray(inputs.read(np.arange(len(inputs))), dtype="float32").reshape(len(examples), -1)
    batches = [_pixels(inputs, np.arange(at, min(at + 256, len(examples)))) for at in range(0, len(examples), 256)]
    return np.concatenate(batches)


def _pixels(inputs: Inputs, places: Array) -> Array:
    images = inputs.read(places).astype("float32") / 255
    step = int(np.ceil(np.sqrt(max(1.0, images[0].size / _MOST_FEATURES))))
    return np.asarray(images[:, ::step, ::step].reshape(len(places), -1))


def simple_models(task: Task, seed: int) -> Iterator[tuple[str, Any]]:
    """Yields the simple models of a task by name, the one without inputs first."""
    from sklearn import dummy

    if task.output.is_numeric:
        yield "always the mean", dummy.DummyRegressor()
    else:
        yield f"{task.output.noun} frequencies (no model)", dummy.DummyClassifier(strategy="prior")
    yield from learning_models(task, seed)


def learning_models(task: Task, seed: int) -> Iterator[tuple[str, Any]]:
    """Yields the simple models of a task that learn from the inputs, by name."""
    models = entry_of(_MODELS, task.output)
    if models is not None:
        yield from models(seed)


def _regressors(seed: int) -> Iterator[tuple[str, Any]]:
    """Yields scikit-learn's simple models for values by name."""
    from sklearn import ensemble, linear_model, multioutput, neighbors, pipeline, preprocessing

    scaled = preprocessing.StandardScaler
    yield "ridge regression", pipeline.make_pipeline(scaled(), linear_model.RidgeCV(np.logspace(-3, 3, 7)))
    yield "5 nearest neighbours", pipeline.make_pipeline(scaled(), neighbors.KNeighborsRegressor())
    yield "random forest", ensemble.RandomForestRegressor(random_state=seed, n_jobs=-1)
    boosting = ensemble.HistGradientBoostingRegressor(random_state=seed)
    yield "gradient boosting", multioutput.MultiOutputRegressor(boosting)


def _classifiers(seed: int) -> Iterator[tuple[str, Any]]:
    return _classifiers_by(lambda model: model, seed)


def _classifiers_of_labels(seed: int) -> Iterator[tuple[str, Any]]:
    from sklearn import multioutput

    return _classifiers_by(multioutput.MultiOutputClassifier, seed)


def _classifiers_by(wrap: Callable[[Any], Any], seed: int) -> Iterator[tuple[str, Any]]:
    """Yields scikit-learn's simple models for classes by name; `wrap` adapts one to several labels."""
    from sklearn import ensemble, linear_model, neighbors, pipeline, preprocessing

    scaled = preprocessing.StandardScaler
    logistic = linear_model.LogisticRegression(max_iter=500)
    yield "logistic regression", pipeline.make_pipeline(scaled(), wrap(logistic))
    yield "5 nearest neighbours", pipeline.make_pipeline(scaled(), neighbors.KNeighborsClassifier())
    yield "random forest", ensemble.RandomForestClassifier(random_state=seed, n_jobs=-1)
    yield "gradient boosting", wrap(ensemble.HistGradientBoostingClassifier(random_state=seed))


_MODELS: dict[type[OutputType], Callable[[int], Iterator[tuple[str, Any]]]] = {
    Classes: _classifiers,
    Labels: _classifiers_of_labels,
    Values: _regressors,
}


def _row(
    name: str,
    model: Any,
    train: Array,
    labels: Array,
    scored_inputs: Array,
    truth: Array,
    splits: Splits,
    metrics: Sequence[MetricSpec],
) -> Row:
    """Fits one model and scores it; an error of scikit-learn becomes the row's reason."""
    began = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a simple model that has not converged is still a baseline
        try:
            model.fit(train, fit_targets(labels, splits.task))
            scores = model_scores(model, scored_inputs, splits)
        except ValueError as error:
            return Row(name, {}, perf_counter() - began, str(error).splitlines()[0])
    metric_scores = {
        metric.name: (metric.score(truth, scores, splits.task), metric_interval(metric, truth, scores, splits.task))
        for metric in metrics
    }
    return Row(name, metric_scores, perf_counter() - began)


def model_scores(model: Any, inputs: Array, splits: Splits) -> Array:
    """Returns a simple model's scores in the form of a network's: see `Outcome.scores`."""
    scores = required_entry(_SCORES, splits.task, "a simple model")
    return scores(model, inputs, len(splits.classes))


def fit_targets(targets: Array, task: Task) -> Array:
    """Returns targets in the form of scikit-learn's models: classes and labels as integers."""
    return targets if task.output.is_numeric else targets.astype("int64")


def _values(model: Any, inputs: Array, _: int) -> Array:
    return np.asarray(model.predict(inputs), dtype="float32").reshape(len(inputs), -1)


def _labels(model: Any, inputs: Array, _: int) -> Array:
    shares = model.predict_proba(inputs)
    return np.stack(
        [_positive_probability(label_shares, classes) for label_shares, classes in zip(shares, model.classes_, strict=True)],
        axis=1,
    )


def _classes(model: Any, inputs: Array, classes: int) -> Array:
    scores = np.zeros((len(inputs), classes), dtype="float32")
    scores[:, model.classes_] = model.predict_proba(inputs)
    return scores


_SCORES: dict[type[OutputType], Callable[[Any, Array, int], Array]] = {Classes: _classes, Labels: _labels, Values: _values}


def _positive_probability(shares: Array, classes: Array) -> Array:
    """Returns the probability of 1 for one label, whose training examples may all have had the same value."""
    at = np.flatnonzero(np.asarray(classes) == 1)
    return np.asarray(shares[:, at[0]] if len(at) else np.zeros(len(shares)), dtype="float32")


def with_run(table: Baselines, run: RunFolder) -> Baselines:
    """Returns the table with a run's scores on the same split as its last row.

    Raises:
        UsageError: the run was not scored on this split, or was scored on other examples.
    """
    scores = run.metrics(table.split)
    if not scores:
        raise UsageError(f"{run.id} was not scored on {table.split}: {command()} evaluate {run.id} --split {table.split}")
    if table.fingerprint != run.data().get("fingerprint"):
        raise UsageError(f"{run.id} has different data or a different split than the spec, so their scores are not comparable")
    row = {
        name: (entry["value"], tuple(entry["interval"]) if entry.get("interval") else None)
        for name, entry in scores["metrics"].items()
        if name in table.metrics
    }
    return replace(table, rows=[*table.rows, Row(run.id, row, 0.0)])
