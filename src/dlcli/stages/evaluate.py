"""Run -> scores: one pass of predictions, then metrics, per-class table, confusion matrix, baseline."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.errors import RunFailed, UsageError
from dlcli.runs import Run
from dlcli.runs.files import write_json, write_table
from dlcli.runtime.device import any_device, use_device
from dlcli.runtime.engine import keras
from dlcli.runtime.loading import load_model, refuse_other_inputs
from dlcli.runtime.loop import Listening
from dlcli.runtime.stream import data_errors, ordered_batches
from dlcli.spec.experiment import Experiment
from dlcli.spec.metrics import decide
from dlcli.spec.sources import Examples
from dlcli.stages.data import Splits, open_splits
from dlcli.stages.failures import failures_in_words

Array = np.ndarray[Any, Any]
# Above it a matrix, or a column of probabilities for each class, would be larger than all else in the run folder.
MANY_CLASSES = 1000


@dataclass(frozen=True)
class Scores:
    """What one split was scored with: metric names and values, and those of the baseline."""

    split: str
    examples: int
    metrics: dict[str, float]
    baseline: dict[str, float]
    baseline_name: str


def evaluate(run: Run, split: str, *, offline: bool = False) -> Scores:
    """Scores a run's model on one of its splits, from the run folder alone, and writes `evaluation/<split>/`.

    `split` may be empty: the test part, or the validation part where there is no test part.

    Raises:
        UsageError: the run has no model yet, or no such split.
    """
    if not run.has_model:
        raise UsageError(f"{run.id} has no model: it has not finished an epoch")
    experiment = run.experiment()
    _refuse_missing(split, run.data().get("examples", {}))
    with failures_in_words(run):
        use_device(any_device(experiment.hardware), experiment.seed)
        splits = open_splits(experiment, offline=offline, split=run.split())
        _refuse_missing(split, splits.parts)
        _refuse_changed_data(run, splits)
        return evaluate_model(experiment, splits, run, split or default_split(splits))


def _refuse_missing(split: str, parts: Iterable[str]) -> None:
    if split and split not in parts:
        raise UsageError(f"this run has no {split} part; it has {', '.join(parts)}")


def default_split(splits: Splits) -> str:
    """Returns the part that is scored where none is named: test, else validation, else train."""
    return next(name for name in ("test", "validation", "train") if name in splits.parts)


def _refuse_changed_data(run: Run, splits: Splits) -> None:
    recorded, found = run.data().get("fingerprint"), splits.describe()["fingerprint"]
    if recorded and recorded != found:
        raise UsageError(
            f"the data of {run.id} is not what it was trained on: its fingerprint was {recorded[:12]} and is now {found[:12]}"
        )


def evaluate_model(experiment: Experiment, splits: Splits, run: Run, split: str) -> Scores:
    """Scores the run's saved model on one part of its data and writes `evaluation/<split>/`."""
    examples, task = splits.parts[split], experiment.task
    loaded = run.model_path.stat()
    model = load_model(run.model_path, outputs=splits.outputs)
    refuse_other_inputs(model, examples.inputs, run.model_path)
    scores = predictions(model, prediction_batches(examples.inputs, experiment, len(examples)), experiment)
    metrics = {"loss": mean_loss(experiment, splits.outputs, examples.targets, scores)}
    metrics |= _scored(experiment, examples.targets, scores)
    name, guess = baseline(splits, len(examples))
    result = Scores(split, len(examples), metrics, _scored(experiment, examples.targets, guess), name)
    if not os.path.samestat(loaded, run.model_path.stat()):  # its scores would stand beside another model
        raise RunFailed(f"{run.id} got a better model while the one before was scored: evaluate it again")
    folder = run.made_evaluation(split)
    write_json(folder / "metrics.json", _as_json(result))
    _write_predictions(folder / "predictions.csv", splits, split, scores)
    if task in ("classification", "binary"):
        _write_classes(folder, examples.targets, decide(scores, task), splits.classes)
    return result


def prediction_batch(experiment: Experiment) -> int:
    """Returns the batch size for predictions: the training's, but at least 32 and at most 1,024.

    Always the same for one spec, since sums in another batch may round differently in the last bit.
    """
    wanted = experiment.data.batch_size
    return 1024 if wanted == "full" else min(max(int(wanted), 32), 1024)


def prediction_batches(inputs: Any, experiment: Experiment, examples: int) -> Any:
    """Returns the dataset of all inputs, in order, that `predictions` reads."""
    return ordered_batches(inputs, examples=examples, batch_size=prediction_batch(experiment))


def predictions(model: Any, batches: Any, experiment: Experiment, heard: Callable[[], None] | None = None) -> Array:
    """Returns the model's output for all inputs, in order: `(n, classes)`; `(n,)` for binary; `(n, labels or targets)`.

    `heard` is called before every batch; what it raises ends the prediction.
    """
    # An uncompiled model would choose XLA by itself wherever there is a GPU, and compile it anew for the last batch.
    model.jit_compile = experiment.hardware.xla
    with data_errors():
        output = np.asarray(model.predict(batches, verbose=0, callbacks=[Listening(heard)] if heard else None))
    return output[:, 0] if experiment.task == "binary" else output


