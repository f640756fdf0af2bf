"""Parquet files as typed columns: read one row group after another into arrays of their final size."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlcli.errors import DataError
from dlcli.runtime.column_kinds import CellForm
from dlcli.spec.data.sources.column_kinds import CATEGORY
from dlcli.spec.data.sources.table.cells import filled_text

if TYPE_CHECKING:
    from dlcli.arrays import Array

_MOST_ROWS, _LEAST_ROWS, _CELLS = 131_072, 1024, 4_000_000
"""Most and least rows that are converted at once, and the cells that they have about."""


NUMBERS = ("int", "uint", "float", "double", "halffloat", "decimal")
TEXTS = ("string", "large_string", "bool", "dictionary")
"""The beginnings of the names of Arrow's types of numbers and of texts."""


@dataclass(frozen=True)
class ParquetFiles:
    """The files of a table, all with the same columns.

    Attributes:
        paths: the files, sorted.
        types: the Arrow type of each column, as text, in the order of the first file.
        rows: the number of rows.
        groups: the number of row groups.
    """

    paths: tuple[str, ...]
    types: dict[str, str]
    rows: int
    groups: int

    def describe(self) -> str:
        """Returns the number of columns, rows and files as text."""
        files = "1 file" if len(self.paths) == 1 else f"{len(self.paths):,} files"
        groups = "1 row group" if self.groups == 1 else f"{self.groups:,} row groups"
        return f"parquet, {len(self.types):,} columns, {self.rows:,} rows in {groups} of {files}"


def is_number(kind: str) -> bool:
    """Whether an Arrow type, given by its name, is one of numbers."""
    return kind.startswith(NUMBERS)


def matching_files(path: str) -> list[str]:
    """Returns the file, the Parquet files below a folder, or those that match a pattern, sorted."""
    if os.path.isdir(path):
        return sorted(glob.glob(os.path.join(glob.escape(path), "**", "*.parquet"), recursive=True))
    if os.path.isfile(path):
        return [path]
    return sorted(match for match in glob.glob(path, recursive=True) if os.path.isfile(match))


def look_at_files(path: str) -> ParquetFiles:
    """Returns the columns and the number of rows of Parquet files, by their footers.

    Raises:
        DataError: there is no file, a file cannot be read, or its columns differ from those of the first.
    """
    paths = matching_files(path)
    if not paths:
        raise DataError(f"no Parquet file {path}" if not os.path.isdir(path) else f"{path} holds no .parquet file")
    types: dict[str, str] = {}
    rows = groups = 0
    for name in paths:
        with opened(name) as file:
            columns = {field.name: str(field.type) for field in file.schema_arrow}
            rows, groups = rows + file.metadata.num_rows, groups + file.metadata.num_row_groups
        if types and columns != types:
            different = next(column for column in {**types, **columns} if types.get(column) != columns.get(column))
            kind, first = columns.get(different, "no column"), types.get(different, "no column")
            raise DataError(f"{name}: column `{different}` is {kind}, but {first} in {paths[0]}")
        types = columns
    return ParquetFiles(tuple(paths), types, rows, groups)


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Opens a Parquet file.

    Raises:
        DataError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except pa.ArrowException as error:
        raise DataError(f"{path}: the Parquet file cannot be read: {str(error).splitlines()[0]}") from None


