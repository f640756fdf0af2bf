"""Files of `joblib.dump` that hold one array, read without joblib and without unpickling any other object.

`joblib.load` runs whatever a file asks for. Here every name in a file stands for an inert class of this module, and no other
name is read. The format is joblib's own (github.com/joblib/joblib `joblib/numpy_pickle.py`, `NumpyArrayWrapper`): a pickle of a
wrapper with the array's type and shape, and then its bytes; an array of objects is a second pickle in their place.
`tests/upstream/test_joblib.py` reads what the installed joblib writes.
"""

from __future__ import annotations

import pickle
import zlib
from io import BytesIO
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dlcli.errors import DataError

if TYPE_CHECKING:
    from dlcli.arrays import Array

_UNCOMPRESSED = b"\x80"
"""The first byte of a pickle; compressed files begin with the header of zlib."""


def read_array(path: Path, most_bytes: int) -> Array:
    """Returns the array in a file of `joblib.dump`, compressed by zlib or not; it may be read-only.

    Its values are numbers, or objects: bytes, texts, numbers and None.

    Args:
        path: the file.
        most_bytes: the most bytes that its content may have.

    Raises:
        DataError: the file cannot be read, is larger, or holds anything but one such array.
    """
    try:
        content = inflated(path, most_bytes)
        stored = _ArrayUnpickler(content, BytesIO(content)).load()
        if isinstance(stored, _Stored):
            return stored.array
        reason = f"it holds {type(stored).__name__}"
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # damaged pickles raise errors of any kind
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    raise DataError(f"{path}: not an array that joblib wrote: {reason}")


def inflated(path: Path, most_bytes: int, wbits: int = zlib.MAX_WBITS) -> bytes:
    """Returns the content of a compressed file, or of a file that is a plain pickle.

    Args:
        path: the file.
        most_bytes: the most bytes that the content may have.
        wbits: the format: that of zlib, or of gzip.

    Raises:
        OSError, zlib.error: the file cannot be read, or is damaged.
        DataError: the content is larger, or the file is truncated.
    """
    content = path.read_bytes()
    if content[:1] != _UNCOMPRESSED:
        decompressor = zlib.decompressobj(wbits)
        content = decompressor.decompress(content, most_bytes + 1)
        if not decompressor.eof and len(content) <= most_bytes:
            raise DataError("the file is truncated")
    if len(content) > most_bytes:
        raise DataError(f"its content takes more than the {most_bytes / 1e6:,.0f} MB of memory that may be used")
    return content


class _ArrayUnpickler(pickle.Unpickler):
    """Reads a pickle in which every object is an array; other names are refused."""

    def __init__(self, content: bytes, file: BytesIO) -> None:
        # BytesIO has no method `peek`, so that `pickle` reads no byte ahead of the pickle: the array's bytes follow.
        super().__init__(file, fix_imports=False)

        class Wrapper(_Wrapper):
            source = (content, file)

        self._names = {**_NAMES, ("joblib.numpy_pickle", "NumpyArrayWrapper"): Wrapper}

    def find_class(self, module: str, name: str) -> Any:
        """Returns the inert class that a name in the file stands for."""
        if (module, name) not in self._names:
            raise DataError(f"the file asks for `{module}.{name}`, which is not read: only arrays are")
        return self._names[module, name]


class _Stored:
    """An array that was read."""

    array: Array


class _Wrapper(_Stored):
    """A wrapper of joblib: the array's bytes, or a pickle of its objects, follow it in the file."""

    source: ClassVar[tuple[bytes, BytesIO]]

    def __setstate__(self, state: dict[str, Any]) -> None:
        content, file = self.source
        shape, dtype = _shape(state["shape"]), state["dtype"].numpy_dtype()
        if dtype.kind == "O":
            self.array = _ArrayUnpickler(content, file).load().array
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            file.seek(file.read(1)[0], 1)
        order = "F" if state["order"] == "F" else "C"
        self.array = _numbers(content, file.tell(), shape, dtype, order)
        file.seek(self.array.nbytes, 1)


class _PickledArray(_Stored):
    """An array that NumPy itself pickled."""

    def __setstate__(self, state: tuple[int, Any, Any, bool, Any]) -> None:
        import numpy as np

        _, shape, dtype, by_column, values = state
        order = "F" if by_column else "C"
        if dtype.numpy_dtype().kind != "O":
            self.array = _numbers(values, 0, _shape(shape), dtype.numpy_dtype(), order)
            return
        if not all(value is None or type(value) in (bytes, str, int, float, bool) for value in values):
            raise DataError("the array holds objects that are neither numbers nor texts")
        array = np.empty(len(values), dtype=object)
        array[:] = values
        self.array = array.reshape(_shape(shape))


class _Dtype:
    """The type of an array's values, by the text that describes it."""

    def __init__(self, text: str, *_: Any) -> None:
        self._text, self._order = text, ""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[2:5] != (None, None, None):
            raise DataError("the array has fields")
        self._order = state[1] if state[1] in ("<", ">") else ""

    def numpy_dtype(self) -> Any:
        """Returns the type of NumPy, of numbers or objects."""
        import numpy as np

        dtype = np.dtype(f"{self._order}{self._text}")
        if dtype.kind not in "biufO" or dtype.shape:
            raise DataError(f"the array holds values of the type {dtype}")
        return dtype


class _ArrayClass:
    """The class of arrays, which a pickle names."""


def _reconstruct(*_: Any) -> _PickledArray:
    return _PickledArray()


def _encoded(text: str, encoding: str) -> bytes:
    """Returns bytes, which pickles of protocol 2 write as text."""
    if encoding != "latin1":
        raise DataError(f"the file asks for the encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Returns empty bytes, which pickles of protocol 2 write as a call."""
    return b""


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _Dtype,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): _no_bytes,
}


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise DataError(f"the array has the shape {shape!r}")
    return shape


def _numbers(content: bytes, start: int, shape: tuple[int, ...], dtype: Any, order: Any) -> Array:
    """Returns the numbers that begin at a position of the content."""
    import numpy as np

    values: Array = np.frombuffer(content, dtype, prod(shape), start).reshape(shape, order=order)
    return values
