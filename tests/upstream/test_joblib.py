"""Files that the installed joblib writes are read with the same values, and nothing else in a pickle is."""

from __future__ import annotations

import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from dlcli.errors import DataError
from dlcli.upstream.joblib import read_array

MIXED = np.array([[1, b"tcp", 0.5], [2**40, b"", None]], dtype=object)
ARRAYS = {
    "rows": np.arange(12.0).reshape(3, 4),
    "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "chosen columns": np.arange(12.0).reshape(3, 4)[:, [2, 0]],
    "numbers": np.arange(5, dtype="int32"),
    "bytes": np.arange(8, dtype="uint8").reshape(2, 4).T.copy(),
    "big endian": np.arange(3, dtype=">f8"),
    "nothing": np.zeros((0, 3)),
    "objects": MIXED,
    "objects of a column": MIXED[:, 1],
}


class Trap:
    """Leaves a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("compress", [0, 3, 9])
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_read_as_joblib_reads_them(tmp_path: Path, name: str, compress: int) -> None:
    path = tmp_path / "samples_py3"
    joblib.dump(ARRAYS[name], path, compress=compress)
    array, expected = read_array(path, 10_000), joblib.load(path)
    assert array.shape == expected.shape
    assert array.tolist() == expected.tolist()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_every_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "file"
    for array in (ARRAYS["columns"], MIXED):
        joblib.dump(array, path, protocol=protocol)
        assert read_array(path, 10_000).tolist() == array.tolist()
    path.write_bytes(pickle.dumps(MIXED, protocol=protocol))  # earlier versions of joblib wrote objects so
    assert read_array(path, 10_000).tolist() == MIXED.tolist()


def test_the_trap_works(tmp_path: Path) -> None:
    joblib.dump(Trap(tmp_path / "mark"), tmp_path / "file")
    joblib.load(tmp_path / "file")
    assert (tmp_path / "mark").exists()


def test_no_other_object_is_made(tmp_path: Path) -> None:
    path, trap = tmp_path / "file", Trap(tmp_path / "mark")
    for content in (trap, [trap], np.array([trap], dtype=object), {"rows": trap}):
        joblib.dump(content, path, compress=3)
        with pytest.raises(DataError, match=r"file: the file asks for `posix\.mkdir`, which is not read: only arrays are"):
            read_array(path, 10_000)
    joblib.dump(np.array([[1], {}], dtype=object), path)
    with pytest.raises(DataError, match="holds objects that are neither numbers nor texts"):
        read_array(path, 10_000)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"rows": 1}, "not an array that joblib wrote: it holds dict"),
        (np.array(["a"]), "the array holds values of the type <U1"),
        (np.zeros(2, [("x", "f8")]), "the array has fields"),
        (np.array(["2020-01-01"], "datetime64[D]"), "the array holds values of the type datetime64"),
    ],
)
def test_other_content_is_named(tmp_path: Path, content: Any, words: str) -> None:
    joblib.dump(content, tmp_path / "file")
    with pytest.raises(DataError) as error:
        read_array(tmp_path / "file", 10_000)
    assert words in str(error.value)


def test_damaged_and_too_large_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(DataError, match="file: No such file or directory"):
        read_array(path, 100)
    joblib.dump(np.zeros((100, 100)), path, compress=6)
    with pytest.raises(DataError, match="takes more than the 0 MB of memory"):
        read_array(path, 10_000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="the file is truncated"):
        read_array(path, 100_000)
    path.write_bytes(b"no array")
    with pytest.raises(DataError, match="not an array that joblib wrote: Error -3"):
        read_array(path, 100_000)
    plain = zlib.decompress(whole)
    for end in range(1, 300, 7):
        path.write_bytes(plain[:end])
        with pytest.raises(DataError):
            read_array(path, 100_000)
