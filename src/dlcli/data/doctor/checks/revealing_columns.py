"""Columns that give the target away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dlcli.data.doctor import words
from dlcli.data.doctor.check import Progress, Subject, TableCheck, first_columns
from dlcli.data.doctor.issue import REVEALING, Issue
from dlcli.data.doctor.rows import codes_of
from dlcli.data.leak_judgement import revealing_columns
from dlcli.data.leaks import MOST_COLUMNS, MOST_ROWS

_BEGINNING = 200


class RevealingColumns(TableCheck):
    """Finds columns that tell the target alone: by a simple rule, or since their values are the classes under other names."""

    name = "columns that reveal the target"
    is_fast = True

    def sample(self, subject: Subject) -> str:
        """Returns the rows by which a column's rule is learned, and the columns that have one, if there are more."""
        if not subject.has_labels:
            return ""
        rows = len(subject.splits.train)
        of_rows = f"{MOST_ROWS:,} of {rows:,} training rows, drawn at random" if rows > MOST_ROWS else ""
        return ", and ".join(filter(None, (of_rows, first_columns(subject, MOST_COLUMNS))))

    def issues(self, subject: Subject, progress: Progress) -> Iterator[Issue]:
        """Yields an issue for each such column."""
        if not subject.has_labels:
            return
        columns = subject.leaks["columns"]
        renamed = _renamed_targets(subject)
        revealing = revealing_columns(columns["targets"], columns["of"])
        names = {name for name, _, _ in revealing}
        for name, target, score in [*revealing, *((name, "", 1.0) for name in renamed if name not in names)]:
            of_target = f" {words.name(target)}" if target else ""
            yield Issue(
                kind=REVEALING,
                severity="error",
                summary=f"column {words.name(name)} alone predicts {score:.1%} of the target{of_target}"
                + ("; its values are the classes under other names" if name in renamed else "; no other column comes close"),
                advice=f"drop {words.name(name)} (data.source.drop) if it is not known before the target",
                columns=(name,),
            )


def _renamed_targets(subject: Subject) -> list[str]:
    """Returns the columns whose values correspond one to one to the classes, in all rows."""
    rows = subject.rows
    strata = subject.experiment.task.output.strata(rows.targets)
    if strata is None or len(np.unique(strata)) < 2:
        return []
    classes, candidates = codes_of(strata), list[str]()
    for name, values in rows.columns.items():
        begin = codes_of(values[:_BEGINNING])  # tells nearly all columns apart from the classes without sorting the whole
        if np.array_equal(begin, classes[:_BEGINNING]) and np.array_equal(rows.codes(name), classes):
            candidates.append(name)
    return candidates
