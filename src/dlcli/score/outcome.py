"""The predictions of one split beside its labels: every score is computed from these alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DamagedFile
from dlcli.runs import RunFolder, layout
from dlcli.runs.files import read_table, replacing, write_table
from dlcli.runs.numbers import digits
from dlcli.tasks import Classes, Labels, OutputType, Task, Values, required_entry

# With more classes, a matrix or a column of probabilities per class would be larger than the rest of the run folder.
MANY_CLASSES = 1000
# With more cells, predictions are stored as Parquet: a CSV file of them would take seconds to read and 50 MB.
MANY_CELLS = 5_000_000


@dataclass(frozen=True)
class Outcome:
    """Labels and predictions of one split, in the data's order.

    Attributes:
        truth: int64 class numbers `(n,)`, labels 0 or 1 float32 `(n, labels)`, or values float32 `(n, targets)`.
        scores: float32 probabilities `(n, classes)` or `(n, labels)`, or values `(n, targets)`. Read back from a file, they are
            None above 1,000 classes.
        predicted_numbers: the predicted class numbers `(n,)` where scores are None.
        losses: the loss of each example `(n,)`; None where it is not known.
    """

    task: Task
    split: str
    ids: list[str]
    classes: tuple[str, ...]
    truth: Array
    scores: Array | None
    predicted_numbers: Array | None = None
    losses: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_one_class(self) -> bool:
        """Whether every example has one class of several."""
        return isinstance(self.task.output, Classes)

    @property
    def predicted(self) -> Array:
        """The predicted classes `(n,)`, labels 0/1 `(n, labels)`, or values `(n, targets)`."""
        if self.scores is None:
            assert self.predicted_numbers is not None
            return self.predicted_numbers
        return self.task.output.decide(self.scores)

    @property
    def has_finite_scores(self) -> bool:
        """Whether scores are stored, and all of them are finite."""
        return self.scores is not None and bool(np.isfinite(self.scores).all())


def write_outcome(outcome: Outcome, folder: Path) -> Path:
    """Writes `predictions.csv`, or `predictions.parquet` where there are many cells, and returns the file.

    Columns `id,label,predicted,probability,p_<class>...`; for several labels or targets, columns of each.
    A float has nine digits, so that it reads back as the same bits. `losses.csv` beside it has the columns `id,loss`.
    """
    columns = _columns(outcome)
    large = len(outcome) * (1 + len(columns)) > MANY_CELLS
    path, other_path = folder / layout.PREDICTIONS, folder / layout.PREDICTIONS_PARQUET
    if large:
        path, other_path = other_path, path
        _write_parquet(outcome.ids, columns, path)
    else:
        cells = [column if column.dtype == object else map(digits, column) for column in columns.values()]
        write_table(path, ("id", *columns), zip(outcome.ids, *cells, strict=True))
    other_path.unlink(missing_ok=True)
    if outcome.losses is None:
        (folder / layout.LOSSES).unlink(missing_ok=True)
    else:
        write_table(folder / layout.LOSSES, ("id", "loss"), zip(outcome.ids, map(_loss_cell, outcome.losses), strict=True))
    return path


def _columns(outcome: Outcome) -> dict[str, Array]:
    """Returns the columns after the ids: text as objects, numbers as float32."""
    writer = required_entry(_WRITERS, outcome.task, f"`{layout.PREDICTIONS}`")
    assert outcome.scores is not None
    return writer(outcome.truth, outcome.predicted, outcome.scores, outcome.classes)


def _class_columns(truth: Array, predicted: Array, scores: Array, classes: Sequence[str]) -> dict[str, Array]:
    names = np.array(classes, dtype=object)
    columns = {"label": names[truth], "predicted": names[predicted]}
    columns["probability"] = scores[np.arange(len(predicted)), predicted]
    named_classes = classes if len(classes) <= MANY_CLASSES else ()
    return columns | {f"p_{name}": scores[:, place] for place, name in enumerate(named_classes)}


def _columns_of_names(truth: Array, _: Array, scores: Array, names: Sequence[str]) -> dict[str, Array]:
    labels = {f"label_{name}": truth[:, place].astype("float32") for place, name in enumerate(names)}
    return labels | {f"predicted_{name}": scores[:, place] for place, name in enumerate(names)}


_WRITERS: dict[type[OutputType], Callable[[Array, Array, Array, Sequence[str]], dict[str, Array]]] = {
    Classes: _class_columns,
    Labels: _columns_of_names,
    Values: _columns_of_names,
}


def _loss_cell(loss: float) -> str:
    """Returns a loss as text: empty for an example that does not count in the loss."""
    return digits(loss) if isfinite(loss) else ""


def _write_parquet(ids: list[str], columns: dict[str, Array], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    arrays = [pyarrow.array(ids), *(pyarrow.array(column) for column in columns.values())]
    with replacing(path) as temporary:
        parquet.write_table(pyarrow.Table.from_arrays(arrays, ["id", *columns]), temporary)


def has_outcome(run: RunFolder, split: str) -> bool:
    """Whether predictions of a split are stored."""
    folder = run.evaluation(split)
    return any(os.path.lexists(folder / name) for name in (layout.PREDICTIONS, layout.PREDICTIONS_PARQUET))


def read_outcome(run: RunFolder, split: str) -> Outcome:
    """Returns the stored predictions of one split of a run.

    Raises:
        DamagedFile: there are none, or the file has other contents.
    """
    folder, task = run.evaluation(split), run.experiment().task
    path = folder / layout.PREDICTIONS_PARQUET
    table = _parquet(path) if os.path.lexists(path) else _csv(folder / layout.PREDICTIONS)
    path = path if os.path.lexists(path) else folder / layout.PREDICTIONS
    ids = _column(table, "id", path).tolist()
    reader = required_entry(_READERS, task, f"`{layout.PREDICTIONS}`")
    outcome = reader(Outcome(task, split, ids, tuple(run.data().get("classes") or ()), np.zeros(0), None), table, path)
    if not ids:
        raise DamagedFile(f"{path}: contains no predictions")
    return replace(outcome, losses=_losses(folder, ids))


def _read_names(outcome: Outcome, table: dict[str, Array], path: Path) -> Outcome:
    """Returns an outcome with the columns of each label or target."""
    names = tuple(name.removeprefix("label_") for name in table if name.startswith("label_"))
    if not names:
        raise DamagedFile(f"{path}: contains no predictions")
    truth, scores = (np.stack([_numbers(table, f"{word}_{name}", path) for name in names], 1) for word in _WORDS)
    return replace(outcome, classes=names, truth=truth, scores=scores)


_WORDS = ("label", "predicted")


def _losses(folder: Path, ids: list[str]) -> Array | None:
    """Returns the loss of each example; None where there is no such file, as in runs of earlier versions."""
    path = folder / layout.LOSSES
    if not os.path.lexists(path):
        return None
    table = _csv(path)
    if not table or _column(table, "id", path).tolist() != ids:
        raise DamagedFile(f"{path}: its examples are not those of the predictions")
    is_counted = _column(table, "loss", path) != ""
    losses = np.full(len(ids), np.nan)
    losses[is_counted] = _numbers({"loss": table["loss"][is_counted]}, "loss", path)
    return losses


def _read_classes(outcome: Outcome, table: dict[str, Array], path: Path) -> Outcome:
    """Returns an outcome with one class for each example; without probabilities where there are many classes."""
    label, predicted = (_class_numbers(outcome.classes, _column(table, word, path), word, path) for word in _WORDS)
    if len(outcome.classes) > MANY_CLASSES:
        return replace(outcome, truth=label, predicted_numbers=predicted)
    scores = np.stack([_numbers(table, f"p_{name}", path) for name in outcome.classes], axis=1)
    return replace(outcome, truth=label, scores=scores)


def _class_numbers(classes: Sequence[str], column: Array, word: str, path: Path) -> Array:
    number = {name: place for place, name in enumerate(classes)}
    names = column.tolist()
    unknown = next((name for name in names if name not in number), None)
    if unknown is not None:
        raise DamagedFile(f"{path}: {word}: the run has no class {str(unknown)[:40]!r}")
    return np.array([number[name] for name in names], dtype="int64")


_READERS: dict[type[OutputType], Callable[[Outcome, dict[str, Array], Path], Outcome]] = {
    Classes: _read_classes,
    Labels: _read_names,
    Values: _read_names,
}


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
