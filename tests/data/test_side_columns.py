"""Columns of tables of images, Parquet files and Hugging Face folders that decide the split and are no inputs."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data.splitting import experiment_of, ids, opened, write_rows
from dlcli.errors import DataError, SpecError
from dlcli.upstream.huggingface import import_datasets

COUNT = 48
COLUMNS: dict[str, list[Any]] = {
    "x": [float(row % 5) for row in range(COUNT)],
    "patient": [2**60 + row // 4 for row in range(COUNT)],  # float64 cannot tell these apart
    "day": [date(2024, 1, 1) + timedelta(days=row // 2) for row in range(COUNT)],
    "part": ["test" if row % 4 == 0 else None if row % 4 == 1 else "train" for row in range(COUNT)],
    "use": ["test" if row % 4 == 0 else "train" for row in range(COUNT)],
    "label": ["ab"[row % 2] for row in range(COUNT)],
}
KINDS = ["image_table", "parquet", "huggingface"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("side")
    pq.write_table(pa.table(COLUMNS), folder / "rows.parquet", row_group_size=20)
    for row in range(COUNT):
        Image.new("L", (4, 4), 5 * row).save(folder / f"{row}.png")
    rows = zip([f"{row}.png" for row in range(COUNT)], *COLUMNS.values(), strict=True)
    write_rows(folder / "rows.csv", ("file", *COLUMNS), [[*row] for row in rows])
    pytest.importorskip("datasets", reason="the extra `huggingface` is not installed")
    import_datasets().Dataset.from_dict(COLUMNS).save_to_disk(folder / "set")
    return {
        "image_table": f"{{kind: image_table, path: {folder / 'rows.csv'}, image: file, target: label}}",
        "parquet": f"{{kind: parquet, path: {folder / 'rows.parquet'}, target: label, validation: 0, test: 0}}",
        "huggingface": f"{{kind: huggingface, path: {folder / 'set'}, target: label}}",
    }


def splits_of(sources: dict[str, str], kind: str, split: str) -> Any:
    """Returns the splits by a column; the columns that decide other splits are no inputs either."""
    others = [name for name in ("patient", "day", "part", "use") if name not in split]
    drop = "" if kind == "image_table" else f", drop: [{', '.join(others)}]"
    return opened(sources[kind].replace("}", f"{drop}}}"), split, more=", image: {size: [4, 4]}" * (kind == "image_table"))


def rows_of(splits: Any, name: str) -> set[int]:
    return {int(example.removeprefix("train/").removesuffix(".png")) for example in ids(splits, name)}


@pytest.mark.parametrize("kind", KINDS)
def test_groups_are_a_column_that_is_no_input(sources: dict[str, str], kind: str) -> None:
    splits = splits_of(sources, kind, "{group: patient}")
    groups = [{row // 4 for row in rows_of(splits, name)} for name in ("train", "validation", "test")]
    assert sum(map(len, groups)) == len(set.union(*groups)) == COUNT // 4
    assert set(splits.groups().values()) == {str(2**60 + group) for group in range(COUNT // 4)}
    assert kind == "image_table" or list(splits.train.inputs.columns) == ["x"]
    assert not any("patient" in note for note in splits.notes if "not used" in note)


@pytest.mark.parametrize("kind", KINDS)
def test_the_latest_dates_are_the_test_split(sources: dict[str, str], kind: str) -> None:
    splits = splits_of(sources, kind, "{time: day, validation: 0, test: 0.25}")
    assert rows_of(splits, "test") == set(range(36, COUNT))
    assert "split by `day`: train 2024-01-01 to 2024-01-18, test 2024-01-19 to 2024-01-24" in splits.notes


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_names_the_split_of_each_example(sources: dict[str, str], kind: str) -> None:
    splits = splits_of(sources, kind, "{column: use, validation: 0}")
    assert rows_of(splits, "test") == set(range(0, COUNT, 4))
    with pytest.raises(DataError, match=r"data\.split\.column: 12 examples have no value of `part`"):
        splits_of(sources, kind, "{column: part}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_column_is_found_before_the_source_is_opened(sources: dict[str, str], kind: str) -> None:
    with pytest.raises(SpecError, match="the source has no column `pateint`; did you mean `patient`"):
        splits_of(sources, kind, "{group: pateint}")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("{group: patient}", "data.split.group: the source has its own validation and test split, drawn row by row; set"),
        ("{time: day}", "data.split.time: has no effect: the source has its own validation and test split; set"),
        ("{column: use}", "data.split.column: the source has its own validation and test split; set"),
        ("{method: hash}", "data.split.method: has no effect: the source has its own validation and test split; set"),
    ],
)
def test_rows_that_a_parquet_source_draws_itself_are_not_split_otherwise(
    sources: dict[str, str], split: str, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        experiment_of(sources["parquet"].replace(", validation: 0, test: 0", ""), split)
    assert f"{message} `data.source.validation: 0` and `data.source.test: 0`" in str(caught.value)


def test_a_split_by_time_that_the_parts_of_a_source_leave_nothing_to_do_is_refused(tmp_path: Path) -> None:
    x, y = np.zeros((8, 2)), np.arange(8) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y, x_test=x, y_test=y, x_validation=x, y_validation=y, day=np.arange(8))
    source = f"{{kind: npz, path: {tmp_path / 'a.npz'}}}"
    with pytest.raises(SpecError, match=r"data\.split\.time: has no effect: the source has its own validation and test split"):
        experiment_of(source, "{time: day}")


@pytest.mark.parametrize("kind", ["parquet", "huggingface"])
def test_other_data_may_lack_columns_that_are_no_inputs(sources: dict[str, str], kind: str, tmp_path: Path) -> None:
    source = experiment_of(sources[kind].replace("}", ", drop: [day]}"), "{group: patient}").data.source
    some = {name: COLUMNS[name] for name in ("x", "day", "part", "use", "label")}
    pq.write_table(pa.table(some), tmp_path / "rows.parquet")
    import_datasets().Dataset.from_dict(some).save_to_disk(tmp_path / "set")
    other = source.elsewhere(str(tmp_path / ("set" if kind == "huggingface" else "rows.parquet")))
    assert other is not None
    assert list(other.faults()) == []
