"""The inputs of examples: images, columns of a table, or other arrays of numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar, Literal, Self

import numpy as np

from dlcli.arrays import Array
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.runtime.columns import InputLayout
from dlcli.runtime.hashes import mixed

Kind = Literal["images", "columns", "arrays"]
_KEY_BYTES = 1024


class Inputs(ABC):
    """The inputs of examples, addressed by position. Everything that depends on their kind is a method here.

    >>> inputs = Arrays(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]], "float32"))
    >>> inputs.kind, len(inputs), inputs.shape
    ('arrays', 3, (2,))
    >>> inputs.take(np.array([1])).read(np.array([0])).tolist()
    [[3.0, 4.0]]
    >>> first, second, third = inputs.keys(np.arange(3))
    >>> first == third, first == second
    (True, False)
    """

    kind: ClassVar[Kind]
    in_files: ClassVar[bool] = False
    """Whether each example is read from a file."""

    @property
    def on_disk(self) -> bool:
        """Whether the rows of a table stay on the disk, since all of them need not fit into memory."""
        return False

    @property
    def gathers(self) -> bool:
        """Whether the function of `reader` gathers examples from memory by TensorFlow's own operations."""
        return False

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of examples."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one example; None for named columns."""

    @property
    def columns(self) -> Mapping[str, Array]:
        """The named columns `(n,)`; empty for other inputs."""
        return {}

    @property
    def column_kinds(self) -> Mapping[str, ColumnKind]:
        """The kind of each named column; empty for other inputs."""
        return {}

    @property
    def text_columns(self) -> list[str]:
        """The named columns of texts."""
        return [name for name, kind in self.column_kinds.items() if kind.is_text]

    @property
    def layout(self) -> InputLayout:
        """Which columns each input of the model takes; no inputs where there are no named columns."""
        return InputLayout({})

    @property
    def are_rows(self) -> bool:
        """Whether an example is a row of a table or of numbers: equal rows may be a coincidence."""
        return self.shape is None or len(self.shape) == 1

    @property
    def memory_bytes(self) -> int:
        """The bytes of all examples in memory; of texts, those of the references to them."""
        return sum(column.nbytes for column in self.columns.values())

    @property
    def dtype_name(self) -> str:
        """The type of the values; empty for columns of several types."""
        return ""

    @property
    def is_padded(self) -> bool:
        """Whether some examples are series that end early: the steps after their ends are NaN."""
        return False

    @abstractmethod
    def take(self, places: Array) -> Self:
        """Returns the inputs of the examples at the given places."""

    @abstractmethod
    def read(self, places: Array) -> Any:
        """Returns a batch in the form that a saved model takes: an array `(n, ...)`, or tensors `(n, columns)` by input name.

        Raises:
            DataError: a file cannot be read.
        """

    @abstractmethod
    def reader(self) -> Callable[[Any], Any]:
        """Returns a function from indices to a batch, to be called inside `tf.data`."""

    def expect_repeats(self) -> None:
        """Prepares for reading the examples several times: of files, as many as fit are kept in memory."""
        return

    @abstractmethod
    def keys(self, places: Array) -> list[Any]:
        """Returns a key for each example: equal examples have equal keys, and few others do."""

    @abstractmethod
    def digest(self, place: int) -> bytes:
        """Returns a digest of a whole example: equal for equal examples only."""

    @abstractmethod
    def content(self) -> Iterator[tuple[str, bytes | memoryview]]:
        """Yields the names and bytes that enter the fingerprint of the data.

        Raises:
            DataError: a file cannot be read.
        """

    def table(self) -> Mapping[str, Array]:
        """Returns rows as columns by name; columns without names are numbered from 0.

        Those of a table on the disk are read when their values at slices or places are asked for (`StoredColumn`).
        """
        return self.columns

    def with_table(self, columns: Mapping[str, Array]) -> Inputs:
        """Returns inputs of the same kind with the values of a table like that of `table`."""
        raise NotImplementedError

    def sharing(self, shared: Mapping[str, tuple[str, ...]]) -> Inputs:
        """Returns the inputs for a model in which the given columns share inputs (`InputLayout.shared`)."""
        return self

    def scale(self, normalize: str) -> tuple[Array, Array]:
        """Returns the offset and the divisor of each feature of the last axis, float64.

        `normalize` is `standard` (mean and deviation), `unit` (to [0, 1]) or `symmetric` (to [-1, 1]). The divisor of a
        constant feature is 1, so that it becomes 0.
        """
        raise NotImplementedError

    @property
    def entity_scales(self) -> Mapping[str, list[list[float]]]:
        """The means and the deviations by which windows of each series are scaled; empty where they are not."""
        return {}

    def unreadable(self, *, thorough: bool) -> dict[int, str]:
        """Returns the positions of examples with unreadable files, and the errors; see `ImageFiles.unreadable`."""
        return {}


