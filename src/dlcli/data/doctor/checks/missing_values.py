"""Missing values in the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor import words
from dlcli.data.doctor.check import Progress, Subject, TableCheck
from dlcli.data.doctor.issue import Issue, Severity
from dlcli.data.doctor.rows import Rows

MOSTLY = 0.3
"""Share of missing values from which on a column says more about who was measured than about what."""
_SHOWN = 20


class MissingValues(TableCheck):
    """Counts the missing values of each column, over all splits."""

    name = "missing values"
    is_fast = True

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields columns without values in a split, columns with many gaps, and all other columns with gaps."""
        rows = subject.rows
        counts = {name: _counts(rows, name) for name in rows.columns}
        sizes = np.bincount(rows.split, minlength=len(rows.splits))
        yield from _empty(rows, counts, sizes)
        shares = {name: float(gaps.sum() / len(rows)) for name, gaps in counts.items()}
        by_share = sorted((name for name, share in shares.items() if 0 < share < 1), key=lambda name: -shares[name])
        groups: tuple[tuple[list[str], Severity, str], ...] = (
            ([name for name in by_share if shares[name] >= MOSTLY], "warning", "many missing values"),
            ([name for name in by_share if shares[name] < MOSTLY], "note", "missing values"),
        )
        for names, severity, kind in groups:
            if not names:
                continue
            yield Issue(
                kind=kind,
                severity=severity,
                summary=f"{words.columns(names)} {words.has_or_have(len(names))} missing values, up to"
                f" {words.share(shares[names[0]])} of the rows",
                advice="find out why the values are missing; fill them in, or drop the column (data.source.drop). A gap becomes"
                " the mean, and a further input marks it",
                evidence=tuple(_line(rows, name, counts[name], sizes) for name in names[:_SHOWN]),
                examples=rows.ids_of(_any_gap(rows, names)),
                columns=tuple(names),
            )


def _counts(rows: Rows, name: str) -> Array:
    """Returns the number of missing values of a column in each split."""
    return np.bincount(rows.split, weights=rows.gaps(name), minlength=len(rows.splits)).astype("int64")


def _any_gap(rows: Rows, names: list[str]) -> Array:
    """Returns which rows have a gap in one of the columns, as bool `(n,)`."""
    has_gap = np.zeros(len(rows), dtype=bool)
    for name in names:
        has_gap |= rows.gaps(name)
    return has_gap


def _line(rows: Rows, name: str, counts: Array, sizes: Array) -> str:
    shares = (counts / np.maximum(sizes, 1)).tolist()
    by_split = ", ".join(f"{words.share(share)} of {split}" for split, share in zip(rows.splits, shares, strict=True))
    return f"{words.name(name)}: {int(counts.sum()):,} of {len(rows):,} values are missing ({by_split})"


def _empty(rows: Rows, counts: dict[str, Array], sizes: Array) -> Iterator[Issue]:
    """Yields the columns without any value in a split that have values in another one."""
    for number, split in enumerate(rows.splits):
        empty = [name for name, gaps in counts.items() if gaps[number] == sizes[number] and gaps.sum() < len(rows)]
        if empty:
            yield Issue(
                kind="column without values in a split",
                severity="error",
                summary=f"{words.columns(empty)} {words.has_or_have(len(empty))} no value in the {split} split, but values in"
                " others",
                advice="drop the column (data.source.drop): the model cannot learn it, or is scored without it",
                columns=tuple(empty),
            )
