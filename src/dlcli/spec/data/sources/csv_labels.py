"""The targets of a table: labels as text or numbers, the same in every file; rows without a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlcli.errors import DataError
from dlcli.spec.data.sources.labels import class_name, label_notes, labels_of
from dlcli.spec.data.sources.table.cells import MARKS, is_whole
from dlcli.spec.data.sources.table.contents import Table, gaps_in, numbers_in
from dlcli.spec.data.sources.table.facts import number_hint
from dlcli.tasks import Task

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.spec.data.sources.csv import Csv

TRUTH = {"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"}
_AMOUNTS = 50
"""More different whole numbers than this may be amounts, not classes."""
_EXACT_DIGITS = 15
"""Digits of a number that a float64 distinguishes from all others."""


def target_columns(source: Csv, table: Table) -> list[Array]:
    """Returns the target columns of a table.

    Raises:
        DataError: the table has no such column.
    """
    absent = [name for name in source.named(source.targets, table.names) if name not in table.names]
    if absent:
        raise DataError(f"{table.path}: no target column `{absent[0]}`; without labels, the rows can only be used with predict")
    return [table.column(name) for name in source.named(source.targets, table.names)]


def with_targets(source: Csv, table: Table) -> tuple[Table, list[str]]:
    """Returns the rows that have a target, and notes on the rows that are excluded.

    Raises:
        DataError: some rows have no target, and `missing_target` is `stop`.
    """
    import numpy as np

    gaps = np.zeros(len(table), dtype=bool)
    for column in target_columns(source, table):
        gaps |= gaps_in(column)
    how = _which_marks(source, table, gaps)
    if gaps.any() and source.missing_target == "stop":
        first = table.numbers[int(gaps.argmax())]
        raise DataError(
            f"{table.path}: {int(gaps.sum())} of {len(table)} rows have no value in the target column"
            f" ({', '.join(source.targets)}), the first in row {first} below the header{how};"
            " remove these rows, or set `data.source.missing_target: drop`"
        )
    if gaps.all() and len(gaps):
        raise DataError(f"{table.path}: no row has a value in the target column ({', '.join(source.targets)}){how}")
    labelled = table.without(gaps, f"without a target{how}")
    if not labelled.left_out:
        return labelled, []
    total = len(labelled) + sum(labelled.left_out.values())
    words = {"the row is empty": "empty", "the row repeats the header": "like the header"}
    reasons = ", ".join(f"{count:,} {words.get(reason, reason)}" for reason, count in labelled.left_out.items())
    return labelled, [
        f"{total:,} rows, of which {len(labelled):,} {'is' if len(labelled) == 1 else 'are'} used; left out: {reasons}"
    ]


def _which_marks(source: Csv, table: Table, gaps: Array) -> str:
    """Returns which cells were read as gaps, as text; "" if all are empty."""
    cells: Counter[str] = Counter()
    for name in source.targets:
        cells.update(cell for cell, gap in zip(table.raw.get(name, []), gaps, strict=False) if gap and cell in source.marks)
    marks = [mark for mark, _ in cells.most_common() if mark]
    if not marks:
        return ""
    counts_in_words = ", ".join(f"{cells[mark]:,} {'hold' if cells[mark] > 1 else 'holds'} {mark!r}" for mark in marks[:5])
    usual = [mark for mark in marks if mark in MARKS and mark not in source.missing]
    remedy = f"; if it is a class: `data.source.not_missing: [{', '.join(usual[:5])}]`" if usual else ""
    return f" ({counts_in_words}, which marks a missing value{remedy})"


def labels(source: Csv, table: Table, task: Task, classes: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...] | None]:
    """Returns a table's targets, and the names of the classes or targets.

    Raises:
        DataError: a label is no number where one is needed, or unknown to `classes`.
    """
    columns = target_columns(source, table)
    values = _values(source, table, columns, task, classes)
    try:
        targets, class_names = labels_of(values, task, classes, table.path)
    except DataError as error:
        raise DataError(f"{error}{_remedy(source, columns, task)}") from None
    return targets, class_names or tuple(source.targets)


def _values(source: Csv, table: Table, columns: Sequence[Array], task: Task, classes: tuple[str, ...] | None) -> Array:
    """Returns labels as numbers where all are, else as text; true and false are 1 and 0 where numbers are needed."""
    import numpy as np

    if task.output.reads_columns:
        columns = [_replaced(column, TRUTH) for column in columns]
    elif source.revision > 1 and len(columns) == 1:
        return _class_labels(source, table, columns[0], classes)
    read = []
    for name, column in zip(source.targets, columns, strict=True):
        numbers = _numbers(source, table, name, column)
        read.append(column if np.isnan(numbers).any() else numbers)
    values = np.stack([column.astype(object) for column in read], axis=1)
    return values if values.shape[1] > 1 else _native(values[:, 0])


def _numbers(source: Csv, table: Table, name: str, column: Array) -> Array:
    decorated = name in source.numeric
    return numbers_in(column, decimal=table.decimal, thousands=source.thousands, decorated=decorated, revision=source.revision)


def _replaced(column: Array, words: dict[str, str]) -> Array:
    import numpy as np

    return np.array([words.get(cell, cell) for cell in column.tolist()], dtype=object)


def _class_labels(source: Csv, table: Table, column: Array, classes: tuple[str, ...] | None) -> Array:
    """Returns class labels; the other labels of a file do not change what a label means.

    A number is its value, so that 3.0 is 3; but 01 is a text, and so is what has more digits than a number holds.
    """
    import numpy as np

    different = sorted(set(column.tolist()))
    values = numbers_in(np.array(different, dtype=object), decimal=table.decimal, thousands=source.thousands)
    names = {
        label: class_name(float(value)) if _is_plain(label) and np.isfinite(value) else label
        for label, value in zip(different, values, strict=True)
    }
    if classes is None and all(_is_plain(label) for label in different) and np.isfinite(values).all():
        number = dict(zip(different, values.tolist(), strict=True))
        return np.array([number[label] for label in column.tolist()], dtype="float64")
    if classes is not None:
        names = {label: _matching_class(name, classes) for label, name in names.items()}
    return np.array([names[label] for label in column.tolist()], dtype=object)


def _matching_class(name: str, classes: tuple[str, ...]) -> str:
    """Returns a class's name; true and false match however the training file writes them."""
    if name in classes or name not in TRUTH or not all(other in TRUTH for other in classes):
        return name
    return next((other for other in classes if TRUTH[other] == TRUTH[name]), name)


