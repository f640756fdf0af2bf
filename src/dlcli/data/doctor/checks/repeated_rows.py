"""Rows that are repeated: within a split, in two splits, and with conflicting labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor import words
from dlcli.data.doctor.check import Progress, Subject, TableCheck
from dlcli.data.doctor.issue import Issue
from dlcli.data.leak_judgement import DISTINCT, are_copied_rows
from dlcli.runtime.inputs import comparable, row_hashes

MANY = 0.05
"""Share of repeated rows from which on they are a warning, where equal rows are no coincidence."""
FEW_DISTINCT = 0.5
"""Share of repeated rows above which a table has so few different rows that conflicting labels are its nature."""
_SHOWN = 1000


class RepeatedRows(TableCheck):
    """Finds rows whose inputs are equal, cell by cell; gaps are equal to gaps."""

    name = "repeated rows"

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields rows in two splits, rows with conflicting labels, and all other repeated rows."""
        groups = _equal_rows(subject, progress)
        if not groups:
            return
        yield from _across_splits(subject, groups)
        yield from _conflicting(subject, groups)
        yield from _within(subject, groups)


def _equal_rows(subject: Subject, progress: Progress) -> list[list[int]]:
    """Returns groups of the places of equal rows, found by hashes of rows and confirmed cell by cell."""
    columns = subject.rows.columns

    def read() -> Iterator[Array]:
        for number, values in enumerate(columns.values()):
            progress("comparing rows, by columns", number + 1, len(columns))
            yield values

    places, firsts = _repeated(row_hashes(read(), len(subject.rows)))
    is_equal = np.ones(len(places), dtype=bool)
    for values in columns.values() if len(places) else ():
        is_equal &= comparable(values[places]) == comparable(values[firsts])
    places, firsts = places[is_equal], firsts[is_equal]
    groups = np.split(places, np.flatnonzero(np.diff(firsts)) + 1)
    return sorted(group.tolist() for group in groups if len(group) > 1)


def _repeated(hashes: Array) -> tuple[Array, Array]:
    """Returns the places of rows with the hash of another row, group by group, and the first place of each one's group."""
    order = np.argsort(hashes, kind="stable")
    is_first = np.diff(hashes[order], prepend=~hashes[order[:1]]) != 0
    starts = np.flatnonzero(is_first)
    sizes = np.diff(starts, append=len(order))
    is_repeated = np.repeat(sizes > 1, sizes)
    return order[is_repeated], np.repeat(order[starts], sizes)[is_repeated]


def _is_distinctive(subject: Subject) -> bool:
    """Whether rows have so many different values that equal ones are no coincidence.

    The different rows of a single column have different values in any case.
    """
    return bool(subject.leaks["distinct"] >= DISTINCT and subject.leaks["columns"]["of"] != 1)


def _are_copies(subject: Subject) -> bool:
    """Whether the rows of a split that equal training rows are copies, as the diagnosis of a run judges them."""
    leaks = subject.leaks
    facts = {"distinct": leaks["distinct"], "repeats": leaks["repeats"], "columns": leaks["columns"]["of"]}
    return any(
        copies["examples"] > 1
        and are_copied_rows(copies["examples"] / copies["of"], copies["same_label"] / copies["examples"], **facts)
        for copies in leaks["duplicates"].values()
    )


def _label(subject: Subject, place: int) -> str:
    output = subject.experiment.task.output
    return output.text(subject.rows.targets[place], subject.opened.classes) if subject.has_labels else ""


def _agree(subject: Subject, places: Sequence[int]) -> bool:
    targets = subject.rows.targets
    return bool((targets[places] == targets[places[0]]).all())


def _pair(subject: Subject, first: int, second: int) -> str:
    rows = subject.rows

    def words_of(place: int) -> str:
        label = _label(subject, place)
        return (
            words.name(rows.ids[place]) + f" of {rows.splits[rows.split[place]]}" + (f" ({words.name(label)})" if label else "")
        )

    return f"{words_of(first)} is equal to {words_of(second)}"


