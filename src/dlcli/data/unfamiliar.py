"""Counts values of a table that did not occur in a run's training split: unseen categories, and gaps in complete columns.

The saved model encodes an unseen category as none of the known ones, and a gap in a number as the column's mean. Predictions
from such values are less reliable, so the values are counted by column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dlcli.arrays import Array
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.runtime.columns import lookups
from dlcli.runtime.inputs import Inputs

MOST_NAMED = 3
_BLOCK_ROWS = 65_536
"""Rows that are counted at once: those of a table on the disk need not fit into memory."""


@dataclass
class _Column:
    """A column's categories in the training split, None if it has none, and counts of values that did not occur there."""

    kind: ColumnKind
    categories: frozenset[str] | None
    had_gaps: bool
    unseen: dict[str, int] = field(default_factory=dict)
    gaps: int = 0

    def add(self, values: Array) -> None:
        """Counts the unfamiliar values of further rows."""
        is_gap = self.kind.gaps(values)
        self.gaps += 0 if self.had_gaps else int(is_gap.sum())
        if self.categories is None:
            return
        for value in values[~is_gap].tolist():
            if value not in self.categories:
                self.unseen[value] = self.unseen.get(value, 0) + 1


class Unfamiliar:
    """Counts by column the values that did not occur in the training split."""

    def __init__(self, model: Any, columns: Mapping[str, ColumnKind], gaps: Mapping[str, int] | None) -> None:
        """Takes a saved model, its columns, and the gaps of the training split; None for a run that did not count them."""
        self._rows = 0
        self._columns: dict[str, _Column] = {}
        layers = lookups(model, columns)
        for column, kind in columns.items():
            if column in layers:
                categories = frozenset(map(str, layers[column].get_vocabulary()[1:]))
                self._columns[column] = _Column(kind, categories, had_gaps="" in categories)
            elif gaps is not None:
                self._columns[column] = _Column(kind, None, had_gaps=bool(gaps.get(column)))

    def add(self, inputs: Mapping[str, Array]) -> None:
        """Counts the unfamiliar values in the raw columns of further rows."""
        self._rows += len(next(iter(inputs.values())))
        for name, column in self._columns.items():
            column.add(inputs[name])

    def notes(self) -> list[str]:
        """Returns a sentence for each column with unseen values, and for each with new gaps."""
        sentences = []
        for name, column in self._columns.items():
            if column.unseen:
                sentences.append(self._of_unseen(name, column.unseen))
            if column.gaps:
                words = f"column {name!r}: {column.gaps:,} of {self._rows:,} rows have a missing value"
                sentences.append(f"{words}, which no training row has; it is replaced by {column.kind.gap_replacement}")
        return sentences

    def _of_unseen(self, name: str, unseen: Mapping[str, int]) -> str:
        ordered = sorted(unseen, key=lambda value: (-unseen[value], value))
        listed = ", ".join(f"{value[:40]!r}" for value in ordered[:MOST_NAMED]) + (", ..." if len(ordered) > MOST_NAMED else "")
        what = "a value" if len(ordered) == 1 else f"{len(ordered):,} different values"
        return (
            f"column {name!r}: {sum(unseen.values()):,} of {self._rows:,} rows have {what} that did not occur in training"
            f" ({listed}): the model has not learned {'it' if len(ordered) == 1 else 'them'}"
        )


def notes_on(model: Any, inputs: Inputs, gaps: Mapping[str, int] | None) -> list[str]:
    """Returns the notes on the raw columns of a saved model's inputs; empty for other inputs."""
    if not inputs.columns:
        return []
    unfamiliar = Unfamiliar(model, inputs.column_kinds, gaps)
    columns = inputs.table()
    for start in range(0, max(1, len(inputs)), _BLOCK_ROWS):
        unfamiliar.add({name: values[start : start + _BLOCK_ROWS] for name, values in columns.items()})
    return unfamiliar.notes()


def gaps_of(inputs: Inputs) -> dict[str, int] | None:
    """Returns the number of gaps in each raw column; None for other inputs."""
    if not inputs.columns:
        return None
    gaps = dict.fromkeys(inputs.columns, 0)
    for name, values in inputs.table().items():
        for start in range(0, len(inputs), _BLOCK_ROWS):
            gaps[name] += int(inputs.column_kinds[name].gaps(values[start : start + _BLOCK_ROWS]).sum())
    return gaps
