"""The predictions of one split beside its labels: every score is computed from these alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import DamagedFile
from dlcli.runs import RunFolder, layout
from dlcli.runs.files import read_cells, replacing, write_table
from dlcli.runs.numbers import digits
from dlcli.runs.split_groups import GROUP, recorded_groups
from dlcli.tasks import Classes, Task
from dlcli.tasks.columns import PredictionColumns

# With more cells, predictions are stored as Parquet: a CSV file of them would take seconds to read and 50 MB.
MANY_CELLS = 5_000_000


@dataclass(frozen=True)
class Outcome:
    """Labels and predictions of one split, in the data's order.

    Attributes:
        truth: int64 class numbers `(n,)`, labels 0 or 1 float32 `(n, labels)`, or values float32 `(n, targets)`.
        scores: float32 probabilities `(n, classes)` or `(n, labels)`, or values `(n, targets)`. Read back from a file, they are
            None above 1,000 classes. Truth and scores of an output that is not a row have the shapes of its output type.
        predicted_numbers: the predicted class numbers `(n,)` where scores are None.
        losses: the loss of each example `(n,)`; None where it is not known.
        groups: the group of each example, objects `(n,)`, where examples were split by groups; else None.
        naive: the name and the scores of a guess from the inputs (`OutputType.naive`); None where there is none, or where the
            outcome was read back.
    """

    task: Task
    split: str
    ids: list[str]
    classes: tuple[str, ...]
    truth: Array
    scores: Array | None
    predicted_numbers: Array | None = None
    losses: Array | None = None
    groups: Array | None = None
    naive: tuple[str, Array] | None = None

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


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Writes `predictions.csv`, or `predictions.parquet` where there are many cells; neither for an output that is not a row.

    Columns `id,label,predicted,probability,p_<class>...`; for several labels or targets, columns of each.
    A float has nine digits, so that it reads back as the same bits. `losses.csv` beside it has the columns `id,loss`,
    and of other data than the run's own `groups.csv` the columns `id,group`, if the groups are known.
    """
    if outcome.task.output.is_row:
        _write_predictions(outcome, folder)
    if outcome.losses is None:
        (folder / layout.LOSSES).unlink(missing_ok=True)
    else:
        write_table(folder / layout.LOSSES, ("id", "loss"), zip(outcome.ids, map(_loss_cell, outcome.losses), strict=True))
    if outcome.groups is not None and outcome.split.startswith(layout.OTHER_DATA):
        write_table(folder / layout.GROUPS, ("id", GROUP), zip(outcome.ids, outcome.groups.tolist(), strict=True))
    else:
        (folder / layout.GROUPS).unlink(missing_ok=True)


def _write_predictions(outcome: Outcome, folder: Path) -> None:
    assert outcome.scores is not None
    columns = outcome.task.output.columns(outcome.truth, outcome.scores, outcome.classes)
    large = len(outcome) * (1 + len(columns)) > MANY_CELLS
    path, other_path = folder / layout.PREDICTIONS, folder / layout.PREDICTIONS_PARQUET
    if large:
        path, other_path = other_path, path
        _write_parquet(outcome.ids, columns, path)
    else:
        cells = [column if column.dtype == object else map(digits, column) for column in columns.values()]
        write_table(path, ("id", *columns), zip(outcome.ids, *cells, strict=True))
    other_path.unlink(missing_ok=True)


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
    columns = PredictionColumns(table, str(path))
    ids = columns.column("id").tolist()
    stored = task.output.read_columns(columns, tuple(run.data().get("classes") or ()))
    if not ids:
        raise DamagedFile(f"{path}: contains no predictions")
    outcome = Outcome(task, split, ids, stored.names, stored.truth, stored.scores, stored.predicted)
    recorded = recorded_groups(folder / layout.GROUPS) if split.startswith(layout.OTHER_DATA) else run.groups()
    groups = np.array([recorded.get(example, example) for example in ids], dtype=object) if recorded else None
    return replace(outcome, losses=_losses(folder, ids), groups=groups)


def _losses(folder: Path, ids: list[str]) -> Array | None:
    """Returns the loss of each example; None where there is no such file, as in runs of earlier versions."""
    path = folder / layout.LOSSES
    if not os.path.lexists(path):
        return None
    columns = PredictionColumns(_csv(path), str(path))
    if not columns.cells or columns.column("id").tolist() != ids:
        raise DamagedFile(f"{path}: its examples are not those of the predictions")
    is_counted = columns.column("loss") != ""
    losses = np.full(len(ids), np.nan)
    losses[is_counted] = replace(columns, cells={"loss": columns.column("loss")[is_counted]}).numbers("loss")
    return losses


def _csv(path: Path) -> dict[str, Array]:
    columns, rows = read_cells(path)
    return {name: np.array([row[place] for row in rows], dtype=object) for place, name in enumerate(columns)} if rows else {}


def _parquet(path: Path) -> dict[str, Array]:
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (OSError, ArrowException) as error:
        raise DamagedFile(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None
    return {name: table.column(name).to_numpy() for name in table.column_names}
