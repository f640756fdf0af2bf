"""Columns that hold the same information twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from hashlib import blake2b

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor import words
from dlcli.data.doctor.check import Progress, Subject, TableCheck, first_columns
from dlcli.data.doctor.issue import Issue
from dlcli.data.doctor.rows import Rows, codes_of

SAME = 1 - 1e-6
"""Absolute correlation from which on two columns of numbers are one in two units; float32 rounds it by less."""
_MOST_COLUMNS, _MOST_ROWS = 1000, 4000
_FEWEST_ROWS = 10


class DuplicateColumns(TableCheck):
    """Finds equal columns, numbers in two units, and categories under two names.

    At most the first 1,000 columns are compared, by 4,000 evenly spaced rows; pairs are confirmed on all rows.
    """

    name = "duplicate columns"
    is_fast = True

    def sample(self, subject: Subject) -> str:
        """Returns the number of columns that are compared, if there are more."""
        return first_columns(subject, _MOST_COLUMNS)

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields at most one issue."""
        rows = subject.rows
        if len(rows) < _FEWEST_ROWS:
            return
        places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype("int64"))
        pairs = [*_numbers(rows, places), *_categories(rows, places)]
        if len(places) < len(rows):
            pairs = [pair for pair in pairs if _is_same(rows, *pair)]
        if pairs:
            copies = tuple(dict.fromkeys(copy for _, copy in pairs))
            yield Issue(
                kind="duplicate column",
                severity="warning",
                summary=f"{words.columns(copies)} {words.has_or_have(len(copies))} the same information as another column",
                advice="keep one column of each pair (data.source.drop): importances are divided among copies",
                evidence=tuple(f"{words.name(copy)} is {words.name(first)}, perhaps in another unit" for first, copy in pairs),
                columns=copies,
            )


def _is_same(rows: Rows, name: str, other: str) -> bool:
    """Whether two columns hold the same information in all rows."""
    if not rows.is_numeric(name):
        return np.array_equal(rows.codes(name), rows.codes(other))
    gaps = rows.gaps(name)
    if not np.array_equal(gaps, rows.gaps(other)):
        return False
    first, second = (_standardized(rows.columns[column][~gaps]) for column in (name, other))
    return bool(abs(first @ second) / len(first) > SAME)


def _standardized(values: Array) -> Array:
    """Returns numbers with mean 0 and standard deviation 1; none of a constant."""
    values = values.astype("float64")
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-6 * np.abs(values).max(initial=0) else values[:0]


def _numbers(rows: Rows, places: Array) -> list[tuple[str, str]]:
    """Returns pairs of columns of numbers with the same gaps and an exact linear relation."""
    groups = defaultdict[bytes, list[tuple[str, Array]]](list)
    for name in list(rows.columns)[:_MOST_COLUMNS]:
        if not rows.is_numeric(name):
            continue
        gaps = rows.gaps(name)[places]
        values = _standardized(rows.columns[name][places][~gaps])
        if len(values) >= _FEWEST_ROWS:
            groups[gaps.tobytes()].append((name, values))
    pairs = []
    for group in groups.values():
        table = np.stack([values for _, values in group])
        alike = np.triu(np.abs(table @ table.T) / table.shape[1] > SAME, 1)
        first_of = {int(copy): int(first) for first, copy in reversed(np.argwhere(alike).tolist())}
        pairs += [(group[first][0], group[copy][0]) for copy, first in sorted(first_of.items())]
    return pairs


def _categories(rows: Rows, places: Array) -> list[tuple[str, str]]:
    """Returns pairs of columns of categories whose values correspond one to one.

    Columns whose values nearly all differ correspond to each other in any case, so each value must occur twice on average.
    """
    first_of, pairs = dict[bytes, str](), []
    for name in list(rows.columns)[:_MOST_COLUMNS]:
        if rows.is_numeric(name):
            continue
        codes = codes_of(rows.columns[name][places])
        if _differ_mostly(codes) and len(places) < len(rows) and not rows.is_text(name):
            codes = rows.codes(name)  # values that a sample of the rows has once may occur many times in all rows
        if codes.max(initial=0) < 1 or _differ_mostly(codes):
            continue
        key = blake2b(codes.tobytes()).digest()
        if key in first_of:
            pairs.append((first_of[key], name))
        first_of.setdefault(key, name)
    return pairs


def _differ_mostly(codes: Array) -> bool:
    """Whether there are at least half as many values as rows."""
    return bool(codes.max(initial=0) >= len(codes) / 2)
