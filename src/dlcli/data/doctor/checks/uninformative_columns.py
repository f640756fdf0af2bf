"""Columns that cannot help: constants, identifiers, and categories with hardly any row for each value."""

from __future__ import annotations

from collections.abc import Iterator

from dlcli.arrays import Array
from dlcli.data.doctor import words
from dlcli.data.doctor.check import Progress, Subject, TableCheck
from dlcli.data.doctor.issue import Issue
from dlcli.data.doctor.rows import Rows, codes_of
from dlcli.spec.data.sources.table.look import named_identifier

FEWEST_ROWS = 5.0
"""Rows for each category, on average, below which a network cannot learn what a category means."""
_FEWEST_VALUES = 20
_FEWEST_IDS = 10
_DENSE = 0.8
"""Share of the numbers between the smallest and the largest that numbers of rows take, at least; some rows may be left out."""


class UninformativeColumns(TableCheck):
    """Finds constant columns, identifiers and categories of too many values. A training notes some of them too."""

    name = "columns without information"

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields an issue for each kind."""
        rows = subject.rows
        constant, identifiers, categories = list[str](), list[str](), dict[str, int]()
        for name in rows.columns:
            present = rows.present(name)
            distinct = int(codes_of(present).max(initial=-1)) + 1
            if distinct < 2 and len(rows) > 1:
                constant.append(name)
            elif rows.is_text(name):
                continue
            elif _is_identifier(name, present, distinct, len(rows), is_numeric=rows.is_numeric(name)):
                identifiers.append(name)
            elif not rows.is_numeric(name) and distinct > _FEWEST_VALUES and len(present) < FEWEST_ROWS * distinct:
                categories[name] = distinct
        yield from _constant(rows, constant)
        yield from _identifiers(rows, identifiers)
        yield from _wide(rows, categories)


def _is_identifier(name: str, present: Array, distinct: int, rows: int, *, is_numeric: bool) -> bool:
    """Whether values number or name the rows: all different, and dense whole numbers, texts, or named like identifiers."""
    if distinct < max(_FEWEST_IDS, rows) or len(present) < rows:
        return False
    if not is_numeric:
        return True
    values = present.astype("float64")
    if (values % 1 != 0).any():
        return False
    return named_identifier(name) or bool(len(values) >= _DENSE * (values.max() - values.min() + 1))


def _constant(rows: Rows, names: list[str]) -> Iterator[Issue]:
    if names:
        yield Issue(
            kind="constant column",
            severity="warning",
            summary=f"{words.columns(names)} {words.has_or_have(len(names))} the same value in all rows, or no value",
            advice="drop the column (data.source.drop)",
            evidence=tuple(_value(rows, name) for name in names),
            columns=tuple(names),
        )


def _value(rows: Rows, name: str) -> str:
    present = rows.present(name)
    value = f"is {words.name(str(present[0]))}" if len(present) else "has no value"
    return f"{words.name(name)} {value} in {len(present) or len(rows):,} of {len(rows):,} rows"


def _identifiers(rows: Rows, names: list[str]) -> Iterator[Issue]:
    if names:
        yield Issue(
            kind="identifier column",
            severity="warning",
            summary=f"{words.columns(names)} {words.has_or_have(len(names))} a different value in every row and"
            f" {'numbers or names' if len(names) == 1 else 'number or name'} the rows",
            advice="drop the column (data.source.drop): the model can only learn it by heart",
            evidence=tuple(f"{words.name(name)}: {words.names([str(v) for v in rows.columns[name][:3]])}" for name in names),
            columns=tuple(names),
        )


def _wide(rows: Rows, categories: dict[str, int]) -> Iterator[Issue]:
    """Yields the columns with too many categories, given with the number of these."""
    names = list(categories)
    if names:
        yield Issue(
            kind="high-cardinality category",
            severity="warning",
            summary=f"{words.columns(names)} {words.has_or_have(len(names))} fewer than {FEWEST_ROWS:g} rows for each category"
            " on average",
            advice="drop the column (data.source.drop), or join its rare categories",
            evidence=tuple(
                f"{words.name(name)}: {number:,} categories in {len(rows.present(name)):,} rows"
                for name, number in categories.items()
            ),
            columns=tuple(names),
        )