@dataclass(frozen=True, eq=False)
class Arrays(Inputs):
    """Arrays of numbers in memory.

    Attributes:
        values: all arrays `(n, ...)`; a `numpy.memmap` is read when needed.
    """

    values: Array
    kind: ClassVar[Kind] = "arrays"

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(self.values.shape[1:])

    @property
    def memory_bytes(self) -> int:
        """The bytes of all values."""
        return int(self.values.nbytes)

    @property
    def dtype_name(self) -> str:
        """The type of the values."""
        return str(self.values.dtype)

    def take(self, places: Array) -> Self:
        """Returns the arrays at the given places."""
        return type(self)(self.values[places])

    def read(self, places: Array) -> Array:
        """Returns the arrays at the given places."""
        chosen: Array = self.values[places]
        return chosen

    @property
    def gathers(self) -> bool:
        """True, but for arrays that are read from the disk."""
        return not isinstance(self.values, np.memmap)

    def reader(self) -> Callable[[Any], Any]:
        """Returns a function from indices to a batch."""
        from dlcli.runtime.engine import tf

        values = self.values
        if isinstance(values, np.memmap):
            shape = (None, *values.shape[1:])
            return lambda indices: tf.ensure_shape(tf.numpy_function(values.__getitem__, [indices], values.dtype), shape)
        return _gathering(values)

    def keys(self, places: Array) -> list[Any]:
        """Returns the middle of each array's bytes."""
        flat = self.values.reshape(len(self), -1)
        most = max(1, _KEY_BYTES // self.values.itemsize)
        start = max(0, (flat.shape[1] - most) // 2)
        middle = np.ascontiguousarray(flat[places, start : start + most])
        return list(middle.view(np.dtype((np.void, middle.itemsize * middle.shape[1]))).ravel().tolist())

    def digest(self, place: int) -> bytes:
        """Returns a digest of an array's bytes."""
        return blake2b(np.ascontiguousarray(self.values[place]).tobytes()).digest()

    def content(self) -> Iterator[tuple[str, bytes | memoryview]]:
        """Yields the bytes of all values."""
        yield "", array_bytes(self.values)

    def table(self) -> dict[str, Array]:
        """Returns the columns of rows, by their numbers from 0."""
        return {str(place): column for place, column in enumerate(self.values.T)}

    def with_table(self, columns: Mapping[str, Array]) -> Arrays:
        """Returns rows with these columns."""
        return Arrays(np.stack(list(columns.values()), axis=1))

    def scale(self, normalize: str) -> tuple[Array, Array]:
        """Returns offset and divisor of the last axis."""
        values, axes = self.values, tuple(range(self.values.ndim - 1))
        if normalize == "standard":
            return values.mean(axes, dtype="float64"), not_zero(values.std(axes, dtype="float64"))
        low, high = values.min(axes).astype("float64"), values.max(axes).astype("float64")
        if normalize == "unit":
            return low, not_zero(high - low)
        return (low + high) / 2, not_zero((high - low) / 2)


class Images(Arrays):
    """8-bit images in memory, `(n, height, width, channels)`."""

    kind: ClassVar[Kind] = "images"


@dataclass(frozen=True, eq=False)
class TableColumns(Inputs):
    """Named columns of a table.

    Attributes:
        by_name: the values `(n,)` of each column, as its kind reads them.
        kinds: the kind of each column.
        model_layout: which columns each input of the model takes; None for a new model.
    """

    by_name: Mapping[str, Array]
    kinds: Mapping[str, ColumnKind]
    model_layout: InputLayout | None = None
    kind: ClassVar[Kind] = "columns"

    @property
    def columns(self) -> Mapping[str, Array]:
        """The columns by name."""
        return self.by_name

    @property
    def column_kinds(self) -> Mapping[str, ColumnKind]:
        """The kinds of the columns by name."""
        return self.kinds

    @cached_property
    def layout(self) -> InputLayout:
        """Which columns each input of the model takes."""
        return InputLayout.of(self.kinds) if self.model_layout is None else self.model_layout

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def shape(self) -> None:
        """None: columns have names."""
        return

    def take(self, places: Array) -> Self:
        """Returns the rows at the given places."""
        return self._with({name: column[places] for name, column in self.columns.items()})

    def with_table(self, columns: Mapping[str, Array]) -> Self:
        """Returns rows of the same kinds of columns with these values."""
        return self._with(dict(columns))

    def _with(self, columns: Mapping[str, Array]) -> Self:
        return type(self)(columns, self.kinds, self.layout)

    def sharing(self, shared: Mapping[str, tuple[str, ...]]) -> Self:
        """Returns the columns for a model in which the given ones share inputs."""
        return replace(self, model_layout=InputLayout(self.kinds, shared))

    def read(self, places: Array) -> dict[str, Any]:
        """Returns the tensors `(n, columns)` of the rows at the given places, by the names of the model's inputs."""
        return self.layout.tensors({name: column[places] for name, column in self.columns.items()})

    def reader(self) -> Callable[[Any], Any]:
        """Returns a function from indices to the columns of a batch, by the names of the model's inputs."""
        readers = {name: _gathering(values) for name, values in self.layout.arrays(self.columns).items()}
        return lambda indices: {name: read(indices) for name, read in readers.items()}

    def keys(self, places: Array) -> list[Any]:
        """Returns a hash of each row's cells; one column is read after the other."""
        return list(row_hashes((column[places] for column in self.columns.values()), len(places)).tolist())

    def digest(self, place: int) -> bytes:
        """Returns a digest of a row's cells."""
        row = [cells(column[place : place + 1]) for column in self.columns.values()]
        return blake2b(repr(row).encode(errors="surrogatepass")).digest()

    def content(self) -> Iterator[tuple[str, bytes | memoryview]]:
        """Yields the bytes of each column by name."""
        for name, column in self.columns.items():
            yield name, array_bytes(column)


def array_inputs(values: Array) -> Arrays:
    """Returns arrays as inputs: `uint8` arrays of four axes are images."""
    return Images(values) if values.dtype == np.uint8 and values.ndim == 4 else Arrays(values)


def array_bytes(values: Array) -> bytes | memoryview:
    """Returns the bytes of an array; for text, its encoded characters."""
    if values.dtype == object:
        return "\0".join(values).encode()
    if not values.size:  # its memory cannot be cast
        return b""
    return np.ascontiguousarray(values).data.cast("B")


def cells(column: Array) -> Sequence[Any]:
    """Returns the values of `comparable` as a list."""
    values: list[Any] = comparable(column).tolist()
    return values


def row_hashes(columns: Iterable[Array], rows: int) -> Array:
    """Returns a hash of the cells of each row, uint64 `(rows,)`, from one column `(rows,)` after the other.

    Equal rows have equal hashes in one process, also where they have gaps: Python hashes texts anew in each process.
    """
    hashes = np.zeros(rows, "uint64")
    for column in columns:
        values = comparable(column)
        if values.dtype == object:
            cell_hashes = np.fromiter(map(hash, values.tolist()), "int64", rows)
        else:
            cell_hashes = values.astype("int64")
        hashes = mixed(hashes * np.uint64(3) + cell_hashes.view("uint64"))
    return hashes


def comparable(column: Array) -> Array:
    """Returns values that are equal for equal cells, also for gaps: NaN is not equal to itself, but its bits are."""
    return column.view(f"i{column.itemsize}") if column.dtype.kind == "f" else column


def _gathering(values: Array) -> Callable[[Any], Any]:
    """Returns a function from indices to values, gathered from the host's memory."""
    from dlcli.runtime.engine import tf
    from dlcli.runtime.stream import on_host

    tensor = on_host(values[:, None] if values.ndim == 1 else values)
    return lambda indices: tf.gather(tensor, indices)


def not_zero(divisor: Array) -> Array:
    """Returns the divisor with 1 for constant features."""
    return np.where(divisor > 0, divisor, 1.0)
