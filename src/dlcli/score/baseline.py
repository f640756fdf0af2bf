"""Baselines: the scores of scikit-learn's simple models on a spec's own data, splits and metrics."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from time import perf_counter
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.resolve import prepared
from dlcli.data.series_scale import with_series_scale
from dlcli.data.splits import Splits, open_splits
from dlcli.errors import UsageError
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.compare import not_scored
from dlcli.runs.reporter import Log
from dlcli.runs.scored_splits import title_of
from dlcli.runtime.device import any_device, use_device
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.padded_series import filled_series
from dlcli.runtime.windows import Windows
from dlcli.score.encoded_columns import encoded_columns
from dlcli.score.intervals import dependent, group_notes, metric_estimate
from dlcli.score.text_rows import text_rows
from dlcli.spec.data.sources import Examples
from dlcli.spec.experiment import Experiment
from dlcli.spec.support import refuse_unsupported
from dlcli.spec.training.metrics import MetricSpec
from dlcli.tasks import Forecasts, Task
from dlcli.tasks.forecasters import forecasters

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
    one-hot), texts by TF-IDF; of windows of series the own past of the targets. Of more than `most` training examples a random
    subset is used, drawn by the spec's seed.

    Raises:
        UsageError: there is no such split, the kind of model has no scores, or the task's targets are not rows of numbers.
        DataError: the data cannot be read.
    """
    refuse_unsupported(experiment, "baseline", f"`{command()} baseline`")
    use_device(any_device(experiment.hardware), experiment.seed)
    experiment = prepared(experiment, offline=offline)
    splits = open_splits(experiment, offline=offline)
    experiment = with_series_scale(experiment, splits)
    split = split or splits.scored
    if split not in splits:
        raise UsageError(f"--split: the data has no {split} split; it has {', '.join(splits.by_name)}")
    texts = bool(splits.train.inputs.text_columns)
    places = np.arange(len(splits.train))
    if len(places) > most:
        places = np.sort(np.random.default_rng(experiment.seed).permutation(len(places))[:most])
        log(f"note: {most:,} of {len(splits.train):,} training examples are used; raise --examples to use more")
    train, scored_inputs = model_rows(experiment, splits.train, splits[split], places)
    truth, metrics = splits[split].targets, list(experiment.training.metrics or [])
    rows = []
    season = season_of(splits.train.inputs)
    for name, model in simple_models(splits.task, experiment.seed, texts=texts, season=season):
        log(f"{name}: fitting {len(places):,} examples with {_features(train):,} features")
        rows.append(_row(name, model, train, splits.train.targets[places], scored_inputs, splits, split, metrics))
    title = title_of(split, shared=split == "test" and splits.test_is_validation)
    for note in group_notes(splits[split].groups, are_blocks=splits.task.output.needs_series):
        log(f"note: {note}")
    names = [metric.name for metric in metrics]
    return Baselines(split, len(truth), len(places), names, rows, splits.fingerprint, title)


def model_rows(experiment: Experiment, train: Examples, scored: Examples, places: Array | None = None) -> tuple[Any, Any]:
    """Returns the training examples and the scored examples as float32 `(n, features)`: sparse matrices for texts.

    Windows of series are returned as they are: their simple models read the own past of the targets.

    Args:
        experiment: the experiment.
        train: the training examples, by which columns are scaled.
        scored: the scored examples.
        places: the training examples that are returned; None for all.
    """
    places = np.arange(len(train)) if places is None else places
    first, second = train.inputs, scored.inputs
    if isinstance(first, Windows):
        return first.take(places), second
    if first.text_columns:
        return text_rows(first.take(places), second, experiment.data.text)
    if first.columns:
        rows, scored_rows = encoded_columns(first, first.take(places), second)
        return rows, scored_rows
    if first.is_padded:
        return filled_series(first, first.take(places)), filled_series(first, second)
    return _flat(train.take(places)), _flat(scored)


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


def _features(rows: Any) -> int:
    """Returns the number of values of an example."""
    return prod(rows.shape) if isinstance(rows, Windows) else int(rows.shape[1])


def season_of(inputs: Inputs) -> int:
    """Returns the steps of a season of series; 1 for other inputs."""
    return inputs.season if isinstance(inputs, Windows) else 1


def simple_models(task: Task, seed: int, *, texts: bool = False, season: int = 1) -> Iterator[tuple[str, Any]]:
    """Yields the simple models of a task by name, the one without inputs first.

    Args:
        task: the task.
        seed: the seed of models that draw random numbers.
        texts: whether inputs are sparse rows of texts.
        season: the steps of a season of series.
    """
    from sklearn import dummy

    if isinstance(task.output, Forecasts):
        yield from forecasters(task.output, season)
        return
    if task.output.is_numeric:
        yield "always the mean", dummy.DummyRegressor()
    else:
        yield f"{task.output.noun} frequencies (no model)", dummy.DummyClassifier(strategy="prior")
    yield from task.output.simple_models(seed, texts=texts)


def _row(
    name: str,
    model: Any,
    train: Any,
    labels: Array,
    scored_inputs: Any,
    splits: Splits,
    split: str,
    metrics: Sequence[MetricSpec],
) -> Row:
    """Fits one model and scores it on a split; an error of scikit-learn becomes the row's reason."""
    truth, groups = splits[split].targets, splits[split].groups
    began = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a simple model that has not converged is still a baseline
        try:
            model.fit(train, fit_targets(labels, splits.task))
            scores = splits.task.output.simple_scores(model, scored_inputs, splits.classes)
        except ValueError as error:
            return Row(name, {}, perf_counter() - began, str(error).splitlines()[0])
    estimates = {
        metric.name: dependent(metric_estimate(metric, truth, scores, splits.task), groups, splits.task) for metric in metrics
    }
    metric_scores = {metric: (estimate.value, estimate.interval) for metric, estimate in estimates.items()}
    return Row(name, metric_scores, perf_counter() - began)


def fit_targets(targets: Array, task: Task) -> Array:
    """Returns targets in the form of scikit-learn's models: classes and labels as integers."""
    return targets if task.output.is_numeric else targets.astype("int64")


def with_run(table: Baselines, run: RunFolder) -> Baselines:
    """Returns the table with a run's scores on the same split as its last row.

    Raises:
        UsageError: the run was not scored on this split, or was scored on other examples.
    """
    scores = run.metrics(table.split)
    if not scores:
        raise UsageError(not_scored(run, table.split))
    if table.fingerprint != run.data().get("fingerprint"):
        raise UsageError(f"{run.id} has different data or a different split than the spec, so their scores are not comparable")
    row = {
        name: (entry["value"], tuple(entry["interval"]) if entry.get("interval") else None)
        for name, entry in scores["metrics"].items()
        if name in table.metrics
    }
    return replace(table, rows=[*table.rows, Row(run.id, row, 0.0)])