def _across_splits(subject: Subject, groups: Sequence[list[int]]) -> Iterator[Issue]:
    rows, seen = subject.rows, list[tuple[int, int]]()
    for group in groups:
        train = [place for place in group if rows.split[place] == 0]
        seen += [(place, train[0]) for place in group if train and rows.split[place] != 0]
    if not seen:
        return
    others, are_copies = int((rows.split != 0).sum()), _are_copies(subject)
    subjects = f"{words.count(len(seen), 'row')} of the other splits {words.is_or_are(len(seen))} equal to a training row"
    ids = tuple(sorted(rows.ids[place] for place, _ in seen))
    yield Issue(
        kind="repeated rows across splits",
        severity="error" if are_copies else "note",
        summary=f"{subjects} ({words.share(len(seen) / others)} of {others:,})"
        + ("" if are_copies else "; that may be a coincidence"),
        advice="keep each row once, or keep its copies in one split (data.split.file): scores on known rows are too high",
        evidence=tuple(_pair(subject, *pair) for pair in seen[:_SHOWN]),
        examples=ids,
        exclude=ids if are_copies else (),
    )


def _conflicting(subject: Subject, groups: Sequence[list[int]]) -> Iterator[Issue]:
    """Yields equal rows with different labels; different numbers of a regression are no conflict."""
    output, rows = subject.experiment.task.output, subject.rows
    conflicts = [group for group in groups if not _agree(subject, group)]
    if not subject.has_labels or output.is_numeric or not conflicts:
        return
    ids = tuple(sorted(rows.ids[place] for group in conflicts for place in group))
    repeated = sum(map(len, groups)) / len(rows)
    is_natural = repeated > FEW_DISTINCT or (len(ids) < 0.01 * len(rows) and not _is_distinctive(subject))
    pairs = [(group[0], next(place for place in group if not _agree(subject, [group[0], place]))) for group in conflicts]
    yield Issue(
        kind="conflicting labels of equal rows",
        severity="note" if is_natural else "warning",
        summary=f"{len(ids):,} rows are equal to a row with another label; no model can be right on all of them",
        advice="correct or remove the wrong ones; if both labels are right, the columns lack what decides",
        evidence=tuple(_pair(subject, *pair) for pair in pairs[:_SHOWN]),
        examples=ids,
        exclude=()
        if is_natural
        else tuple(sorted(rows.ids[place] for group in conflicts for place in _minority(subject, group))),
    )


def _minority(subject: Subject, group: Sequence[int]) -> list[int]:
    """Returns the rows of a group whose label is not that of most of them; all rows where no label has a majority."""
    labels = [_label(subject, place) for place in group]
    label, number = Counter(labels).most_common(1)[0]
    return [place for place, own in zip(group, labels, strict=True) if own != label or number * 2 <= len(group)]


def _within(subject: Subject, groups: Sequence[list[int]]) -> Iterator[Issue]:
    rows = subject.rows
    pairs = []
    for group in groups:
        first_of = dict[int, int]()
        for place in group:
            first = first_of.setdefault(int(rows.split[place]), place)
            pairs += [(first, place)] if first != place else []
    if not pairs:
        return
    part, are_copies = len(pairs) / len(rows), _is_distinctive(subject)
    ids = tuple(sorted(rows.ids[place] for _, place in pairs))
    yield Issue(
        kind="repeated rows",
        severity="warning" if part >= MANY and are_copies else "note",
        summary=f"{words.count(len(ids), 'row')} {words.is_or_are(len(ids))} equal to an earlier row of the same split"
        f" ({words.share(part)} of {len(rows):,})",
        advice="remove them if a row was stored twice: a repeated row has the weight of several",
        evidence=tuple(_pair(subject, place, first) for first, place in pairs[:_SHOWN]),
        examples=ids,
        exclude=ids if are_copies else (),
    )