def rows_at_once(columns: int) -> int:
    """Returns how many rows of so many columns are converted at once."""
    return min(_MOST_ROWS, max(_LEAST_ROWS, _CELLS // max(1, columns)))


def batches(files: ParquetFiles, columns: Sequence[str]) -> Iterator[Any]:
    """Yields the rows of all files as Arrow record batches of at most `rows_at_once` rows.

    Raises:
        DataError: a file cannot be read.
    """
    size = rows_at_once(len(columns))
    for path in files.paths:
        with opened(path) as file:
            for group in range(file.metadata.num_row_groups):
                yield from file.iter_batches(batch_size=size, row_groups=[group], columns=list(columns))


def side_array(column: Any) -> Array:
    """Returns an Arrow column as `Examples.side_columns`: numbers and dates in their own types, others as texts `(n,)`.

    Args:
        column: the chunked array of a column.
    """
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return np.asarray(column.to_numpy())
    dictionary, places = _dictionary(column.combine_chunks())
    return np.asarray(np.array([*map(_text, dictionary), None], dtype=object)[places])  # the last one is that of a gap


def _dictionary(column: Any) -> tuple[list[Any], Array]:
    """Returns the different values of an Arrow array, and the place of each row's value among them, -1 for a gap."""
    import pyarrow as pa

    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode(null_encoding="encode")
    # The indices of a file may be unsigned.
    return encoded.dictionary.to_pylist(), encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)


class NumberValues:
    """A column of numbers, filled batch by batch: float32 `(rows,)`, or float64 for a target; NaN for gaps."""

    def __init__(self, rows: int, dtype: str = "float32") -> None:
        import numpy as np

        self.values: Array = np.empty(rows, dtype)

    def fill(self, start: int, column: Any) -> None:
        """Fills the values from position `start` on by an Arrow array."""
        import numpy as np
        import pyarrow as pa

        numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):  # the source refuses what is too large
            self.values[start : start + len(column)] = numbers

    def refuse_infinite(self, start: int, count: int, first_row: int, where: str) -> None:
        """Raises DataError if one of `count` values from position `start` on is infinite; they begin with row `first_row`."""
        import numpy as np

        is_infinite = np.isinf(self.values[start : start + count])
        if is_infinite.any():
            row = first_row + int(is_infinite.argmax())
            raise DataError(f"{where} contains a number in row {row} that is infinite or too large")


class TextValues:
    """A column of texts, filled batch by batch: the number of each text int32 `(rows,)`, and the different texts."""

    def __init__(self, rows: int, most: int) -> None:
        import numpy as np

        self.values: Array = np.empty(rows, "int32")
        self._most = most
        self._number: dict[str, int] = {}

    @property
    def texts(self) -> list[str]:
        """The different texts, "" for gaps, by their numbers."""
        return list(self._number)

    @property
    def is_full(self) -> bool:
        """Whether there are more different texts than may be."""
        return len(self._number) - ("" in self._number) > self._most

    def fill(self, start: int, column: Any) -> None:
        """Fills the numbers from position `start` on by an Arrow array."""
        import numpy as np

        dictionary, places = _dictionary(column)
        numbers = np.zeros(len(dictionary) + 1, "int32")  # the last one is that of a gap
        for place in np.unique(places).tolist():  # a filtered table keeps values that no row has
            value = "" if place < 0 else _category(dictionary[place])
            numbers[place] = self._number.setdefault(value, len(self._number))
        self.values[start : start + len(column)] = numbers[places]

    def objects(self) -> Array:
        """Returns the texts of the rows, object `(rows,)`; equal texts are one object."""
        import numpy as np

        return np.array(self.texts, dtype=object)[self.values]


class TextCells:
    """A column of texts that are read as tokens, filled batch by batch: object `(rows,)`, "" for gaps."""

    def __init__(self, rows: int) -> None:
        import numpy as np

        self.values: Array = np.empty(rows, dtype=object)

    def fill(self, start: int, column: Any) -> None:
        """Fills the texts from position `start` on by an Arrow array."""
        self.values[start : start + len(column)] = [_text(value) or "" for value in column.to_pylist()]


def gaps_of(column: NumberValues | TextValues | TextCells, places: slice) -> int:
    """Returns the number of gaps of a column at some places."""
    import numpy as np

    values = column.values[places]
    if isinstance(column, TextCells):
        return int((values == "").sum())
    if isinstance(column, NumberValues):
        return int(np.isnan(values).sum())
    return int((values == column.texts.index("")).sum()) if "" in column.texts else 0


def _text(value: Any) -> str | None:
    """Returns a value as the text that it is in a CSV file; None for a gap."""
    from dlcli.spec.data.sources.table.typed import cell_text

    return filled_text(cell_text(str(value) if isinstance(value, bool) else value))


def _category(value: Any) -> str:
    """Returns a value as the category that it is in a CSV file; "" for a gap."""
    import numpy as np

    return str(CATEGORY.read(np.array([_text(value)], dtype=object), CellForm()).values[0])
