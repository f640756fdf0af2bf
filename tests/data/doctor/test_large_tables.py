"""A table is read one column after the other, and checks that read a sample of its rows say so."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trainings import write_spec

from dlcli.arrays import Array
from dlcli.data.doctor.check import Check, Subject, no_progress
from dlcli.data.doctor.checks.duplicate_columns import DuplicateColumns
from dlcli.data.doctor.checks.missing_values import MissingValues
from dlcli.data.doctor.checks.outliers import Outliers
from dlcli.data.doctor.checks.repeated_rows import RepeatedRows
from dlcli.data.doctor.checks.revealing_columns import RevealingColumns
from dlcli.data.doctor.checks.uninformative_columns import UninformativeColumns
from dlcli.data.doctor.doctor import examine, open_subject
from dlcli.runtime.inputs import TableColumns
from dlcli.spec.data.sources import Examples
from dlcli.spec.load import load

ROWS, COLUMNS = 60_000, 80
CHECKS: tuple[Check, ...] = (
    *(MissingValues(), UninformativeColumns(), DuplicateColumns()),
    *(RevealingColumns(), Outliers(), RepeatedRows()),
)


class _ColumnsOnDisk(Mapping[str, Array]):
    """Columns that are read when they are asked for."""

    def __init__(self, columns: Mapping[str, Array], folder: Path) -> None:
        self.paths = {name: folder / f"{name}.npy" for name in columns}
        for name, values in columns.items():
            np.save(self.paths[name], values)

    def __getitem__(self, name: str) -> Array:
        return np.asarray(np.load(self.paths[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def _subject(folder: Path, rows: int, columns: int) -> Subject:
    """Returns a table on the disk with a planted copy of a column, copies of three rows, and gaps in a column."""
    rng = np.random.default_rng(0)
    table = {f"x{place}": rng.normal(size=rows) for place in range(columns - 1)}
    table["x0"][rng.random(rows) < 0.1] = np.nan
    for values in table.values():
        values[100:103] = values[:3]
    table["inches"] = table["x1"] / 2.54
    table["target"] = np.where(rng.random(rows) < 0.5, "yes", "no")
    pq.write_table(pa.table(table), folder / "rows.parquet")
    source = "{kind: parquet, path: rows.parquet, target: target, validation: 0.1, test: 0.1}"
    return open_subject(load(write_spec(folder, source)).experiment, offline=True, thorough=False)


def _on_disk(subject: Subject, folder: Path) -> Subject:
    def moved(examples: Examples) -> Examples:
        inputs = examples.inputs
        assert isinstance(inputs, TableColumns)
        part = folder / str(len(list(folder.iterdir())))
        part.mkdir()
        return replace(examples, inputs=replace(inputs, by_name=_ColumnsOnDisk(inputs.by_name, part)))

    return replace(subject, splits=subject.splits.changed(moved))


def _issues(subject: Subject) -> set[str]:
    return {issue.kind for check in CHECKS for issue in check.issues(subject, no_progress)}


def test_the_checks_of_a_table_hold_a_few_of_its_columns_at_once(tmp_path: Path) -> None:
    (tmp_path / "columns").mkdir()
    _issues(_subject(tmp_path, 200, 5))  # imports what the checks need, which would be counted
    subject = _on_disk(_subject(tmp_path, ROWS, COLUMNS), tmp_path / "columns")
    tracemalloc.start()
    try:
        issues = _issues(subject)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {"duplicate column", "missing values", "repeated rows"} <= issues
    assert peak < ROWS * COLUMNS * 4  # less than the columns take together


def test_equal_rows_are_found_in_all_splits_also_with_missing_values(tmp_path: Path) -> None:
    subject = _subject(tmp_path, 400, 5)
    examples = [name for issue in RepeatedRows().issues(subject, no_progress) for name in issue.examples]
    rows = {int(name.rpartition("/")[2]) for name in examples}
    assert rows <= {0, 1, 2, 100, 101, 102}
    assert {place % 100 for place in rows} == {0, 1, 2}


def test_a_check_of_a_sample_says_how_many_rows_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlcli.data.doctor.checks.revealing_columns.MOST_ROWS", 100)
    notes = examine(_subject(tmp_path, 400, 5), fast=True).notes
    (note,) = [note for note in notes if "only a sample" in note]
    assert note.startswith("columns that reveal the target: only a sample was checked: 100 of ")


def test_checks_of_the_first_columns_say_how_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlcli.data.doctor.checks.duplicate_columns._MOST_COLUMNS", 3)
    for module in ("dlcli.data.leaks", "dlcli.data.doctor.checks.revealing_columns"):
        monkeypatch.setattr(f"{module}.MOST_COLUMNS", 2)
    notes = examine(_subject(tmp_path, 400, 5), fast=True).notes
    assert [note for note in notes if "only a sample" in note] == [
        "duplicate columns: only a sample was checked: the first 3 of 5 columns",
        "columns that reveal the target: only a sample was checked: the first 2 of 5 columns",
    ]


def test_categories_under_two_names_are_found_also_if_a_sample_of_the_rows_has_most_of_them_once(tmp_path: Path) -> None:
    rows = 10_000
    day = np.arange(rows) // 4
    table = {
        "day": [f"day {number}" for number in day.tolist()],
        "date": [f"date {number:05}" for number in day.tolist()],
        "name": [f"n{number}" for number in range(rows)],
        "code": [f"c{number}" for number in range(rows)],
        "x": np.random.default_rng(0).normal(size=rows),
        "target": ["yes", "no"] * (rows // 2),
    }
    pq.write_table(pa.table(table), tmp_path / "days.parquet")
    source = "{kind: parquet, path: days.parquet, target: target, max_categories: 20000, validation: 0, test: 0}"
    experiment = load(write_spec(tmp_path, source)).experiment
    (issue,) = DuplicateColumns().issues(open_subject(experiment, offline=True, thorough=False), no_progress)
    assert issue.columns == ("date",)
    assert issue.evidence == ("'date' is 'day', perhaps in another unit",)
