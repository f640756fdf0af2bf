"""The rows of a table that stay on the disk: batches and columns are read when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from dlcli.runtime.column_kinds import ColumnKind
from dlcli.runtime.columns import InputLayout
from dlcli.runtime.inputs import Inputs, Kind, TableColumns, array_bytes
from dlcli.runtime.row_file import CELL_BYTES, RowFile

if TYPE_CHECKING:
    from dlcli.arrays import Array

_BLOCK = 1_048_576
"""Rows of a column that are read at once."""
_REFERENCE_BYTES = 8


class StoredColumn:
    """A column of rows on the disk, of which the values at slices and places are read.

    Args:
        file: the file.
        name: the name of the column.
        rows: the numbers of the rows in the file `(n,)`.
    """

    def __init__(self, file: RowFile, name: str, rows: Array) -> None:
        self._file, self._name, self._rows = file, name, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: Any) -> Array:
        return self._file.values(self._name, self._rows[places])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self[:] if dtype is None else self[:].astype(dtype)


class _ReadColumns(Mapping[str, "Array"]):
    """Columns by name; each is read when it is asked for, and not kept."""

    def __init__(self, columns: Mapping[str, StoredColumn]) -> None:
        self._columns = columns

    def __getitem__(self, name: str) -> Array:
        return self._columns[name][:]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@dataclass(frozen=True, eq=False)
class StoredColumns(Inputs):
    """Named columns of a table whose rows stay in a file.

    Batches, columns and the content of the fingerprint have the bits of `TableColumns`.

    Attributes:
        file: the rows of the table.
        rows: the numbers of the examples' rows in the file `(n,)`.
        kinds: the kind of each column.
        model_layout: which columns each input of the model takes; None for a new model.
    """

    file: RowFile
    rows: Array
    kinds: Mapping[str, ColumnKind]
    model_layout: InputLayout | None = None
    kind: ClassVar[Kind] = "columns"

    @property
    def on_disk(self) -> bool:
        """True: batches are read from the file."""
        return True

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> None:
        """None: columns have names."""
        return

    @cached_property
    def columns(self) -> Mapping[str, Array]:
        """The columns by name. Each is read as a whole when it is asked for, and not kept."""
        return _ReadColumns(self.table())

    @property
    def column_kinds(self) -> Mapping[str, ColumnKind]:
        """The kinds of the columns by name."""
        return self.kinds

    @cached_property
    def layout(self) -> InputLayout:
        """Which columns each input of the model takes."""
        return InputLayout.of(self.kinds) if self.model_layout is None else self.model_layout

    @property
    def memory_bytes(self) -> int:
        """The bytes that the columns would take in memory; of texts, those of the references to them."""
        texts = sum(column.texts is not None for column in self.file.columns)
        return len(self) * (CELL_BYTES * (len(self.file.columns) - texts) + _REFERENCE_BYTES * texts)

    def table(self) -> Mapping[str, Any]:
        """Returns the columns by name, as `StoredColumn`: nothing is read yet."""
        return {name: StoredColumn(self.file, name, self.rows) for name in self.kinds}

    def with_table(self, columns: Mapping[str, Array]) -> TableColumns:
        """Returns rows of the same kinds of columns with these values, in memory."""
        return TableColumns(dict(columns), self.kinds, self.layout)

    def take(self, places: Array) -> Self:
        """Returns the rows at the given places."""
        return replace(self, rows=self.rows[places], model_layout=self.layout)

    def sharing(self, shared: Mapping[str, tuple[str, ...]]) -> Self:
        """Returns the columns for a model in which the given ones share inputs."""
        return replace(self, model_layout=InputLayout(self.kinds, shared))

    def in_memory(self, places: Array) -> TableColumns:
        """Returns the rows at the given places in memory."""
        return self.with_table(self.file.table(self.rows[places]))

    def read(self, places: Array) -> dict[str, Any]:
        """Returns the tensors `(n, columns)` of the rows at the given places, by the names of the model's inputs."""
        return self.layout.tensors(self.in_memory(places).columns)

    def reader(self) -> Callable[[Any], Any]:
        """Returns a function from indices to the columns of a batch, by the names of the model's inputs."""
        from dlcli.runtime.engine import tf

        inputs = {name: self._input_reader(of_input) for name, of_input in self.layout.columns.items()}
        width = len(self.file.columns)

        def read(indices: Any) -> Any:
            cells = tf.numpy_function(lambda places: self.file.cells(self.rows[places]), [indices], tf.int32)
            cells = tf.ensure_shape(cells, (None, width))
            return {name: read_input(cells) for name, read_input in inputs.items()}

        return read

    def _input_reader(self, columns: tuple[str, ...]) -> Callable[[Any], Any]:
        """Returns a function from the cells of rows, int32 `(n, columns)`, to the tensor of an input."""
        from dlcli.runtime.engine import tf
        from dlcli.runtime.stream import on_host

        places = [self.file.place(name) for name in columns]
        texts = [self.file.texts(name) for name in columns]
        if all(categories is None for categories in texts):
            return lambda cells: tf.bitcast(tf.gather(cells, places, axis=1), tf.float32)
        tables = [on_host(categories) for categories in texts if categories is not None]
        return lambda cells: tf.stack(
            [tf.gather(table, cells[:, place]) for table, place in zip(tables, places, strict=True)], axis=1
        )

    def keys(self, places: Array) -> list[Any]:
        """Returns a hash of each row's cells."""
        return self.in_memory(places).keys(np.arange(len(places)))

    def digest(self, place: int) -> bytes:
        """Returns a digest of a row's cells."""
        return self.in_memory(np.array([place])).digest(0)

    def content(self) -> Iterator[tuple[str, bytes | memoryview]]:
        """Yields the bytes of each column by name, in blocks: those after the first have no name."""
        for name, column in self.table().items():
            for start in range(0, max(1, len(self)), _BLOCK):
                values = column[start : start + _BLOCK]
                if start and values.dtype == object:
                    yield "", b"\0"  # which separates the texts
                yield (name if not start else ""), array_bytes(values)
