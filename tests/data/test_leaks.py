"""Facts on leaks in the data: examples in two splits, columns that reveal the target."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from PIL import Image

from dlcli.data.leaks import leak_facts
from dlcli.data.splits import Splits
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.inputs import Inputs, TableColumns, array_inputs
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources import Examples
from dlcli.spec.data.sources.column_kinds import kinds_of
from dlcli.spec.data.sources.column_kinds.number import NumberColumn
from dlcli.tasks import TASKS

Array = np.ndarray[Any, Any]


def _splits(task: str = "binary", **parts: tuple[Any, Array]) -> Splits:
    examples = {
        name: Examples(_inputs(inputs), targets, [f"{name}/{number}" for number in range(len(targets))])
        for name, (inputs, targets) in parts.items()
    }
    classes = ("target",) if task in ("regression", "multilabel") else ("no", "yes")
    return Splits(**examples, classes=classes, task=TASKS[task])


def _inputs(values: Any) -> Inputs:
    if isinstance(values, Inputs):
        return values
    return TableColumns(values, kinds_of(values)) if isinstance(values, dict) else array_inputs(values)


def _rows(count: int, seed: int = 0, columns: int = 4) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    return random.normal(size=(count, columns)).astype("float32"), random.integers(0, 2, count)


def test_copies_of_training_rows_are_counted_with_their_ids_and_labels() -> None:
    x, y = _rows(100)
    test = np.concatenate([x[[5, 17, 30]], _rows(20, seed=1)[0]])
    labels = np.concatenate([y[[5, 17]], 1 - y[[30]], _rows(20, seed=1)[1]])
    duplicates = leak_facts(_splits(train=(x, y), test=(test, labels)))["duplicates"]["test"]
    assert duplicates == {
        "examples": 3,
        "of": 23,
        "same_label": 2,
        "some": [["test/0", "train/5"], ["test/1", "train/17"], ["test/2", "train/30"]],
    }


def test_table_rows_with_gaps_in_the_same_cells_are_equal() -> None:
    def table(numbers: list[float], words: list[str]) -> dict[str, Array]:
        return {"size": np.array(numbers, dtype="float32"), "colour": np.array(words, dtype=object)}

    train = table([1, np.nan, 3, 1], ["red", "", "blue", "red"])
    test = table([np.nan, 1, 3], ["", "blue", "blue"])
    facts = leak_facts(_splits(train=(train, np.array([0, 1, 0, 0])), test=(test, np.array([1, 0, 0]))))
    assert facts["duplicates"]["test"]["some"] == [["test/0", "train/1"], ["test/2", "train/2"]]
    assert facts["repeats"] == 0.25


def test_large_images_that_differ_in_one_corner_are_not_duplicates() -> None:
    images = np.random.default_rng(0).integers(0, 255, (6, 40, 40, 3)).astype("uint8")
    other = images.copy()
    other[:4, 0, 0, 0] += 1
    facts = leak_facts(_splits(train=(images, np.arange(6) % 2), test=(other, np.arange(6) % 2)))
    assert facts["duplicates"]["test"]["examples"] == 2
    assert not facts["rows"]


def test_image_files_are_compared_by_their_bytes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3)).astype("uint8")
    paths = [tmp_path / f"{number}.bmp" for number in range(4)]  # all of one size
    for path, pixels in zip(paths, images, strict=True):
        Image.fromarray(pixels).save(path)
    copy = tmp_path / "copy.bmp"
    copy.write_bytes(paths[2].read_bytes())

    def files(*chosen: Path) -> ImageFiles:
        return ImageFiles(tuple(map(str, chosen)), ImageSettings(size=(8, 8), channels=3))

    train, test = files(*paths[:3]), files(copy, paths[3])
    facts = leak_facts(_splits(train=(train, np.array([0, 1, 0])), test=(test, np.array([0, 1]))))
    assert facts["duplicates"]["test"]["some"] == [["test/0", "train/2"]]


def test_a_validation_split_that_is_also_the_test_split_is_compared_once() -> None:
    x, y = _rows(40)
    splits = _splits(train=(x[:30], y[:30]), validation=(x[30:], y[30:]))
    splits = replace(splits, test=splits.validation, test_is_validation=True)
    assert list(leak_facts(splits)["duplicates"]) == ["validation"]


def test_a_column_that_reveals_the_class_is_listed_first() -> None:
    x, y = _rows(600)
    x[:, 2] = y * 3 + np.random.default_rng(1).random(600)
    columns = leak_facts(_splits(train=(x, y)))["columns"]
    best, second = columns["targets"][""][:2]
    assert best == ["2", 1.0]
    assert second[1] < 0.3
    assert columns["of"] == 4


def test_a_text_column_that_reveals_the_class_is_found_but_unique_ids_are_not() -> None:
    _, y = _rows(400)
    table = {
        "id": np.array([f"row {number}" for number in range(400)], dtype=object),
        "fate": np.array(["lost", "saved"], dtype=object)[y],
    }
    scores = dict(leak_facts(_splits(train=(table, y)))["columns"]["targets"][""])
    assert scores["fate"] == 1.0
    assert scores["id"] <= 0.05


def test_a_column_with_the_target_in_another_unit_explains_the_target() -> None:
    x, _ = _rows(500)
    target = (x[:, [1]] * 2.54 + 7).astype("float32")
    scores = leak_facts(_splits("regression", train=(x, target)))["columns"]["targets"]["target"]
    assert scores[0][0] == "1"
    assert scores[0][1] > 0.99
    assert scores[1][1] < 0.2


def test_the_kind_of_a_column_says_whether_its_values_have_an_order() -> None:
    class CodeColumn(NumberColumn):
        """Numbers without an order."""

        name = "code"
        is_numeric = False

    values = np.random.default_rng(0).random(400).astype("float32")
    table = TableColumns({"size": values, "code": values}, {"size": NumberColumn(), "code": CodeColumn()})
    scores = dict(leak_facts(_splits(train=(table, (values > 0.5).astype("int64"))))["columns"]["targets"][""])
    assert scores["size"] > 0.95
    assert scores["code"] == 0  # each code occurs once, so the rows with the same code say nothing


def test_leaks_in_ten_thousand_small_examples_are_searched_within_a_second() -> None:
    x, y = _rows(10_000, columns=20)
    splits = _splits(train=(x[:7000], y[:7000]), validation=(x[7000:8000], y[7000:8000]), test=(x[8000:], y[8000:]))
    began = process_time()
    leak_facts(splits)
    assert process_time() - began < 1.0  # of CPU time, which other processes do not change much; it takes 0.05 s


def test_the_memory_of_the_search_for_leaks_grows_with_the_examples_and_not_with_their_pairs() -> None:
    _, small, large = (_peak_memory(examples) for examples in (1_000, 1_000, 10_000))  # the first one also imports
    assert large < 20 * small


def _peak_memory(examples: int) -> int:
    """Returns the bytes that the search for leaks holds at most."""
    x, y = _rows(examples, columns=20)
    first, second = examples * 7 // 10, examples * 8 // 10
    splits = _splits(train=(x[:first], y[:first]), validation=(x[first:second], y[first:second]), test=(x[second:], y[second:]))
    tracemalloc.start()
    try:
        leak_facts(splits)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
