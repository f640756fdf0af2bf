"""`data.cache` of large tables: where their rows are kept, that it changes no result, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli.killing import assert_same_bits
from spec.sources.test_parquet import rows, write
from training.test_resume import Stopping, gone_on, stopped
from trainings import trained, write_spec

from dlcli.data.doctor.doctor import examine, open_subject
from dlcli.data.other_data import open_other
from dlcli.data.splits import Splits, open_splits
from dlcli.data.table_storage import TableStorage, table_plan
from dlcli.errors import DataError, SpecError
from dlcli.models.describe import describe_spec
from dlcli.runs import RunFolder
from dlcli.runtime.inputs import TableColumns
from dlcli.runtime.stored_columns import StoredColumns
from dlcli.spec.data.sources.row_storage import LargeTable
from dlcli.spec.load import load

FREE = "dlcli.data.memory_limit.free_memory"
LARGE = LargeTable("rows.parquet", 5_000_000, 9, 200_000_000, 740_000_000, lambda: "key")


def written_spec(folder: Path, *, data: str = "batch_size: 64") -> Path:
    text = f"{{kind: parquet, path: {write(folder / 'rows.parquet', rows())}, target: y, drop: [price]}}"
    return write_spec(folder, text, task="binary", data=data)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    return written_spec(folder, data="batch_size: 64, augment: [{kind: column_noise, stddev: 0.1}]")


@pytest.fixture(scope="module")
def run(spec: Path) -> RunFolder:
    return trained(spec, ["data.cache=memory"])


def opened(spec: Path, cache: str, lines: list[str] | None = None, overrides: Sequence[str] = ()) -> Splits:
    log = (lambda line: None) if lines is None else lines.append
    experiment = load(spec, [f"data.cache={cache}", *overrides]).experiment
    return open_splits(experiment, pixels=spec.parent / ".pixels", log=log)


def test_the_files_of_all_splits_are_planned_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {part: write(tmp_path / f"{part}.parquet", rows()) for part in ("train", "test")}
    text = f"{{kind: parquet, path: {paths['train']}, test: {paths['test']}, validation: 0, target: y, drop: [price]}}"
    spec = write_spec(tmp_path, text, task="binary")
    experiment = load(spec).experiment
    table = experiment.data.source.large_table()
    assert table is not None
    assert table.rows == 2 * len(pq.read_table(paths["train"]))
    monkeypatch.setattr(FREE, lambda: int(4 * table.training_bytes * 0.75))  # one of the files would fit into a quarter
    assert isinstance(open_splits(experiment, pixels=tmp_path / ".pixels").train.inputs, StoredColumns)


@pytest.mark.usefixtures("without_pictures")
def test_other_data_is_read_as_the_run_says(spec: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(str(load(spec).experiment.data.source.path))  # type: ignore[attr-defined]
    assert isinstance(open_other(run.experiment(), run, path, offline=True).examples.inputs, TableColumns)
    monkeypatch.setattr(FREE, lambda: 1000)
    assert isinstance(open_other(run.experiment(), run, path, offline=True).examples.inputs, StoredColumns)


def stored_files(spec: Path) -> list[Path]:
    return sorted((spec.parent / ".pixels").iterdir())


def test_splits_have_the_same_rows_targets_facts_and_fingerprint_on_the_disk(spec: Path) -> None:
    memory, disk = opened(spec, "memory"), opened(spec, "disk")
    assert memory.describe() == disk.describe()
    for split, examples in disk.by_name.items():
        expected = memory.by_name[split]
        assert isinstance(examples.inputs, StoredColumns)
        assert isinstance(expected.inputs, TableColumns)
        assert examples.ids == expected.ids
        np.testing.assert_array_equal(examples.targets, expected.targets)
        for name, column in expected.inputs.columns.items():
            np.testing.assert_array_equal(examples.inputs.columns[name], column)


@pytest.mark.usefixtures("without_pictures")
def test_a_killed_training_with_rows_on_the_disk_ends_with_the_bits_of_a_whole_one_in_memory(
    spec: Path, run: RunFolder
) -> None:
    killed = stopped(spec, Stopping(step=15), ["data.cache=disk"])  # in the second of two epochs of 11 or 12 steps
    (file,) = (spec.parent / "runs" / ".pixels").iterdir()
    file.unlink()  # as after a month: it is written again
    gone_on(killed)
    assert file.exists()
    assert_same_bits(killed, run)
    for name in ("data.json", "split.csv", "data_report.json", "evaluation/test/predictions.csv"):
        assert (killed.path / name).read_bytes() == (run.path / name).read_bytes()


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.slow
@pytest.mark.parametrize("caches", [("disk", "memory"), ("memory", "disk")])
def test_a_run_may_be_resumed_with_another_setting(spec: Path, run: RunFolder, caches: tuple[str, str]) -> None:
    killed = stopped(spec, Stopping(step=15), [f"data.cache={caches[0]}"])
    gone_on(killed, [f"data.cache={caches[1]}"])
    assert_same_bits(killed, run)


def test_changed_files_are_written_again_and_refused_by_a_run(tmp_path: Path) -> None:
    spec = written_spec(tmp_path)
    before = opened(spec, "disk")
    first = stored_files(spec)
    opened(spec, "disk")
    assert stored_files(spec) == first
    table = rows()
    write(tmp_path / "rows.parquet", table.set_column(1, "count", table["count"].combine_chunks().fill_null(0).take(
        np.r_[1:1000, 0]
    )))  # fmt: skip
    os.utime(tmp_path / "rows.parquet", ns=(1, 1))
    changed = opened(spec, "disk")
    assert len(stored_files(spec)) == 2
    assert changed.fingerprint != before.fingerprint
    opened(spec, "disk", overrides=["data.source.drop=[price, count]"])
    assert len(stored_files(spec)) == 3  # other columns are another file


def test_auto_keeps_rows_in_memory_if_what_a_training_makes_of_them_fits(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FREE, lambda: 4 * 72_000)  # 1,000 rows of 2 numbers and 2 texts: 24 bytes, and 48 with their copies
    assert isinstance(opened(spec, "auto").train.inputs, TableColumns)
    monkeypatch.setattr(FREE, lambda: 4 * 71_999)
    lines: list[str] = []
    assert isinstance(opened(spec, "auto", lines).train.inputs, StoredColumns)
    assert lines[-1] == f"data: 1,000 rows of 4 columns: 24 KB, read in batches from a file in {spec.parent / '.pixels'}"


def test_the_plan_of_a_check_says_where_the_rows_will_be(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FREE, lambda: 2_000_000_000)
    assert TableStorage("memory").plan(LARGE) == "data: 5,000,000 rows of 9 columns: 200 MB in memory"
    assert TableStorage("disk").plan(LARGE) == (
        "data: 5,000,000 rows of 9 columns: 200 MB, read in batches from a file of 360 MB on the disk"
    )
    assert TableStorage("auto").plan(LARGE) == (
        "data: 5,000,000 rows of 9 columns: 200 MB, and 740 MB with what a training makes of them; 2.0 GB of memory are free,"
        " of which 500 MB may be used: read in batches from a file of 360 MB on the disk"
    )
    assert table_plan(load(spec).experiment.data) == ""  # of a small table
    assert table_plan(load(spec, ["data.cache=disk"]).experiment.data).startswith("data: 1,000 rows of 4 columns: 24 KB, read")


def test_a_table_that_memory_cannot_hold_is_refused_with_numbers_but_scored(
    spec: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FREE, lambda: 50_000)
    with pytest.raises(DataError) as caught:
        opened(spec, "memory")
    assert str(caught.value) == (
        f"data.cache: memory: {spec.parent / 'rows.parquet'}: 1,000 rows of 4 columns: 24 KB, and 72 KB with what a training"
        " makes of them; 50 KB of memory are free, of which 38 KB may be used: about 520 rows would fit; `auto` and `disk`"
        " keep the rows in a file"
    )
    scored = open_splits(run.experiment(), split=run.split(), pixels=spec.parent / ".pixels")
    assert isinstance(scored.train.inputs, StoredColumns)
    assert scored.fingerprint == run.data()["fingerprint"]


def test_none_is_refused_since_rows_are_not_decoded_in_each_epoch(spec: Path) -> None:
    with pytest.raises(SpecError, match=r"data\.cache: `none` decodes image files in each epoch; the rows of `parquet` are"):
        load(spec, ["data.cache=none"])


def test_a_full_disk_and_a_folder_that_cannot_be_written_are_refused(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load(spec, ["data.cache=disk"]).experiment
    with monkeypatch.context() as patch:
        patch.setattr("dlcli.data.stored_files.free_disk", lambda _: 30_000)
        with pytest.raises(DataError, match=r"1,000 rows of 4 columns need 32 KB, but on the disk of .* only 30 KB are free"):
            open_splits(experiment, pixels=tmp_path / ".pixels")
    assert not (tmp_path / ".pixels").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"^data\.cache: disk: .*file.*: Not a directory"):
        open_splits(experiment, pixels=tmp_path / "file" / ".pixels")


@pytest.mark.parametrize("column", ["x", "y"])
def test_a_parquet_file_that_is_damaged_in_the_middle_is_refused_and_leaves_no_file(tmp_path: Path, column: str) -> None:
    spec = written_spec(tmp_path)
    path = tmp_path / "rows.parquet"
    place = {"x": 0, "y": 4}[column]
    chunk = pq.ParquetFile(path).metadata.row_group(4).column(place)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"rows\.parquet: "):
        opened(spec, "disk")
    assert column == "y" or not list((tmp_path / ".pixels").iterdir())


def test_a_link_in_place_of_the_folder_is_refused(spec: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".pixels").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="dlcli does not write here"):
        open_splits(load(spec, ["data.cache=disk"]).experiment, pixels=tmp_path / ".pixels")


def test_commands_without_a_folder_use_a_temporary_file_that_they_delete(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = spec.parent / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    lines = describe_spec(load(spec, ["data.cache=disk"]).experiment).data["lines"]
    assert lines[:2] == [
        "data: 1,000 rows of 4 columns are written to a temporary file, 32 KB",
        "data: 1,000 rows of 4 columns: 24 KB, read in batches from a temporary file",
    ]
    assert not list(temporary.iterdir())


def test_smote_and_the_checks_of_a_large_table_say_that_they_need_it_in_memory(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imblearn")
    splits = opened(spec, "disk")
    smote = load(spec, ["data.balance=smote", "data.source.features=[count]"]).experiment.data.balance
    with pytest.raises(DataError, match="smote needs all training rows in memory, but those of this table stay on the disk"):
        smote.refuse_unfit(splits.train.inputs, [])
    subject, in_memory = (open_subject(load(spec, [f"data.cache={cache}"]).experiment) for cache in ("disk", "memory"))
    # A new subject has no cached rows yet.
    assert examine(replace(subject), fast=True).issues == examine(in_memory, fast=True).issues
    monkeypatch.setattr("dlcli.data.doctor.check.MOST_FAST_CELLS", 3999)
    notes = "\n".join(examine(replace(subject), fast=True).notes)
    assert "missing values: not checked: the table has more than 3,999 cells and stays on the disk" in notes
