"""Where the rows of large tables are kept: in memory, or in a file on the disk, as `data.cache` says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING

from dlcli.data.memory_limit import fits_in_memory, memory_limit
from dlcli.errors import DataError
from dlcli.runs.reporter import Log, unreported
from dlcli.spec.data.data import Data
from dlcli.spec.data.sizes import LARGE, examples_in_words, size_in_words
from dlcli.spec.data.sources.row_storage import LargeTable

if TYPE_CHECKING:
    from dlcli.runtime.row_file import RowFile


@dataclass(frozen=True)
class TableStorage:
    """The `RowStorage` of an experiment.

    Attributes:
        cache: where rows are kept: `data.cache`.
        folder: the folder of files that trainings share; None for a temporary file, which is deleted at the end.
        log: takes a line before a file is written.
    """

    cache: str
    folder: Path | None = None
    log: Log = unreported

    def is_in_memory(self, table: LargeTable) -> bool:
        """Returns whether the columns of a table are read into memory; those of a table with texts always are.

        Raises:
            DataError: `data.cache` is `memory`, and they do not fit.
        """
        fits = fits_in_memory(table.training_bytes, self.cache)
        if self.cache == "memory" and not fits:
            most = int(memory_limit(self.cache).usable / (table.training_bytes / table.rows))
            raise DataError(
                f"data.cache: memory: {table.where}: {self._need(table)}: about {most:,} rows would fit; `auto` and `disk`"
                " keep the rows in a file"
            )
        return table.has_texts or self.cache == "memory" or (self.cache == "auto" and fits)

    def plan(self, table: LargeTable) -> str:
        """Returns where a table will be kept, in a line."""
        try:
            if self.is_in_memory(table):
                return f"data: {_rows(table)}: {size_in_words(table.size)} in memory"
        except DataError as error:
            return str(error)
        file = f"read in batches from a file of {size_in_words(table.file_bytes)} on the disk"
        return (
            f"data: {_rows(table)}: {size_in_words(table.size)}, {file}"
            if self.cache == "disk"
            else (f"data: {self._need(table)}: {file}")
        )

    def _need(self, table: LargeTable) -> str:
        """Returns the size of a table in memory beside the limit."""
        limit = memory_limit(self.cache)
        return (
            f"{_rows(table)}: {size_in_words(table.size)}, and {size_in_words(table.training_bytes)} with what a training makes"
            f" of them; {size_in_words(limit.free)} of memory are free, of which {size_in_words(limit.usable)} may be used"
        )

    def file(self, table: LargeTable, write: Callable[[BufferedWriter], None]) -> RowFile:
        """Returns the file of the rows of a table; it is written if the folder lacks it.

        Raises:
            DataError: the disk has too little room, or the file cannot be written.
        """
        if self.folder is None:
            with tempfile.TemporaryDirectory() as name:
                return self._file(Path(name), table, write)
        return self._file(self.folder, table, write)

    def _file(self, folder: Path, table: LargeTable, write: Callable[[BufferedWriter], None]) -> RowFile:
        from dlcli.data.stored_files import DiskNeed, disk_errors, stored_file
        from dlcli.runtime.row_file import RowFile, is_row_file
        from dlcli.runtime.stored_files import free_disk

        def write_and_tell(file: BufferedWriter) -> None:
            place = f"{folder} ({size_in_words(free_disk(folder))} of disk are free)" if self.folder else "a temporary file"
            self.log(f"data: {_rows(table)} are written to {place}, {size_in_words(table.file_bytes)}")
            write(file)

        need = DiskNeed(table.file_bytes, _rows(table), "name fewer columns in `data.source.features`")
        with disk_errors(folder):
            path, _ = stored_file(folder, table.key(), write_and_tell, is_whole=is_row_file, need=need)
            return RowFile(path)


def _rows(table: LargeTable) -> str:
    return examples_in_words(table.rows, None, images=False, columns=table.columns)


def table_plan(data: Data) -> str:
    """Returns where the rows of a large table will be kept, before it is opened; empty for other data."""
    table = data.source.large_table() if data.source.stores_rows else None
    if table is None or (table.size < LARGE and data.cache == "auto"):
        return ""
    return TableStorage(data.cache).plan(table)
