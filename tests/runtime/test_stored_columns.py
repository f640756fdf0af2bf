"""Rows of a table in a file: batches, columns and the content of a fingerprint have the bits of columns in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.arrays import Array
from dlcli.data.unfamiliar import gaps_of
from dlcli.runtime.column_kinds import Encoding
from dlcli.runtime.columns import column_inputs
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.inputs import Inputs, TableColumns
from dlcli.runtime.row_file import FileColumn, RowFile, RowFileWriter, is_row_file
from dlcli.runtime.stored_columns import StoredColumns
from dlcli.spec.data.sources.column_kinds import CATEGORY, NUMBER

ROWS = 300
TEXTS = ("red", "", "blue", "grün")
KINDS = {"x": NUMBER, "colour": CATEGORY, "y": NUMBER, "shape": CATEGORY}


def columns() -> dict[str, Array]:
    random = np.random.default_rng(0)
    x = random.normal(size=ROWS).astype("float32")
    x[::7] = np.nan
    x[1:3] = np.array([0x7FC00001, 0x80000000], "uint32").view("float32")  # another NaN, and -0.0
    return {
        "x": x,
        "colour": random.integers(0, 4, ROWS).astype("int32"),
        "y": random.normal(size=ROWS).astype("float32"),
        "shape": random.integers(0, 2, ROWS).astype("int32"),
    }


def write(path: Path, *, block: int = 64) -> RowFile:
    with path.open("wb") as file:
        writer = RowFileWriter(file, ROWS, 4)
        for start in range(0, ROWS, block):
            writer.add([values[start : start + block] for values in columns().values()])
        writer.finish(
            [FileColumn("x", 43), FileColumn("colour", 75, TEXTS), FileColumn("y", 0), FileColumn("shape", 0, ("a", "b"))]
        )
    return RowFile(path)


@pytest.fixture(scope="module")
def places() -> Array:
    """The rows of a split, some of them twice and in no order."""
    return np.random.default_rng(1).integers(0, ROWS, 200).astype("uint32")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, places: Array) -> StoredColumns:
    return StoredColumns(write(tmp_path_factory.mktemp("rows") / "rows.raw"), places, KINDS)


@pytest.fixture(scope="module")
def in_memory(places: Array) -> TableColumns:
    values = columns() | {
        "colour": np.array(TEXTS, dtype=object)[columns()["colour"]],
        "shape": np.array(["a", "b"], dtype=object)[columns()["shape"]],
    }
    return TableColumns({name: column[places] for name, column in values.items()}, KINDS)


def assert_same_columns(first: Inputs, second: Inputs) -> None:
    assert list(first.columns) == list(second.columns)
    for name, column in second.columns.items():
        ours = first.columns[name]
        assert ours.dtype == column.dtype
        assert ours.tobytes() == column.tobytes() if ours.dtype != object else ours.tolist() == column.tolist()


def test_columns_keys_digests_and_gaps_are_those_of_columns_in_memory(stored: StoredColumns, in_memory: TableColumns) -> None:
    assert_same_columns(stored, in_memory)
    assert_same_columns(stored.take(np.array([5, 0, 5])), in_memory.take(np.array([5, 0, 5])))
    at = np.array([3, 199, 0])
    assert stored.keys(at) == in_memory.keys(at)
    assert stored.digest(7) == in_memory.digest(7)
    assert stored.memory_bytes == in_memory.memory_bytes
    assert gaps_of(stored) == gaps_of(in_memory)


def test_the_content_of_the_fingerprint_has_the_same_bytes_in_blocks(
    stored: StoredColumns, in_memory: TableColumns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def joined(inputs: Inputs) -> bytes:
        return b"".join(name.encode() + bytes(content) for name, content in inputs.content())

    expected = joined(in_memory)
    assert joined(stored) == expected
    monkeypatch.setattr("dlcli.runtime.stored_columns._BLOCK", 13)
    assert joined(stored) == expected


@pytest.mark.parametrize("shared", [{}, {"numbers": ("y", "x")}])
def test_batches_have_the_same_bits(stored: StoredColumns, in_memory: TableColumns, shared: dict[str, tuple[str, ...]]) -> None:
    ours, theirs = stored.sharing(shared), in_memory.sharing(shared)
    at = np.array([9, 3, 3, 150])

    def bits(batch: dict[str, Any]) -> dict[str, Any]:
        return {name: (values.dtype, values.shape, values.numpy().tobytes()) for name, values in batch.items()}

    def texts(batch: dict[str, Any]) -> dict[str, Any]:
        return {name: values.numpy().tolist() for name, values in batch.items() if values.dtype == tf.string}

    expected = theirs.read(at)
    for batch in (ours.read(at), tf.function(ours.reader())(tf.constant(at)), ours.take(at).read(np.arange(4))):
        assert texts(batch) == texts(expected)
        assert bits({k: v for k, v in batch.items() if v.dtype != tf.string}) == bits(
            {k: v for k, v in expected.items() if v.dtype != tf.string}
        )


@pytest.mark.parametrize("normalize", ["unit", "symmetric", "standard", "none"])
def test_the_encoding_has_the_same_bits(
    stored: StoredColumns, in_memory: TableColumns, normalize: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlcli.spec.data.sources.column_kinds.number._BLOCK_ROWS", 64)
    monkeypatch.setattr("dlcli.spec.data.sources.column_kinds.category._BLOCK_ROWS", 64)
    features = []
    for inputs in (stored, in_memory):
        encoded = column_inputs(inputs.table(), inputs.layout, Encoding(normalize))
        model = keras.Model(encoded.inputs, encoded.features)
        features.append(model(inputs.read(np.arange(len(inputs)))).numpy())
    assert features[0].tobytes() == features[1].tobytes()


def test_a_file_may_be_deleted_while_it_is_open_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.raw"
    file = write(path, block=100)
    content = path.read_bytes()
    path.unlink()
    np.testing.assert_array_equal(file.values("colour", np.arange(ROWS)), np.array(TEXTS, dtype=object)[columns()["colour"]])
    path.write_bytes(content)
    assert is_row_file(path)
    for damaged in (b"", content[:-1], content[: len(content) // 2], content[4:], b"\0" * len(content), content + b"\0" * 8):
        path.write_bytes(damaged)
        assert not is_row_file(path)
        with pytest.raises(OSError, match="damaged"):
            RowFile(path)
