"""The files of `evaluation/<split>/`: each is optional, and each row is checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from dlcli.errors import DamagedFile
from dlcli.runs import layout
from dlcli.runs.files import read_cells, read_table
from dlcli.runs.numbers import short_number
from dlcli.score.curves import Curve

_MOST_ROWS, _MOST_COLUMNS = 100, 50
"""The most rows and columns of a metric's table that are shown."""
MOST_CELLS = 150
"""The most classes with which the whole confusion matrix is shown."""
Number = Annotated[float, Field(allow_inf_nan=False)]
Perhaps = Annotated[Number | None, BeforeValidator(lambda cell: cell or None)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)


class ClassRow(_Row):
    """A row of `per_class.csv`."""

    name: str = Field(alias="class")
    precision: Number
    recall: Number
    f1: Number
    support: int


class RocRow(_Row):
    """A row of `roc_curve.csv`."""

    name: str = Field(alias="class")
    x: Number = Field(alias="false_positive_rate")
    y: Number = Field(alias="true_positive_rate")
    area: Number | None = None


class PrRow(_Row):
    """A row of `pr_curve.csv`."""

    name: str = Field(alias="class")
    x: Number = Field(alias="recall")
    y: Number = Field(alias="precision")
    area: Number | None = None


class BinRow(_Row):
    """A row of `calibration.csv`."""

    low: Number = Field(alias="from")
    high: Number = Field(alias="to")
    examples: int
    confidence: Number
    accuracy: Number


class ThresholdRow(_Row):
    """A row of `thresholds.csv`."""

    label: str
    best_by: str
    threshold: Number
    precision: Number
    recall: Number
    f1: Number
    cost: Number


class ExampleRow(_Row):
    """A row of `examples.csv`."""

    kind: str
    id: str
    label: str
    predicted: str
    probability: Perhaps
    thumbnail: str


class DecileRow(_Row):
    """A row of `deciles.csv`."""

    target: str
    decile: int
    low: Number = Field(alias="from")
    high: Number = Field(alias="to")
    examples: int
    mae: Number
    bias: Number


class SliceRow(_Row):
    """A row of `slices.csv`."""

    column: str
    value: str
    examples: int
    metric: str
    score: Number
    low: Perhaps
    high: Perhaps


Kind = TypeVar("Kind", bound=_Row)


def read_rows(path: Path, kind: type[Kind]) -> list[Kind]:
    """Returns the rows of a table, empty where there is no such file.

    Raises:
        DamagedFile: the file cannot be read, or a cell does not fit its column.
    """
    if not os.path.lexists(path):
        return []
    rows: Any = read_table(path)
    try:
        return TypeAdapter(list[kind]).validate_python(rows)  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"][1:]))
        raise DamagedFile(f"{path}:{int(first['loc'][0]) + 2}: {place}: {first['msg']}") from None


class TableCell(NamedTuple):
    """A cell of a metric's table: as in the file, and as the page shows it."""

    value: str
    text: str


@dataclass(frozen=True)
class ShownTable:
    """A metric's table, or its beginning: `omission` says how much of it is shown, `is_number` which columns hold numbers."""

    metric: str
    title: str
    note: str
    columns: Sequence[str]
    is_number: Sequence[bool]
    rows: Sequence[Sequence[TableCell]]
    omission: str


def read_metric_table(folder: Path, entry: Mapping[str, str]) -> ShownTable:
    """Returns a metric's table, at most 100 rows and 50 columns of it; `entry` is its entry in `metrics.json`.

    Raises:
        DamagedFile: the file is missing or cannot be read.
    """
    columns, rows = read_cells(folder / entry["file"])
    shown_rows = [row[:_MOST_COLUMNS] for row in rows[:_MOST_ROWS]]
    is_number = [all(map(_is_number, cells)) for cells in zip(*shown_rows, strict=True)] or [False] * len(columns)
    return ShownTable(
        metric=entry["metric"],
        title=entry["title"],
        note=entry.get("note", ""),
        columns=columns[:_MOST_COLUMNS],
        is_number=is_number,
        rows=[
            [TableCell(cell, _figure(cell) if number else cell) for cell, number in zip(row, is_number, strict=True)]
            for row in shown_rows
        ],
        omission=_omission(len(rows), len(columns), entry["file"]),
    )


def scores_table(title: str, note: str, rows: Mapping[str, Mapping[str, float | None]]) -> ShownTable:
    """Returns a table of scores: a row for each model, a column for each metric."""
    names = list(dict.fromkeys(name for scores in rows.values() for name in scores))
    cells = [[TableCell(model, model), *(_score_cell(scores.get(name)) for name in names)] for model, scores in rows.items()]
    return ShownTable("", title, note, ["model", *names], [False, *(True for _ in names)], cells, "")


