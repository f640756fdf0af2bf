"""Rows of a table to be predicted on, some at a time: read as the training's table was, bad rows left out and named."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from dlcli.errors import DataError
from dlcli.spec.sources.csv import Csv

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rows:
    """Some rows of a table: their numbers, from 1 below the header, and their columns `(n,)` as a source gives them.

    `faults` says what is wrong with each of the rows that were left out, by its number.
    """

    numbers: list[int]
    columns: dict[str, Array]
    faults: dict[int, str] = field(default_factory=dict)


def read_rows(source: Csv, lines: Iterable[str], columns: Mapping[str, bool], *, at_once: int) -> Iterator[Rows]:
    """Yields a table's rows, `at_once` at a time; only so many are held.

    A row that is longer than the header, or has a cell that is no number where one is needed, is left out. A shorter one has
    gaps, as in training. Columns that are not asked for, such as the target, are passed over.

    Args:
        source: how the training's table was written: its separator, decimals and marks of gaps.
        lines: the text, its header first.
        columns: names of the columns to read, each with whether it holds numbers.
        at_once: how many rows.

    Raises:
        DataError: the text is no table in UTF-8, or its header lacks columns.
    """
    reader = csv.reader(lines, delimiter=source.separator, skipinitialspace=True)
    places = _places(_next(reader) or [], columns)
    records = enumerate(_records(reader), 1)
    while chunk := list(islice(records, at_once)):
        yield _rows(source, chunk, columns, places)


def _records(reader: Any) -> Iterator[list[str]]:
    """Yields the rows below the header; empty and blank lines are none, as for pandas."""
    while (row := _next(reader)) is not None:
        if len(row) > 1 or "".join(row).strip():
            yield row


def _next(reader: Any) -> list[str] | None:
    try:
        return next(reader, None)
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: no table: {error}") from None


def _places(header: list[str], columns: Iterable[str]) -> dict[str, int]:
    """Returns where each column stands; the last entry, by the name "", is the header's width.

    Raises:
        DataError: some are missing, or stand twice.
    """
    missing = [name for name in columns if name not in header]
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing[:20]) + (", ..." if len(missing) > 20 else "")
        words = "is empty" if not header else f"has {', '.join(header[:20])}"
        raise DataError(f"lacks the column{'s' if len(missing) > 1 else ''} {listed}; its header {words}")
    twice = next((name for name in columns if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"its header has the column `{twice}` twice")
    return {name: header.index(name) for name in columns} | {"": len(header)}


def _rows(source: Csv, chunk: list[tuple[int, list[str]]], columns: Mapping[str, bool], places: dict[str, int]) -> Rows:
    import numpy as np

    width = places[""]
    faults = {number: f"{len(row)} cells below a header of {width}" for number, row in chunk if len(row) > width}
    kept = [(number, row) for number, row in chunk if number not in faults]
    if not kept:
        return Rows([], {}, faults)
    table = _table(source, [[row[places[name]] if places[name] < len(row) else "" for name in columns] for _, row in kept])
    numbers = np.array([number for number, _ in kept], dtype="int64")
    read: dict[str, Array] = {}
    good = np.ones(len(kept), dtype=bool)
    for place, (name, is_number) in enumerate(columns.items()):
        column = table[place]
        if not is_number:
            read[name] = column.fillna("").to_numpy(dtype=object)
            continue
        read[name], wrong = _as_numbers(source, column)
        for at in np.flatnonzero(wrong & good):
            faults[int(numbers[at])] = f"column `{name}`: {str(column.iloc[at])[:60]!r} is no number, or too large for one"
        good &= ~wrong
    return Rows(numbers[good].tolist(), {name: values[good] for name, values in read.items()}, dict(sorted(faults.items())))


def _table(source: Csv, cells: list[list[str]]) -> pd.DataFrame:
    """Returns cells as pandas reads them from a training file: as text, with gaps as NaN."""
    import pandas as pd

    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(cells)
    text.seek(0)
    names = list(range(len(cells[0])))
    return pd.read_csv(text, header=None, names=names, index_col=False, dtype=str, na_values=source.missing)


def _as_numbers(source: Csv, column: Any) -> tuple[Array, Array]:
    """Returns a column as float32 with NaN for gaps, and which cells are neither numbers nor gaps, or do not fit."""
    import numpy as np

    values = source.numbers(column).to_numpy(dtype="float64")
    with np.errstate(over="ignore"):
        small = values.astype("float32")
    return small, (np.isnan(values) & column.notna().to_numpy()) | np.isinf(small)
