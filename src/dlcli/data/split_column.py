"""Splits by a column that names the split of each example."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dlcli.data.side_columns import refuse_gaps, side_column, texts
from dlcli.errors import DataError
from dlcli.spec.data.sources import Opened
from dlcli.spec.data.sources.part_names import SPLITS, part_of

SETTING = "data.split.column"


def with_parts_of_column(opened: Opened, column: str) -> Opened:
    """Returns the opened source with the parts that a column of its single part names.

    Raises:
        DataError: the source has own parts, an example has no split or an unknown one, or none is for training.
    """
    source = opened.parts["train"]
    if len(opened.parts) > 1:
        raise DataError(
            f"{SETTING}: the source has its own {' and '.join(part for part in opened.parts if part != 'train')} part"
        )
    cells = texts(side_column(source, column, SETTING))
    refuse_gaps(cells, source.ids, SETTING, f"value of `{column}`")
    meanings = {cell: _meaning(cell) for cell in set(cells) if cell is not None}
    wrong = next((place for place, cell in enumerate(cells) if not meanings[str(cell)]), None)
    if wrong is not None:
        raise DataError(f"{SETTING}: {source.ids[wrong]}: expected train, validation or test, found {str(cells[wrong])[:60]!r}")
    # `eval` is the test split, or the validation split beside a `test`.
    evaluation = "validation" if "test" in meanings.values() else "test"
    names = np.array([meanings[str(cell)].replace("evaluation", evaluation) for cell in cells], dtype=object)
    parts = {part: source.take(np.flatnonzero(names == part)) for part in SPLITS if part in names}
    if "train" not in parts:
        raise DataError(f"{SETTING}: no example of `{column}` is for training")
    return replace(opened, parts=parts)


def _meaning(cell: str) -> str:
    """Returns the split that a cell names, maybe `evaluation`; empty if it names none."""
    named = part_of(cell)
    return named[0] if named and not named[1] else ""
