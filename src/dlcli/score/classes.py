"""The per-class table and the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.runs import layout
from dlcli.runs.files import write_table
from dlcli.score.outcome import Outcome
from dlcli.tasks.columns import MANY_CLASSES


def write_classes(folder: Path, outcome: Outcome) -> None:
    """Writes the per-class table and the confusion matrix, counts and shares, rows and columns in label order."""
    from dlcli.charts.confusion import draw_confusion_matrix

    classes = outcome.classes
    table = class_table(outcome.truth, outcome.predicted, classes)
    rows = [[name, *(f"{value:.6f}" for value in row[:3]), int(row[3])] for name, row in table]
    write_table(folder / layout.PER_CLASS, ("class", "precision", "recall", "f1", "support"), rows)
    cells, counts = np.unique(outcome.truth * len(classes) + outcome.predicted, return_counts=True)
    labels, guesses = np.divmod(cells, len(classes))
    if len(classes) > MANY_CLASSES:
        pairs = ((classes[row], classes[column], count) for row, column, count in zip(labels, guesses, counts, strict=True))
        write_table(folder / layout.CONFUSION_PAIRS, ("label", "predicted", "count"), pairs)
        return
    matrix = np.zeros((len(classes), len(classes)), dtype="int64")
    matrix[labels, guesses] = counts
    _write_matrix(folder / layout.CONFUSION_MATRIX, classes, matrix.tolist())
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    _write_matrix(folder / layout.CONFUSION_SHARES, classes, [[f"{share:.6f}" for share in row] for row in shares])
    draw_confusion_matrix(matrix, classes, folder / layout.CONFUSION_PICTURE)


def _write_matrix(path: Path, classes: tuple[str, ...], rows: list[list[Any]]) -> None:
    write_table(path, ("label \\ predicted", *classes), ([name, *row] for name, row in zip(classes, rows, strict=True)))


def class_table(truth: Array, predicted: Array, classes: tuple[str, ...]) -> Iterator[tuple[str, Array]]:
    """Yields each class with its precision, recall, F1 and support, 0 where undefined, as in scikit-learn.

    They are counted here because importing scikit-learn would cost every run a second and 100 MiB.
    """
    count = len(classes)
    support, guesses = np.bincount(truth, minlength=count), np.bincount(predicted, minlength=count)
    correct = np.bincount(truth[truth == predicted], minlength=count)
    yield from zip(classes, _rates(correct, guesses, support), strict=True)


def label_table(truth: Array, predicted: Array, labels: tuple[str, ...]) -> Iterator[tuple[str, Array]]:
    """Yields each label of a multilabel task with the same four values; the arrays are 0/1 `(n, labels)`."""
    correct = (truth * predicted).sum(axis=0)
    yield from zip(labels, _rates(correct, predicted.sum(axis=0), truth.sum(axis=0)), strict=True)


def write_labels(folder: Path, outcome: Outcome) -> None:
    """Writes the per-class table of a multilabel task."""
    table = label_table(outcome.truth.astype("int64"), outcome.predicted, outcome.classes)
    rows = [[name, *(f"{value:.6f}" for value in row[:3]), int(row[3])] for name, row in table]
    write_table(folder / layout.PER_CLASS, ("class", "precision", "recall", "f1", "support"), rows)


def _rates(correct: Array, guesses: Array, support: Array) -> Array:
    precision, recall = correct / np.maximum(guesses, 1), correct / np.maximum(support, 1)
    return np.stack([precision, recall, 2 * correct / np.maximum(support + guesses, 1), support], axis=1)
