"""The interface between a source of large tables and where their rows are kept: in memory, or in a file on the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from io import BufferedWriter

    from dlcli.runtime.row_file import RowFile


@dataclass(frozen=True)
class LargeTable:
    """A table that a source is about to read.

    Attributes:
        where: its file, folder or pattern.
        rows: the number of rows.
        columns: the number of columns that are inputs.
        size: the bytes of the columns in memory.
        training_bytes: the bytes that a training on the columns in memory keeps: the columns, the copy of each split, and the
            encoded rows.
        key: the content of a file of the rows, as of `content_key`.
        has_texts: whether it has columns of texts: its rows are always read into memory.
    """

    where: str
    rows: int
    columns: int
    size: int
    training_bytes: int
    key: Callable[[], str]
    has_texts: bool = False

    @property
    def file_bytes(self) -> int:
        """The bytes of a file of the rows, which holds 4 bytes for each cell twice."""
        return 8 * self.rows * self.columns


class RowStorage(Protocol):
    """Where the rows of large tables are kept, as `data.cache` says."""

    def is_in_memory(self, table: LargeTable) -> bool:
        """Returns whether the columns of a table are read into memory.

        Raises:
            DataError: they must be, and do not fit.
        """
        ...

    def file(self, table: LargeTable, write: Callable[[BufferedWriter], None]) -> RowFile:
        """Returns the file of the rows of a table; `write` writes it to an open file, if there is none.

        Raises:
            DataError: the disk has too little room, or the file cannot be written.
        """
        ...
