"""Inputs of every kind have the same interface and behaviour."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image

from dlcli.runtime import inputs as module
from dlcli.runtime.engine import tf
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.inputs import Arrays, Images, Inputs, TableColumns, array_inputs
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources.column_kinds import NUMBER, kinds_of

EQUAL, OTHER = (0, 3), 1
"""Places of examples in every data set below: two equal ones, and a different one."""


def pixels() -> Any:
    images = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3)).astype("uint8")
    images[3] = images[0]
    return images


@pytest.fixture(params=["rows", "images", "memmap", "columns", "files"])
def inputs(request: pytest.FixtureRequest, tmp_path: Path) -> Inputs:
    rows = np.array([[1.5, np.nan], [2.5, 3.0], [4.0, 5.0], [1.5, np.nan]], "float32")
    if request.param == "rows":
        return array_inputs(rows)
    if request.param == "images":
        return array_inputs(pixels())
    if request.param == "memmap":
        np.save(tmp_path / "rows.npy", rows)
        return array_inputs(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    if request.param == "columns":
        columns = {"size": rows[:, 1], "city": np.array(["Bern", "", "Rome", "Bern"], dtype=object)}
        return TableColumns(columns, kinds_of(columns))
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, image in zip(paths, pixels(), strict=True):
        Image.fromarray(image).save(path)
    return ImageFiles(tuple(map(str, paths)), ImageSettings(size=(5, 6), channels=3))


def arrays(batch: Any) -> list[Any]:
    """Returns the arrays of a batch: a single array, or one per column."""
    return [np.asarray(value) for value in (batch.values() if isinstance(batch, dict) else [batch])]


def equal(first: Any, second: Any) -> bool:
    pairs = zip(arrays(first), arrays(second), strict=True)
    return all(np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f") for ours, theirs in pairs)


def test_the_examples_in_the_docstrings_of_inputs_run() -> None:
    assert doctest.testmod(module).attempted > 3
    assert doctest.testmod(module).failed == 0


def test_a_selection_of_inputs_is_read_as_from_all_inputs(inputs: Inputs) -> None:
    selection = inputs.take(np.array([2, 0]))
    assert (len(selection), selection.kind, selection.shape) == (2, inputs.kind, inputs.shape)
    assert equal(selection.read(np.arange(2)), inputs.read(np.array([2, 0])))


def test_the_reader_for_tf_data_returns_the_same_batches_as_read(inputs: Inputs) -> None:
    read = inputs.reader()
    dataset = tf.data.Dataset.from_tensors(tf.constant([3, 1])).map(read)
    assert equal(next(iter(dataset)), inputs.read(np.array([3, 1])))


def test_equal_examples_have_equal_keys_and_digests(inputs: Inputs) -> None:
    keys = inputs.keys(np.arange(4))
    digests = [inputs.digest(place) for place in range(4)]
    for answers in (keys, digests):
        assert answers[EQUAL[0]] == answers[EQUAL[1]]
        assert answers[OTHER] not in (answers[0], answers[2])


def test_content_changes_with_the_values(inputs: Inputs) -> None:
    def content(inputs: Inputs) -> bytes:
        return b"".join(name.encode() + bytes(part) for name, part in inputs.content())

    assert content(inputs) == content(inputs.take(np.arange(4)))
    assert content(inputs) != content(inputs.take(np.array([1, 0, 2, 3])))


def test_rows_convert_to_a_table_and_back() -> None:
    rows = Arrays(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert list(rows.table()) == ["0", "1"]
    assert equal(rows.with_table(rows.table()).read(np.arange(2)), rows.values)
    columns = TableColumns({"a": np.array([1.0, 2.0], "float32")}, {"a": NUMBER})
    assert list(columns.with_table({"a": np.array([5.0, 6.0])}).columns["a"]) == [5.0, 6.0]


def test_images_have_four_axes_of_8_bits() -> None:
    assert isinstance(array_inputs(pixels()), Images)
    assert [array_inputs(values).kind for values in (pixels().astype("float32"), pixels()[..., 0])] == ["arrays", "arrays"]
    assert not array_inputs(pixels()).are_rows
    assert Arrays(np.zeros((2, 3))).are_rows


QUESTION = re.compile(r"""hasattr\([\w.]+, "(read|unreadable)"\)|isinstance\([\w.]*inputs, (dict|np\.)|input\.name [=!]=""")
HOMES = {"runtime/inputs.py", "data/inputs.py"}


def test_no_other_module_asks_for_the_kind_of_inputs() -> None:
    sources = REPOSITORY / "src" / "dlcli"
    asking = {str(path.relative_to(sources)) for path in sources.rglob("*.py") if QUESTION.search(path.read_text("utf-8"))}
    assert asking <= HOMES
