"""Scores of groups of examples: by a column of the table, or of a folder's `metadata.csv`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.data.side_columns import texts
from dlcli.errors import UsageError
from dlcli.score.intervals import dependent, metric_estimate
from dlcli.score.outcome import Outcome
from dlcli.spec.data.sources import Examples, SourceSpec
from dlcli.spec.data.sources.csv import Csv
from dlcli.spec.data.sources.folder import Folder
from dlcli.spec.data.sources.image_table import ImageTable
from dlcli.spec.data.sources.metadata import METADATA, read_metadata
from dlcli.spec.training.metrics import MetricSpec

_MOST_VALUES = 20
_QUARTERS = 4
_OTHERS = "(others)"
_NONE = "(none)"


@dataclass(frozen=True)
class Slice:
    """One metric over the examples that share a column's value."""

    column: str
    value: str
    examples: int
    metric: str
    score: float
    interval: tuple[float, float] | None


def slices(outcome: Outcome, columns: dict[str, list[str]], metrics: Sequence[MetricSpec]) -> list[Slice]:
    """Returns every metric over the examples of every value of every column; its interval considers groups of examples.

    Args:
        outcome: the predictions.
        columns: by name, the value of each example as text. Numbers with many values become quarters; of many texts the
            twenty most common stay, and the others are one group.
        metrics: the run's metrics.
    """
    assert outcome.scores is not None
    rows = []
    for column, cells in columns.items():
        groups = _groups(cells)
        for value in dict.fromkeys(sorted(groups, key=_order)):
            places = np.flatnonzero(np.array([group == value for group in groups]))
            truth, scores = outcome.truth[places], outcome.scores[places]
            for metric in metrics:
                estimate = metric_estimate(metric, truth, scores, outcome.task)
                interval = dependent(
                    estimate, None if outcome.groups is None else outcome.groups[places], outcome.task
                ).interval
                rows.append(Slice(column, value, len(places), metric.name, estimate.value, interval))
    return rows


def _order(value: str) -> tuple[bool, float, str]:
    number = _number(value.partition(" to ")[0])
    return number is None, number or 0.0, value


def _groups(cells: list[str]) -> list[str]:
    values = [cell.strip() or _NONE for cell in cells]
    different = set(values)
    if len(different) <= _MOST_VALUES:
        return values
    numbers = [_number(value) for value in values]
    if all(number is not None or value == _NONE for number, value in zip(numbers, values, strict=True)):
        return _quarters(numbers)
    counts = Counter(values)
    common = set(sorted(counts, key=lambda value: (-counts[value], value))[:_MOST_VALUES])
    return [value if value in common else _OTHERS for value in values]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _quarters(numbers: list[float | None]) -> list[str]:
    finite = np.array([number for number in numbers if number is not None])
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, _QUARTERS + 1)))
    names = [f"{low:.12g} to {high:.12g}" for low, high in pairwise(edges)]
    if not names:
        return [_NONE if number is None else f"{number:.12g}" for number in numbers]
    inner = edges[1:-1]
    return [_NONE if number is None else names[int(np.searchsorted(inner, number, side="left"))] for number in numbers]


def columns_asked_for(source: SourceSpec, requested: Sequence[str], *, elsewhere: bool = False) -> tuple[str, ...]:
    """Returns the columns that a source must be asked for to slice by, as `Request.side_columns`.

    Tables of text and image folders are asked for none: `columns_of` reads their files.

    Args:
        source: the source.
        requested: the columns to slice by.
        elsewhere: whether other data is sliced, which may have other columns.

    Raises:
        UsageError: the source has no such column, or no columns at all.
    """
    if not requested or isinstance(source, (Csv, ImageTable, Folder)):
        return ()
    names = source.side_columns()
    if names == ():
        raise UsageError(f"--slice: a {getattr(source, 'kind', '')} source has no columns to slice by")
    if names is not None and not elsewhere:
        _refuse_unknown(requested, [*names], "the source")
    return tuple(requested)


def columns_of(source: Any, examples: Examples, requested: Sequence[str]) -> dict[str, list[str]]:
    """Returns the requested columns, a text for each example: of the table's file, of `metadata.csv` in the image folder, or
    the side columns of the examples.

    `metadata.csv` has a column `file_name`, the path of an image below the folder, and any other columns.

    Raises:
        UsageError: the source has no such column, or no columns at all.
        DataError: the file cannot be read.
    """
    if isinstance(source, Csv):
        return _csv_columns(source, examples, requested)
    if isinstance(source, ImageTable):
        cells, names = source.columns_of(examples.ids, requested)
        _refuse_unknown(requested, names, "the table")
        return cells
    if isinstance(source, Folder):
        return _metadata(Path(source.path), examples, requested)
    _refuse_unknown(requested, [*examples.side_columns], "the data")
    return {name: [text or "" for text in texts(examples.side_columns[name])] for name in requested}


def _csv_columns(source: Csv, examples: Examples, requested: Sequence[str]) -> dict[str, list[str]]:
    """Returns columns of the table's files, also those that the model does not use; an example's id is `<part>/<row>`."""
    parts = {example_id.rpartition("/")[0] for example_id in examples.ids}
    tables = {part: source.table(path) for part, path in source.files.items() if part in parts}
    _refuse_unknown(requested, [name for table in tables.values() for name in table.names], "the table")
    cells = {}
    for name in requested:
        texts: dict[str, str | None] = {}
        for part, table in tables.items():
            if name in table.names:
                ids = (f"{part}/{number - 1}" for number in table.numbers.tolist())
                texts |= zip(ids, table.column(name).tolist(), strict=True)
        cells[name] = [texts.get(example_id) or "" for example_id in examples.ids]
    return cells


def _metadata(folder: Path, examples: Examples, requested: Sequence[str]) -> dict[str, list[str]]:
    if not (folder / METADATA).is_file():
        raise UsageError(f"--slice: {folder} has no {METADATA} (a table with the column file_name and others)")
    row_of_file = read_metadata(folder)
    names = list(next(iter(row_of_file.values())))
    _refuse_unknown(requested, names, METADATA)
    return {name: [(row_of_file.get(example_id, {}).get(name) or "") for example_id in examples.ids] for name in requested}


def _refuse_unknown(requested: Sequence[str], names: list[str], where: str) -> None:
    from difflib import get_close_matches

    for name in requested:
        if name not in names:
            near = get_close_matches(name, names, 1)
            guess = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names[:20])}"
            raise UsageError(f"--slice: {where} has no column {name!r}; {guess}")
