"""The predictions of one part of the data beside its labels: everything that is scored is computed from this alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.errors import DamagedFile
from dlcli.runs import Run, layout
from dlcli.runs.files import read_table, replacing, write_table
from dlcli.spec.training.metrics import decide

Array = np.ndarray[Any, Any]
# Above it a matrix, or a column of probabilities for each class, would be larger than all else in the run folder.
MANY_CLASSES = 1000
# Cells above which predictions are kept as Parquet: a CSV of them would take seconds to read and 50 MB.
MANY_CELLS = 5_000_000


@dataclass(frozen=True)
class Outcome:
    """Labels and predictions of one part, in the data's order.

    `truth`: int64 class numbers `(n,)` for classification and binary; 0/1 float32 `(n, labels)` for multilabel; float32
    `(n, targets)` for regression. `scores`: the model's output, float32: probabilities `(n, classes)`, `(n,)` of the second
    class for binary, `(n, labels)`; values `(n, targets)`. Read back from a file, `scores` are None above 1,000 classes.
    `given` is the predicted class number `(n,)` where scores are None. `losses`: the loss of each example `(n,)`; None where it
    is not known.
    """

    task: str
    split: str
    ids: list[str]
    classes: tuple[str, ...]
    truth: Array
    scores: Array | None
    given: Array | None = None
    losses: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_one_class(self) -> bool:
        """Whether every example has one class of several."""
        return self.task in ("classification", "binary")

    @property
    def predicted(self) -> Array:
        """The predicted classes `(n,)`, labels 0/1 `(n, labels)`, or values `(n, targets)`."""
        if self.scores is None:
            assert self.given is not None
            return self.given
        return self.scores if self.task == "regression" else decide(self.scores, self.task)

    @property
    def shares(self) -> Array:
        """The probability of every class `(n, classes)`, for a binary task of both."""
        assert self.scores is not None
        return np.stack([1 - self.scores, self.scores], axis=1) if self.task == "binary" else self.scores


def write_outcome(outcome: Outcome, folder: Path) -> Path:
    """Writes `predictions.csv`, or `predictions.parquet` where there are many cells, and returns the file.

    Columns `id,label,predicted,probability,p_<class>...`; for regression and several labels, columns of each target or label.
    A float has nine digits, so that it reads back as the same bits. `losses.csv` beside it has the columns `id,loss`.
    """
    large = len(outcome) * len(_columns(outcome)) > MANY_CELLS
    path, other = folder / layout.PREDICTIONS, folder / layout.PREDICTIONS_PARQUET
    if large:
        path, other = other, path
        _write_parquet(outcome, path)
    else:
        write_table(path, _columns(outcome), _rows(outcome))
    other.unlink(missing_ok=True)
    if outcome.losses is None:
        (folder / layout.LOSSES).unlink(missing_ok=True)
    else:
        write_table(folder / layout.LOSSES, ("id", "loss"), zip(outcome.ids, map(_loss_cell, outcome.losses), strict=True))
    return path


def _columns(outcome: Outcome) -> list[str]:
    names = outcome.classes
    if outcome.has_one_class:
        return ["id", "label", "predicted", "probability", *(f"p_{name}" for name in _shown(outcome))]
    return ["id", *(f"label_{name}" for name in names), *(f"predicted_{name}" for name in names)]


def _shown(outcome: Outcome) -> tuple[str, ...]:
    """Returns the classes whose probabilities are kept."""
    return outcome.classes if len(outcome.classes) <= MANY_CLASSES else ()


def _rows(outcome: Outcome) -> Iterator[list[str]]:
    if not outcome.has_one_class:
        assert outcome.scores is not None
        for one, label, row in zip(outcome.ids, outcome.truth, outcome.scores, strict=True):
            yield [one, *map(_digits, label), *map(_digits, row)]
        return
    names, table = outcome.classes, outcome.shares
    for one, label, guess, row in zip(outcome.ids, outcome.truth, outcome.predicted, table, strict=True):
        shares = map(_digits, row) if _shown(outcome) else ()
        yield [one, names[label], names[guess], _digits(row[guess]), *shares]


def _loss_cell(loss: float) -> str:
    """Returns a loss as text: empty for an example that does not count in the loss."""
    return _digits(loss) if isfinite(loss) else ""


def _digits(value: float) -> str:
    return f"{value:.9g}"


def _write_parquet(outcome: Outcome, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    columns: list[Any] = [outcome.ids]
    if outcome.has_one_class:
        names, table, guess = np.array(outcome.classes, dtype=object), outcome.shares, outcome.predicted
        columns += [names[outcome.truth], names[guess], table[np.arange(len(guess)), guess]]
        columns += [*table.T] if _shown(outcome) else []
    else:
        assert outcome.scores is not None
        columns += [*outcome.truth.astype("float32").T, *outcome.scores.T]
    with replacing(path) as temporary:
        parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array(one) for one in columns], _columns(outcome)), temporary)


def has_outcome(run: Run, split: str) -> bool:
    """Whether predictions of a part are kept."""
    folder = run.evaluation(split)
    return any(os.path.lexists(folder / name) for name in (layout.PREDICTIONS, layout.PREDICTIONS_PARQUET))


def read_outcome(run: Run, split: str) -> Outcome:
    """Returns the kept predictions of one part of a run.

    Raises:
        DamagedFile: there are none, or the file holds something else.
    """
    folder, task = run.evaluation(split), run.experiment().task
    path = folder / layout.PREDICTIONS_PARQUET
    table = _parquet(path) if os.path.lexists(path) else _csv(folder / layout.PREDICTIONS)
    path = path if os.path.lexists(path) else folder / layout.PREDICTIONS
    ids = _column(table, "id", path).tolist()
    if task in ("classification", "binary"):
        return _of_classes(run, split, ids, table, path)
    names = tuple(name.removeprefix("label_") for name in table if name.startswith("label_"))
    truth = np.stack([_numbers(table, f"label_{name}", path) for name in names], axis=1) if names else np.zeros((0, 0))
    scores = np.stack([_numbers(table, f"predicted_{name}", path) for name in names], axis=1) if names else truth
    if not names or not len(ids):
        raise DamagedFile(f"{path}: holds no predictions")
    return Outcome(task, split, ids, names, truth, scores, losses=_losses(folder, ids))


def _losses(folder: Path, ids: list[str]) -> Array | None:
    """Returns the loss of each example; None where there is no file of them, as in runs of earlier versions."""
    path = folder / layout.LOSSES
    if not os.path.lexists(path):
        return None
    table = _csv(path)
    if not table or _column(table, "id", path).tolist() != ids:
        raise DamagedFile(f"{path}: its examples are not those of the predictions")
    counted = _column(table, "loss", path) != ""
    losses = np.full(len(ids), np.nan)
    losses[counted] = _numbers({"loss": table["loss"][counted]}, "loss", path)
    return losses


def _of_classes(run: Run, split: str, ids: list[str], table: dict[str, Array], path: Path) -> Outcome:
    classes = tuple(run.data().get("classes") or ())
    number = {name: place for place, name in enumerate(classes)}
    found = {}
    for column in ("label", "predicted"):
        names = _column(table, column, path).tolist()
        odd = next((name for name in names if name not in number), None)
        if odd is not None:
            raise DamagedFile(f"{path}: {column}: the run has no class {str(odd)[:40]!r}")
        found[column] = np.array([number[name] for name in names], dtype="int64")
    folder = path.parent
    if not ids:
        raise DamagedFile(f"{path}: holds no predictions")
    task = run.experiment().task
    if len(classes) > MANY_CLASSES:
        return Outcome(task, split, ids, classes, found["label"], None, found["predicted"], _losses(folder, ids))
    if task == "binary":
        scores = _numbers(table, f"p_{classes[-1]}", path)
    else:
        scores = np.stack([_numbers(table, f"p_{name}", path) for name in classes], axis=1)
    return Outcome(task, split, ids, classes, found["label"], scores, losses=_losses(folder, ids))


def _csv(path: Path) -> dict[str, Array]:
    rows = read_table(path)
    return {name: np.array([row[name] for row in rows], dtype=object) for name in (rows[0] if rows else ())}


def _parquet(path: Path) -> dict[str, Array]:
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (OSError, ArrowException) as error:
        raise DamagedFile(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _column(table: dict[str, Array], name: str, path: Path) -> Array:
    if name not in table:
        raise DamagedFile(f"{path}: lacks the column {name!r}")
    return table[name]


def _numbers(table: dict[str, Array], name: str, path: Path) -> Array:
    column = _column(table, name, path)
    try:
        numbers: Array = column.astype("float64").astype("float32")
    except (TypeError, ValueError):
        raise DamagedFile(f"{path}: {name}: contains a cell that is not a number") from None
    if not all(map(isfinite, numbers.tolist())):
        raise DamagedFile(f"{path}: {name}: contains a number that is not finite")
    return numbers
