"""The input columns of Parquet files: in memory, or in a file of rows on the disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlcli.errors import DataError
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.spec.data.sources.parquet_files import (
    NumberValues,
    ParquetFiles,
    TextCells,
    TextValues,
    batches,
    gaps_of,
    rows_at_once,
)
from dlcli.spec.data.sources.row_storage import LargeTable, RowStorage

if TYPE_CHECKING:
    from io import BufferedWriter

    from dlcli.arrays import Array

_NUMBER_BYTES, _TEXT_BYTES = 4, 8
"""Bytes of a cell in memory; of a text, those of the reference to it."""
_SOURCE_BYTES, _ENCODED_BYTES = 4, 8
"""Bytes of a cell before the rows are divided into splits, and of a feature of an encoded row and TensorFlow's copy of it."""


@dataclass(frozen=True)
class ColumnPlan:
    """The input columns that are to be read.

    Attributes:
        path: the path of the spec, for messages.
        files: the files.
        kinds: the kind of each column, by its name.
        most_categories: the most values of a category column.
    """

    path: str
    files: ParquetFiles
    kinds: dict[str, ColumnKind]
    most_categories: int

    @property
    def size(self) -> int:
        """The bytes of the columns in memory."""
        return self.files.rows * sum(_NUMBER_BYTES if kind.is_numeric else _TEXT_BYTES for kind in self.kinds.values())

    def table(self) -> LargeTable:
        """Returns what decides where the rows are kept."""
        from dlcli.runtime.row_file import ROW_FORM
        from dlcli.runtime.stored_files import content_key

        encoded = self.files.rows * len(self.kinds) * (_SOURCE_BYTES + _ENCODED_BYTES)
        has_texts = [(name, not kind.is_numeric) for name, kind in self.kinds.items()]
        settings = ["rows", ROW_FORM, self.files.types, has_texts, self.most_categories]
        paths, texts = self.files.paths, any(kind.is_text for kind in self.kinds.values())
        rows, size = self.files.rows, self.size
        return LargeTable(self.path, rows, len(self.kinds), size, size + encoded, lambda: content_key(paths, settings), texts)

    def read(self, storage: RowStorage | None) -> InputColumns:
        """Returns the columns, read into a file of rows, or into memory without a storage.

        Raises:
            DataError: a file cannot be read, a column has too many categories, or a number is infinite.
        """
        return ColumnsInMemory(self) if storage is None else ColumnsOnDisk(self, storage)

    def values(self, rows: int) -> dict[str, NumberValues | TextValues | TextCells]:
        """Returns what the columns of `rows` rows are read into."""
        return {name: self._values(kind, rows) for name, kind in self.kinds.items()}

    def _values(self, kind: ColumnKind, rows: int) -> NumberValues | TextValues | TextCells:
        if kind.is_text:
            return TextCells(rows)
        return NumberValues(rows) if kind.is_numeric else TextValues(rows, self.most_categories)

    def filled(self, values: Mapping[str, NumberValues | TextValues | TextCells], *, in_blocks: bool) -> Iterator[int]:
        """Reads the files, and yields the number of rows after each block of them.

        Args:
            values: what the columns are read into.
            in_blocks: whether every block is read to the beginning of `values`.

        Raises:
            DataError: a file cannot be read, a column has too many categories, or a number is infinite.
        """
        start = 0
        for batch in batches(self.files, list(values)):
            for name, column in values.items():
                place = 0 if in_blocks else start
                column.fill(place, batch.column(name))
                if isinstance(column, TextValues) and column.is_full:
                    raise DataError(
                        f"{self.path}: column `{name}` has more than {self.most_categories:,} different values in the first"
                        f" {start + batch.num_rows:,} rows, too many for a category; list it in `data.source.drop`, or raise"
                        " `data.source.max_categories`"
                    )
                if isinstance(column, NumberValues):
                    column.refuse_infinite(place, batch.num_rows, start, f"{self.path}: column `{name}`")
            start += batch.num_rows
            yield batch.num_rows


class InputColumns(ABC):
    """The input columns of files."""

    @abstractmethod
    def inputs(self, rows: Array) -> Any:
        """Returns the inputs of some rows, given by their numbers."""

    @abstractmethod
    def fact(self, name: str) -> tuple[int | None, int]:
        """Returns the number of categories of a column, None if it has none, and the number of its gaps."""


class ColumnsInMemory(InputColumns):
    """Input columns that are read into memory."""

    def __init__(self, plan: ColumnPlan) -> None:
        self._values, self._kinds = plan.values(plan.files.rows), plan.kinds
        for _ in plan.filled(self._values, in_blocks=False):
            pass

    def inputs(self, rows: Array) -> Any:
        """Returns the columns of some rows."""
        from dlcli.runtime.inputs import TableColumns

        columns = {
            name: column.objects()[rows] if isinstance(column, TextValues) else column.values[rows]
            for name, column in self._values.items()
        }
        return TableColumns(columns, self._kinds)

    def fact(self, name: str) -> tuple[int | None, int]:
        """Returns the number of categories and of gaps."""
        column = self._values[name]
        gaps = gaps_of(column, slice(None))
        return (len(column.texts) - (gaps > 0) if isinstance(column, TextValues) else None), gaps


class ColumnsOnDisk(InputColumns):
    """Input columns whose rows are written to a file, block by block; an earlier training may have written it."""

    def __init__(self, plan: ColumnPlan, storage: RowStorage) -> None:
        self._plan = plan
        self._file = storage.file(plan.table(), self._write)
        self._column = {column.name: column for column in self._file.columns}

    def _write(self, file: BufferedWriter) -> None:
        from dlcli.runtime.row_file import FileColumn, RowFileWriter

        values = self._plan.values(rows_at_once(len(self._plan.kinds)))
        gaps = dict.fromkeys(values, 0)
        writer = RowFileWriter(file, self._plan.files.rows, len(values))
        for rows in self._plan.filled(values, in_blocks=True):
            block = slice(0, rows)
            writer.add([column.values[block] for column in values.values()])
            gaps |= {name: gaps[name] + gaps_of(column, block) for name, column in values.items()}
        writer.finish(
            [
                FileColumn(name, gaps[name], tuple(column.texts) if isinstance(column, TextValues) else None)
                for name, column in values.items()
            ]
        )

    def inputs(self, rows: Array) -> Any:
        """Returns the rows on the disk."""
        from dlcli.runtime.stored_columns import StoredColumns

        return StoredColumns(self._file, rows, self._plan.kinds)

    def fact(self, name: str) -> tuple[int | None, int]:
        """Returns the number of categories and of gaps."""
        column = self._column[name]
        return (None if column.texts is None else len(column.texts) - (column.gaps > 0)), column.gaps
