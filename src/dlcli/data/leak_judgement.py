"""When facts on leaks mean a leak: the thresholds that the data doctor and the diagnosis of a run share.

This imports no NumPy and no TensorFlow: the report of a run needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COPIES, COPIED_ROWS = 0.01, 0.05
"""Least share of a split's examples that are training examples: of images and series; of rows, which may coincide."""
DISTINCT = 0.5
"""Share of distinct values in a column from which on equal rows are no coincidence."""
SAME = 0.9
"""Least share of equal rows whose labels are equal too: copies agree, coincidences less often."""
MOSTLY = 0.5
"""The same share where equal rows are no coincidence: some labels may be noisy, but not most of them."""
TELLS, OTHERS = 0.98, 0.9
"""Skill of a column that reveals the target, and the limit for all other columns: above it the task is merely easy."""


def are_copied_rows(share: float, agree: float, *, distinct: float, repeats: float, columns: int) -> bool:
    """Tells whether rows of a split that equal training rows are copies and no coincidence.

    Args:
        share: their share of the split.
        agree: the share of them whose labels are equal too.
        distinct: the largest share of different values in a column.
        repeats: the share of training rows that are identical to an earlier one.
        columns: the number of columns.
    """
    if distinct >= DISTINCT and columns != 1:  # distinct rows of a single column have distinct values
        return agree >= MOSTLY and share >= COPIES
    return agree >= SAME and share >= min(0.5, max(COPIED_ROWS, 2 * repeats))


def revealing_columns(scores_by_target: Mapping[str, Sequence[Sequence[Any]]], of: int) -> list[tuple[str, str, float]]:
    """Returns the columns that reveal a target: at most a third of all columns, while no other column comes close.

    Args:
        scores_by_target: pairs of a column and its score for each target, as `telling_columns` returns them.
        of: the number of columns.
    """
    columns = []
    for target, scores in scores_by_target.items():
        telling = [(name, target, score) for name, score in scores if score >= TELLS]
        other_scores = [score for _, score in scores if score < TELLS]
        is_minority = len(telling) <= max(1, of // 3)
        if telling and is_minority and other_scores and max(other_scores) < OTHERS:
            columns += telling
    return columns
