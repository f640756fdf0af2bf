"""Explanations of tables: the importance of each column, and the decision boundary of two numeric inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.explain.subjects import as_columns, sample
from dlcli.runtime.engine import tf
from dlcli.runtime.inputs import Inputs
from dlcli.spec.data.sources import Examples
from dlcli.spec.experiment import Experiment
from dlcli.spec.training.metrics import higher_is_better
from dlcli.tasks import Task

REPEATS, MOST_ROWS, GRID = 10, 2000, 100
_BATCH = 4096


@dataclass(frozen=True)
class Importance:
    """The decrease of a score when a column is shuffled: mean and standard deviation over the repetitions."""

    column: str
    mean: float
    deviation: float


def answers(model: Any, inputs: Inputs, task: Task) -> Array:
    """Returns the scores of all inputs, in the shapes of a metric's `score`."""
    batches = []
    for start in range(0, len(inputs), _BATCH):
        batch = inputs.read(np.arange(start, min(start + _BATCH, len(inputs))))
        tensors = batch if inputs.columns else tf.constant(batch)
        batches.append(np.asarray(model(tensors, training=False), "float32"))
    return task.output.scores(np.concatenate(batches))


def permutation(model: Any, examples: Examples, experiment: Experiment) -> tuple[str, float, list[Importance]]:
    """Returns the metric's name, its value, and each column's importance, the largest first.

    A column's importance is the decrease of the run's first metric when its values are shuffled among the rows, by
    scikit-learn's `permutation_importance` (Breiman 2001), 10 times, on up to 2,000 rows. Columns with the same information
    share their importance, so that each of them may seem unimportant.
    """
    from sklearn.inspection import permutation_importance

    examples = sample(examples, MOST_ROWS)
    columns = as_columns(examples)
    names = list(columns)
    metrics = experiment.training.metrics or []
    metric = metrics[0] if metrics else None
    sign = 1.0 if metric is not None and higher_is_better(metric.name, list(metrics)) else -1.0

    def scorer(_: Any, places: Array, truth: Array) -> float:
        # scikit-learn shuffles row indices, column by column, so that values of every type are supported.
        shuffled = {name: columns[name][places[:, at]] for at, name in enumerate(names)}
        output = answers(model, examples.inputs.with_table(shuffled), experiment.task)
        value = metric.score(truth, output, experiment.task) if metric is not None else _loss(experiment, truth, output)
        return sign * value

    places = np.tile(np.arange(len(examples))[:, None], (1, len(names)))
    fitted = _EstimatorPlaceholder()
    full_score = scorer(fitted, places, examples.targets)
    result = permutation_importance(
        fitted, places, examples.targets, scoring=scorer, n_repeats=REPEATS, random_state=experiment.seed
    )
    rows = zip(names, result.importances_mean, result.importances_std, strict=True)
    ranked = sorted(
        (Importance(name, float(mean), float(spread)) for name, mean, spread in rows), key=lambda importance: -importance.mean
    )
    return metric.name if metric is not None else "loss", sign * full_score, ranked


class _EstimatorPlaceholder:
    """A placeholder for scikit-learn's estimator: the scorer has the model."""

    def fit(self, *_: Any) -> _EstimatorPlaceholder:
        """Returns itself, since the model is already trained."""
        return self


def _loss(experiment: Experiment, truth: Array, output: Array) -> float:
    from dlcli.score.evaluate import mean_loss

    return mean_loss(experiment, output.shape[-1], truth, output)


@dataclass(frozen=True)
class Plane:
    """A grid over two inputs: values of the first `(columns,)` and second `(rows,)`, examples `(n, 2)`, the inputs' names."""

    x: Array
    y: Array
    points: Array
    names: tuple[str, str]

    def shaped(self, values: Array) -> Array:
        """Returns the values of all points as `(rows, columns)`."""
        return values.reshape(len(self.y), len(self.x))


def grid(points: Array) -> tuple[Array, Array]:
    """Returns 100 values of each input; they exceed its range by a tenth on both sides."""
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    margin = np.where(high > low, 0.1 * (high - low), 1.0)
    ends = zip(low - margin, high + margin, strict=True)
    x, y = (np.linspace(first, last, GRID).astype("float32") for first, last in ends)
    return x, y


def on_grid(model: Any, examples: Examples, x: Array, y: Array, task: Task) -> Array:
    """Returns the scores at every point of a grid: `(len(y) * len(x), ...)`, row by row."""
    points = np.stack([coordinates.reshape(-1) for coordinates in np.meshgrid(x, y)], axis=1)
    columns = {name: points[:, at] for at, name in enumerate(examples.inputs.table())}
    return answers(model, examples.inputs.with_table(columns), task)
