"""Rows of a table in one file on the disk, of which a batch, or a column, is read by position.

The file holds 4 bytes for each cell, twice: the rows one after another, from which batches are gathered, and then the columns
one after another, from which statistics are computed in one pass. A number is a float32, a category its number int32. Behind
them stands a description as JSON, and its length in the last 8 bytes.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dlcli.arrays import Array

ROW_FORM = 1
"""The number of the form of these files; a file of another form has another name."""
CELL_BYTES = 4
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class FileColumn:
    """A column of a file of rows.

    Attributes:
        name: its name.
        gaps: the number of its gaps.
        texts: the categories by their numbers, "" for gaps; None for a column of numbers.
    """

    name: str
    gaps: int
    texts: tuple[str, ...] | None = None


class RowFile:
    """The rows of a table in a file. The system keeps as much of it in memory as there is room.

    All methods may be called by several threads at once. The file may be deleted while it is open.

    Args:
        path: the file.

    Attributes:
        rows: the number of rows.
        columns: the columns, in the order of the cells of a row.

    Raises:
        OSError: there is no such file, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            description = _description(path, file)
            row_map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            row_map.madvise(mmap.MADV_RANDOM)
            column_map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.rows: int = description["rows"]
        columns = [FileColumn(**column) for column in description["columns"]]
        self.columns = tuple(FileColumn(c.name, c.gaps, None if c.texts is None else tuple(c.texts)) for c in columns)
        width, cells = len(self.columns), self.rows * len(self.columns)
        self._by_row = np.frombuffer(row_map, "<i4", cells).reshape(self.rows, width)
        self._by_column = np.frombuffer(column_map, "<i4", cells, CELL_BYTES * cells).reshape(width, self.rows)
        self._place = {column.name: place for place, column in enumerate(self.columns)}
        self._texts = {c.name: np.array(c.texts, dtype=object) for c in self.columns if c.texts is not None}

    def place(self, name: str) -> int:
        """Returns the place of a column in a row."""
        return self._place[name]

    def texts(self, name: str) -> Array | None:
        """Returns the categories of a column by their numbers, objects; None for a column of numbers."""
        return self._texts.get(name)

    def cells(self, rows: Array) -> Array:
        """Returns the cells of rows, int32 `(n, columns)`."""
        return np.asarray(self._by_row.take(rows, axis=0))

    def values(self, name: str, rows: Array) -> Array:
        """Returns the values of a column in rows: float32 or texts `(n,)`."""
        return self._read(name, self._by_column[self._place[name]].take(rows))

    def table(self, rows: Array) -> dict[str, Array]:
        """Returns the values of all columns in rows, by name."""
        cells = self.cells(rows)
        return {name: self._read(name, np.ascontiguousarray(cells[:, place])) for name, place in self._place.items()}

    def _read(self, name: str, cells: Array) -> Array:
        texts = self._texts.get(name)
        return cells.view("float32") if texts is None else texts[cells]


def _description(path: Path, file: Any) -> Any:
    """Returns the description at the end of a file, after a check of the size."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - _LENGTH_BYTES))
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    start = size - _LENGTH_BYTES - length
    if start < 0:
        raise OSError(f"{path}: damaged")
    file.seek(start)
    try:
        description = json.loads(file.read(length))
        expected = 2 * CELL_BYTES * description["rows"] * len(description["columns"])
    except (ValueError, KeyError, TypeError):
        raise OSError(f"{path}: damaged") from None
    if start != expected:
        raise OSError(f"{path}: damaged")
    return description


def is_row_file(path: Path) -> bool:
    """Whether a file is a whole file of rows."""
    try:
        with path.open("rb") as file:
            _description(path, file)
    except OSError:
        return False
    return True


class RowFileWriter:
    """Writes a file of rows, block by block.

    Args:
        file: the open file, which is empty.
        rows: the number of rows.
        width: the number of columns.
    """

    def __init__(self, file: BufferedWriter, rows: int, width: int) -> None:
        self._file, self._rows, self._width, self._written = file, rows, width, 0

    def add(self, columns: Sequence[Array]) -> None:
        """Writes the next rows, given by their columns: float32 or int32 `(n,)`."""
        block = np.stack([column.view("<i4") for column in columns])
        self._write(self._written * self._width, np.ascontiguousarray(block.T))
        for place, column in enumerate(block):
            self._write((self._width + place) * self._rows + self._written, column)
        self._written += block.shape[1]

    def _write(self, first_cell: int, cells: Array) -> None:
        self._file.seek(CELL_BYTES * first_cell)
        self._file.write(cells.data)

    def finish(self, columns: Sequence[FileColumn]) -> None:
        """Writes the description of the columns."""
        text = json.dumps({"rows": self._rows, "columns": [asdict(column) for column in columns]}).encode()
        self._file.seek(2 * CELL_BYTES * self._rows * self._width)
        self._file.write(text + len(text).to_bytes(_LENGTH_BYTES, "little"))
