"""Large tables in Parquet: typed columns, splits by a hash of the row's number, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.killing import assert_same_bits
from training.test_resume import Stopping, gone_on, stopped
from trainings import trained, write_spec

from dlcli.data.fingerprint import fingerprint
from dlcli.data.splits import open_splits
from dlcli.errors import DataError
from dlcli.runs import RunFolder
from dlcli.spec.data.sources import Examples
from dlcli.spec.data.sources.csv import Csv
from dlcli.spec.data.sources.parquet import Parquet
from dlcli.spec.data.sources.parquet_parts import unit_hashes
from dlcli.spec.data.sources.row_ids import RowIds, recorded_names
from dlcli.spec.load import load
from spec.sources.opening import opened, request


def rows(count: int = 1000, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    x = random.normal(size=count).astype("float32")
    return pa.table(
        {
            "x": pa.array([None if place % 50 == 7 else float(value) for place, value in enumerate(x)], pa.float64()),
            "count": pa.array(random.integers(0, 5, count), pa.int32()),
            "town": pa.array([None if place % 90 == 8 else f"town {place % 3}" for place in range(count)]),
            "is_new": pa.array(random.random(count) < 0.5),
            "y": pa.array(np.where(x > 0, "yes", "no")),
            "price": pa.array(2 * x + 1, pa.float32()),
        }
    )


def write(path: Path, table: pa.Table, *, group: int = 128) -> str:
    pq.write_table(table, path, row_group_size=group)
    return str(path)


def source(path: str, target: str | list[str] = "y", **fields: Any) -> Parquet:
    drop = fields.pop("drop", ["price"] if target == "y" else ["y"])
    data = {"kind": "parquet", "path": path, "target": target, "drop": drop, **fields}
    return Parquet.model_validate(data, context={"folder": "/"})


def refusal(made: Parquet, task: str = "classification") -> str:
    with pytest.raises(DataError) as caught:
        made.open(request(task))
    return str(caught.value)


def test_columns_are_those_that_the_csv_source_reads_from_the_same_file(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", rows())
    data = opened(source(path, test=0.0, validation=0.0))
    text = Csv.model_validate({"kind": "csv", "path": path, "target": "y", "drop": ["price"]}, context={"folder": "/"})
    expected = opened(text)
    ours, theirs = data.parts["train"], expected.parts["train"]
    assert data.classes == expected.classes
    assert ours.inputs.column_kinds == theirs.inputs.column_kinds
    np.testing.assert_array_equal(ours.targets, theirs.targets)
    for name, column in theirs.inputs.columns.items():
        np.testing.assert_array_equal(ours.inputs.columns[name], column)
    assert list(ours.ids) == list(theirs.ids)
    assert data.lines[0] == "table: parquet, 6 columns, 1,000 rows in 8 row groups of 1 file"


def test_files_of_a_folder_or_a_pattern_are_one_table_and_must_have_the_same_columns(tmp_path: Path) -> None:
    whole = rows()
    write(tmp_path / "b.parquet", whole.slice(600))
    write(tmp_path / "a.parquet", whole.slice(0, 600))
    for path in (str(tmp_path), str(tmp_path / "*.parquet")):
        train = opened(source(path, test=0.0, validation=0.0)).parts["train"]
        np.testing.assert_array_equal(train.inputs.columns["count"], whole["count"].to_numpy())
    write(tmp_path / "c.parquet", whole.drop_columns(["count"]))
    ((place, message),) = source(str(tmp_path)).faults()
    assert (place, message) == (
        "path", f"{tmp_path / 'c.parquet'}: column `count` is no column, but int32 in {tmp_path / 'a.parquet'}",
    )  # fmt: skip


def test_splits_follow_a_hash_of_the_row_number_so_appended_rows_change_none(tmp_path: Path) -> None:
    data = opened(source(write(tmp_path / "rows.parquet", rows(4000))))
    shares = {part: len(examples) / 4000 for part, examples in data.parts.items()}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.02)
    earlier = opened(source(write(tmp_path / "less.parquet", rows(1000))))
    for part, examples in earlier.parts.items():
        assert set(examples.ids) == {name for name in data.parts[part].ids if int(name.rpartition("/")[2]) < 1000}
    draws = unit_hashes(np.arange(100_000), 0)
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.02
    assert abs(np.corrcoef(draws, unit_hashes(np.arange(100_000), 1))[0, 1]) < 0.02


def test_other_files_may_be_the_splits(tmp_path: Path) -> None:
    whole = rows()
    path = write(tmp_path / "train.parquet", whole.slice(0, 800))
    test = write(tmp_path / "test.parquet", whole.slice(800))
    parts = opened(source(path, test=test, validation=0.0)).parts
    assert {part: len(examples) for part, examples in parts.items()} == {"train": 800, "test": 200}
    assert parts["test"].ids[3] == "test/3"


def test_targets_are_numbers_truth_values_or_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", rows(40))
    assert opened(source(path, "price"), "regression").parts["train"].targets.shape[1:] == (1,)
    several = opened(source(path, ["is_new", "count"], features=["x"], drop=[], test=0.0, validation=0.0), "regression")
    np.testing.assert_array_equal(several.parts["train"].targets[:, 0], rows(40)["is_new"].to_numpy(zero_copy_only=False))
    assert opened(source(path, "count", drop=["y", "price"])).classes == ("0", "1", "2", "3", "4")


def test_rows_without_a_target_are_refused_or_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", rows(100))
    made = source(path, "x", features=["count"], drop=[], test=0.0, validation=0.0)
    assert refusal(made, "regression") == (
        f"{path}: 2 of 100 rows have no value in the target column (x), the first is row 7 (from 0); set"
        " `data.source.missing_target: drop` to leave them out"
    )
    data = opened(made.model_copy(update={"missing_target": "drop"}), "regression")
    assert len(data.parts["train"]) == 98
    assert "2 of 100 rows have no value in the target column (x) and are left out" in data.notes


def test_wrong_columns_and_values_are_named(tmp_path: Path) -> None:
    table = rows(100).append_column("dates", pa.array([0] * 100, pa.timestamp("s")))
    path = write(tmp_path / "rows.parquet", table.append_column("name", pa.array([f"row {row}" for row in range(100)])))
    faults = dict(source(path, "yy", drop=["prise"]).faults())
    assert faults["target"] == "the file has no column `yy`; did you mean `y`?"
    assert faults["drop"] == "column `dates` holds timestamp[ms], which is neither numbers nor text; list it in `drop`"
    assert "did you mean `price`?" in str(list(source(path, drop=["prise", "dates"]).faults()))
    assert "column `name` has more than 20 different values in the first 100 rows" in refusal(
        source(path, drop=["dates", "price"], max_categories=20)
    )
    infinite = write(tmp_path / "inf.parquet", pa.table({"x": [1.0, 1e300], "y": ["a", "b"]}))
    assert refusal(source(infinite, drop=[])) == (
        f"{infinite}: column `x` contains a number in row 1 that is infinite or too large"
    )
    assert dict(source(path, drop=["dates", "price"], test=0.6, validation=0.5).faults())["test"].startswith("the shares of")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parquet")
    text = f"{{kind: parquet, path: {write(folder / 'rows.parquet', rows())}, target: y, drop: [price]}}"
    return write_spec(folder, text, task="binary", data="batch_size: 64, augment: [{kind: column_noise, stddev: 0.1}]")


@pytest.fixture(scope="module")
def run(spec: Path) -> RunFolder:
    return trained(spec)


@pytest.mark.usefixtures("without_pictures")
def test_a_run_records_whole_splits_in_a_line_and_finds_them_again(spec: Path, run: RunFolder) -> None:
    assert run.split() == {"train/*": "train", "validation/*": "validation", "test/*": "test"}
    again = open_splits(run.experiment(), split=run.split())
    assert again.fingerprint == run.data()["fingerprint"]
    assert again.fingerprint == open_splits(load(spec).experiment).fingerprint


@pytest.mark.usefixtures("without_pictures")
def test_a_killed_training_whose_rows_are_encoded_batch_by_batch_ends_with_the_bits_of_a_whole_one_in_memory(
    spec: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlcli.models.network.fits_in_memory", lambda _: False)
    killed = stopped(spec, Stopping(step=15))  # in the second of two epochs of 11 or 12 steps
    gone_on(killed)
    assert_same_bits(killed, run)


def test_a_drawn_split_of_a_table_without_its_own_is_recorded_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", rows(100))
    text = f"{{kind: parquet, path: {path}, target: y, drop: [price], test: 0, validation: 0}}"
    experiment = load(write_spec(tmp_path, text, task="binary")).experiment
    splits = open_splits(experiment)
    recorded = {name: split for split, examples in splits.distinct.items() for name in recorded_names(examples.ids)}
    assert len(recorded) == 100
    assert open_splits(experiment, split=recorded).fingerprint == splits.fingerprint


@pytest.mark.parametrize("indices", [pa.int8(), pa.uint8(), pa.uint32()])
def test_categories_are_those_of_the_rows_also_of_a_larger_dictionary(tmp_path: Path, indices: pa.DataType) -> None:
    """Polars writes unsigned indices, and a filtered table keeps the values of all rows."""
    places = pa.array([0, 1, None, 1] * 10, indices)
    town = pa.DictionaryArray.from_arrays(places, pa.array([f"town {number}" for number in range(100)]))
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"town": town, "y": ["a", "b", "a", "b"] * 10}), path)
    made = source(str(path), target="y", drop=[], max_categories=5, test=0.0, validation=0.0)
    train = made.open(replace(request("binary"), side_columns=("town",))).parts["train"]
    assert train.inputs.columns["town"][:4].tolist() == ["town 0", "town 1", "", "town 1"]
    assert train.side_columns["town"][:4].tolist() == ["town 0", "town 1", None, "town 1"]


def test_computed_ids_have_the_fingerprint_of_listed_ones() -> None:
    from dlcli.runtime.inputs import Arrays

    inputs, targets = Arrays(np.zeros((70_000, 1), "float32")), np.zeros(70_000, "int64")
    ids = RowIds("train", np.arange(70_000))
    assert fingerprint({"train": Examples(inputs, targets, ids)}) == fingerprint(
        {"train": Examples(inputs, targets, list(ids))}
    )
    assert ids == list(ids)
    assert ids[2:4] == ["train/2", "train/3"]
