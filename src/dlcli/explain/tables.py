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
    rows = _Rows(model, examples.inputs, experiment.task)
    metrics = experiment.training.metrics or []
    metric = metrics[0] if metrics else None
    sign = 1.0 if metric is not None and higher_is_better(metric.name, list(metrics)) else -1.0

    def score(output: Array) -> float:
        truth, task = examples.targets, experiment.task
        value = metric.score(truth, output, task) if metric is not None else _loss(experiment, truth, output)
        return sign * value

    full_score, in_order = score(rows.answers()), np.arange(len(examples))

    def importance(name: str, column: tuple[str, int]) -> Importance:
        def scorer(_: Any, places: Array, __: Array) -> float:
            is_shuffled = bool((places[:, 0] != in_order).any())
            return score(rows.answers(column, places[:, 0])) if is_shuffled else full_score

        # scikit-learn shuffles row indices, so that values of every type are supported. Given one column at a time, it draws
        # the same shuffles for each, as it does for a table; a table of indices would be copied for each of its columns.
        result = permutation_importance(
            _EstimatorPlaceholder(),
            in_order[:, None],
            examples.targets,
            scoring=scorer,
            n_repeats=REPEATS,
            random_state=experiment.seed,
        )
        return Importance(name, float(result.importances_mean[0]), float(result.importances_std[0]))

    importances = [importance(name, column) for name, column in zip(as_columns(examples), rows.columns, strict=True)]
    ranked = sorted(importances, key=lambda importance: -importance.mean)
    return metric.name if metric is not None else "loss", sign * full_score, ranked


class _Rows:
    """Rows as a model takes them, one column of which may be shuffled: the others are converted to tensors once.

    Of windows a channel is shuffled as a whole: its steps stay together.

    Attributes:
        columns: the model's input and the place in it, for each column in the order of `as_columns`.
    """

    def __init__(self, model: Any, inputs: Inputs, task: Task) -> None:
        self._model, self._task, self._has_names = model, task, bool(inputs.columns)
        layout = inputs.layout
        if self._has_names:
            places = {column: (name, at) for name, of_input in layout.columns.items() for at, column in enumerate(of_input)}
            self.columns = [places[column] for column in inputs.columns]
            self._arrays = layout.arrays(inputs.columns)
        else:
            self._arrays = {"": inputs.read(np.arange(len(inputs)))}
            self.columns = [("", at) for at in range(self._arrays[""].shape[-1])]
        self._tensors = {name: tf.constant(values) for name, values in self._arrays.items()}

    def answers(self, column: tuple[str, int] | None = None, places: Array | None = None) -> Array:
        """Returns the scores of all rows, in the shapes of a metric's `score`; a column's values are those of other places."""
        tensors = self._tensors
        if column is not None:
            name, at = column
            shuffled = self._arrays[name].copy()
            shuffled[..., at] = shuffled[places, ..., at]
            tensors = tensors | {name: tf.constant(shuffled)}
        output = self._model(tensors if self._has_names else tensors[""], training=False)
        return self._task.output.scores(np.asarray(output, "float32"))


class _EstimatorPlaceholder:
    """A placeholder for scikit-learn's estimator: the scorer has the model."""

    def fit(self, *_: Any) -> _EstimatorPlaceholder:
        """Returns itself, since the model is already trained."""
        return self


def _loss(experiment: Experiment, truth: Array, output: Array) -> float:
    from dlcli.score.losses import mean_loss

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