def _scored(experiment: Experiment, truth: Array, scores: Array) -> dict[str, float]:
    return {metric.name: metric.score(truth, scores, experiment.task) for metric in experiment.training.metrics or []}


def mean_loss(experiment: Experiment, outputs: int, truth: Array, scores: Array) -> float:
    """Returns the mean loss over all examples, without regularisation penalties."""
    labels: Any = truth
    if experiment.task == "classification" and not experiment.training.loss.integer_labels:
        labels = keras.utils.to_categorical(truth, outputs)
    if experiment.task == "binary":
        labels, scores = truth[:, None].astype("float32"), scores[:, None]
    return float(np.mean(experiment.training.loss.build()(labels, scores)))  # hinge gives one value an example


def baseline(splits: Splits, examples: int) -> tuple[str, Array]:
    """Returns what a model without inputs would say, and its name: the training part's class shares, or its mean."""
    targets = splits.train.targets
    if splits.task in ("regression", "multilabel"):
        guess = targets.mean(axis=0)
        return "always the mean" if splits.task == "regression" else "always each label's share", np.tile(guess, (examples, 1))
    shares = np.bincount(targets, minlength=len(splits.classes)) / len(targets)
    name = f"always {splits.classes[int(shares.argmax())]!r}"
    return name, np.full(examples, shares[1]) if splits.task == "binary" else np.tile(shares, (examples, 1))


def _as_json(result: Scores) -> dict[str, Any]:
    return {
        "split": result.split,
        "examples": result.examples,
        "metrics": {name: {"value": value} for name, value in result.metrics.items()},
        "baseline": {"name": result.baseline_name, "metrics": result.baseline},
    }


def _write_predictions(path: Path, splits: Splits, split: str, scores: Array) -> None:
    """Writes `id,label,predicted,probability,p_<class>...`; for numbers and several labels, columns of each."""
    examples, names = splits.parts[split], splits.classes
    if splits.task in ("classification", "binary"):
        shares = [f"p_{name}" for name in names] if len(names) <= MANY_CLASSES else []
        write_table(path, ("id", "label", "predicted", "probability", *shares), _class_rows(examples, splits, scores))
        return
    columns = [f"{kind}_{name}" for kind in ("label", "predicted") for name in names]
    rows = ([one, *map(_digits, label), *map(_digits, row)] for one, label, row in _rows(examples, scores))
    write_table(path, ("id", *columns), rows)


def _class_rows(examples: Examples, splits: Splits, scores: Array) -> Iterator[list[str]]:
    names, chosen = splits.classes, decide(scores, splits.task)
    table = np.stack([1 - scores, scores], axis=1) if splits.task == "binary" else scores
    for (one, label, row), guess in zip(_rows(examples, table), chosen, strict=True):
        shares = map(_digits, row) if len(names) <= MANY_CLASSES else ()
        yield [one, names[label], names[guess], _digits(row[guess]), *shares]


def _rows(examples: Examples, table: Array) -> Iterator[tuple[str, Any, Array]]:
    return zip(examples.ids, examples.targets, table, strict=True)


def _digits(value: float) -> str:
    """Returns a float32 as text that reads back as the same bits."""
    return f"{value:.9g}"


def _write_classes(folder: Path, truth: Array, predicted: Array, classes: tuple[str, ...]) -> None:
    """Writes the per-class table and the confusion matrix, rows and columns in label order."""
    from dlcli.stages.plots import draw_confusion_matrix

    rows = [[name, *(f"{value:.6f}" for value in row[:3]), int(row[3])] for name, row in class_table(truth, predicted, classes)]
    write_table(folder / "per_class.csv", ("class", "precision", "recall", "f1", "support"), rows)
    cells, counts = np.unique(truth * len(classes) + predicted, return_counts=True)
    labels, guesses = np.divmod(cells, len(classes))
    if len(classes) > MANY_CLASSES:
        found = ((classes[row], classes[column], count) for row, column, count in zip(labels, guesses, counts, strict=True))
        write_table(folder / "confusion_pairs.csv", ("label", "predicted", "count"), found)
        return
    matrix = np.zeros((len(classes), len(classes)), dtype="int64")
    matrix[labels, guesses] = counts
    table = ([name, *row] for name, row in zip(classes, matrix.tolist(), strict=True))
    write_table(folder / "confusion_matrix.csv", ("label \\ predicted", *classes), table)
    draw_confusion_matrix(matrix, classes, folder / "confusion_matrix.png")


def class_table(truth: Array, predicted: Array, classes: tuple[str, ...]) -> Iterator[tuple[str, Array]]:
    """Yields each class with its precision, recall, F1 and support, 0 where undefined, as scikit-learn has them.

    Counted here: importing scikit-learn for it would cost every run a second and 100 MiB.
    """
    count = len(classes)
    support, guesses = np.bincount(truth, minlength=count), np.bincount(predicted, minlength=count)
    right = np.bincount(truth[truth == predicted], minlength=count)
    precision, recall = right / np.maximum(guesses, 1), right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + guesses, 1)
    yield from zip(classes, np.stack([precision, recall, f1, support], axis=1), strict=True)
