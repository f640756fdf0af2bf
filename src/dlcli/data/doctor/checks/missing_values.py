"""Missing values in the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dlcli.data.doctor import words
from dlcli.data.doctor.check import Progress, Subject, TableCheck
from dlcli.data.doctor.issue import Issue

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
        shares = {name: float(gaps.mean()) for name, gaps in rows.gaps.items()}
        yield from _empty(subject)
        many = sorted((name for name, part in shares.items() if MOSTLY <= part < 1), key=lambda name: -shares[name])
        some = sorted((name for name, part in shares.items() if 0 < part < MOSTLY), key=lambda name: -shares[name])
        for group, severity, kind in ((many, "warning", "many missing values"), (some, "note", "missing values")):
            if not group:
                continue
            gaps = np.any([rows.gaps[name] for name in group], axis=0)
            yield Issue(
                kind=kind,
                severity="warning" if severity == "warning" else "note",
                summary=f"{words.columns(group)} {words.has_or_have(len(group))} missing values, up to"
                f" {words.share(shares[group[0]])} of the rows",
                advice="find out why the values are missing; fill them in, or drop the column (data.source.drop). A gap becomes"
                " the mean, and a further input marks it",
                evidence=tuple(_line(subject, name) for name in group[:_SHOWN]),
                examples=rows.ids_of(gaps),
                columns=tuple(group),
            )


def _line(subject: Subject, name: str) -> str:
    rows = subject.rows
    gaps = rows.gaps[name]
    by_split = ", ".join(
        f"{words.share(float(gaps[rows.split == number].mean()))} of {split}" for number, split in enumerate(rows.splits)
    )
    return f"{words.name(name)}: {int(gaps.sum()):,} of {len(rows):,} values are missing ({by_split})"


def _empty(subject: Subject) -> Iterator[Issue]:
    """Yields the columns without any value in a split that have values in another one."""
    rows = subject.rows
    for number, split in enumerate(rows.splits):
        is_here = rows.split == number
        empty = [name for name, gaps in rows.gaps.items() if gaps[is_here].all() and not gaps.all()]
        if empty:
            yield Issue(
                kind="column without values in a split",
                severity="error",
                summary=f"{words.columns(empty)} {words.has_or_have(len(empty))} no value in the {split} split, but values in"
                " others",
                advice="drop the column (data.source.drop): the model cannot learn it, or is scored without it",
                columns=tuple(empty),
            )