def _score_cell(score: float | None) -> TableCell:
    return TableCell("", "") if score is None else TableCell(repr(score), short_number(score))


def _omission(rows: int, columns: int, file: str) -> str:
    """Returns a sentence that says how much of a table is shown; empty if all of it is."""
    counts = ((rows, _MOST_ROWS, "rows"), (columns, _MOST_COLUMNS, "columns"))
    parts = [f"{most} of {count:,} {what}" for count, most, what in counts if count > most]
    return f"The table shows {' and '.join(parts)}; {file} has all." if parts else ""


def _is_number(cell: str) -> bool:
    try:
        return not cell or isfinite(float(cell))
    except ValueError:
        return False


def _figure(cell: str) -> str:
    """Returns a number with four significant digits; a whole number with all of them."""
    return cell if not cell or cell.lstrip("-").isdecimal() else short_number(float(cell))


def curves_of(rows: Sequence[RocRow] | Sequence[PrRow]) -> list[Curve]:
    """Returns the curve of every class, with the area below it: of precision-recall curves the average precision."""
    members: dict[str, list[RocRow | PrRow]] = {}
    for row in rows:
        members.setdefault(row.name, []).append(row)
    return [_curve_of(name, points) for name, points in members.items()]


def _curve_of(name: str, rows: Sequence[RocRow | PrRow]) -> Curve:
    x, y = np.array([(row.x, row.y) for row in rows]).T
    area = rows[0].area
    if area is None:  # runs of earlier versions: the area of the stored points
        area = float(np.trapezoid(y, x) if isinstance(rows[0], RocRow) else (np.diff(x) * y[1:]).sum())
    return Curve(name, x, y, np.empty(0), area)


@dataclass(frozen=True)
class Confusion:
    """A pair of confused classes: their indices and names, the count, and the share of the label's examples."""

    row: int
    column: int
    label: str
    predicted: str
    count: int
    share: float

    @property
    def key(self) -> str:
        """The key that links cells and examples on the page."""
        return f"{self.row}-{self.column}"


@dataclass(frozen=True)
class Matrix:
    """Counts, a row for each label, a column for each prediction; `cells` are empty where there are too many classes."""

    classes: tuple[str, ...] = ()
    cells: Sequence[Sequence[int]] = ()
    confusions: Sequence[Confusion] = field(default=())

    def place(self, name: str) -> int:
        """Returns a class's index, -1 where it is not in the matrix."""
        return self.classes.index(name) if name in self.classes else -1


def read_matrix(folder: Path) -> Matrix:
    """Returns the confusion matrix of a folder; of more than a thousand classes only the counted pairs.

    Raises:
        DamagedFile: a file cannot be read, or has other contents.
    """
    path = folder / layout.CONFUSION_MATRIX
    if os.path.lexists(path):
        rows = read_table(path)
        classes = tuple(next(iter(row.values())) for row in rows)
        if not rows or list(classes) != list(rows[0])[1:]:
            raise DamagedFile(f"{path}: its rows and columns name different classes")
        cells = [[_count(cell, path) for cell in list(row.values())[1:]] for row in rows]
        return Matrix(classes, cells if len(classes) <= MOST_CELLS else (), _confusions(classes, cells))
    path = folder / layout.CONFUSION_PAIRS
    if not os.path.lexists(path):
        return Matrix()
    rows = read_table(path)
    if rows and not {"label", "predicted", "count"} <= rows[0].keys():
        raise DamagedFile(f"{path}: needs the columns label, predicted and count")
    return _of_pairs([(row["label"], row["predicted"], _count(row["count"], path)) for row in rows])


def _of_pairs(pairs: list[tuple[str, str, int]]) -> Matrix:
    classes = tuple(dict.fromkeys(name for pair in pairs for name in pair[:2]))
    place = {name: number for number, name in enumerate(classes)}
    totals: dict[str, int] = {}
    for label, _, count in pairs:
        totals[label] = totals.get(label, 0) + count
    confusions = [
        Confusion(place[label], place[predicted], label, predicted, count, count / totals[label])
        for label, predicted, count in pairs
        if label != predicted and count
    ]
    return Matrix(classes, (), _sorted(confusions))


def _confusions(classes: tuple[str, ...], cells: Sequence[Sequence[int]]) -> Sequence[Confusion]:
    confusions = [
        Confusion(row, column, classes[row], classes[column], count, count / sum(counts))
        for row, counts in enumerate(cells)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    return _sorted(confusions)


def _sorted(confusions: list[Confusion]) -> list[Confusion]:
    return sorted(confusions, key=lambda confusion: (-confusion.count, confusion.row, confusion.column))


def _count(cell: str, path: Path) -> int:
    if not (cell.isdecimal() and len(cell) < 16):
        raise DamagedFile(f"{path}: {cell[:40]!r} is not a count")
    return int(cell)
