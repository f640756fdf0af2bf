"""Columns of a table that decide the split of its rows and need not be inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlcli.errors import DataError
from dlcli.spec.data.sources.base import ROW

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.spec.data.sources.csv import Csv
    from dlcli.spec.data.sources.table.contents import Table


def header_of(source: Csv) -> tuple[str, ...] | None:
    """Returns the columns of the training file; None if it cannot be read, which `Csv.faults` reports."""
    from dlcli.spec.data.sources.table.reader import look_at

    try:
        return tuple(look_at(source.path, source.settings).table.names)
    except (DataError, OSError):
        return None


def side_values(source: Csv, table: Table, names: tuple[str, ...]) -> dict[str, Array]:
    """Returns the requested columns that a file has, as text objects `(n,)`, None for gaps; `ROW` is the text of all cells."""
    import numpy as np

    columns = dict(zip(names, source.named(list(names), table.names), strict=True))
    values = {name: table.column(column) for name, column in columns.items() if column in table.names}
    if ROW in names:
        values[ROW] = np.array(["\0".join(cell or "" for cell in row) for row in zip(*table.cells, strict=True)], dtype=object)
    return values