def _is_plain(label: str) -> bool:
    """Whether a label is a number whose text holds nothing but its value: `3.0`, not `03`."""
    digits = label.lstrip("+-")
    leading = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    return not leading and sum(map(str.isdigit, digits)) <= _EXACT_DIGITS


def _native(values: Array) -> Array:
    """Returns a column of objects as float64 where it holds numbers, so that classes are sorted as numbers."""
    return values.astype("float64") if isinstance(values[0], float) else values


def _remedy(source: Csv, columns: Sequence[Array], task: Task) -> str:
    """Returns the remedy for numbers that are written as text; "" for other targets."""
    if not task.output.is_numeric:
        return ""
    for name, column in zip(source.targets, columns, strict=True):
        hint = number_hint(name, Counter(cell for cell in column.tolist() if cell is not None))
        if hint and name not in source.numeric:
            return hint
    return ""


def class_notes(classes: Sequence[str], rows: int) -> list[str]:
    """Returns notes on the classes: names that may mean the same class, and amounts that are probably not classes."""
    notes = label_notes(classes)
    if len(classes) > _AMOUNTS and 2 * len(classes) > rows and all(map(is_whole, classes)):
        notes.append(
            f"the target has {len(classes):,} different whole numbers in {rows:,} rows; if they are amounts, use `task:"
            " regression`"
        )
    return notes
