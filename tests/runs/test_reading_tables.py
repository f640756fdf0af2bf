"""Reading the tables of a run folder."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from dlcli.errors import DamagedFile
from dlcli.runs import files
from dlcli.runs.files import read_cells, write_table


def test_a_small_table_reserves_no_memory_for_the_largest(tmp_path: Path) -> None:
    write_table(tmp_path / "rows.csv", ("id", "loss"), [("a", "1"), ("b", "2")])
    tracemalloc.start()
    try:
        assert read_cells(tmp_path / "rows.csv") == (["id", "loss"], [["a", "1"], ["b", "2"]])
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_table_above_the_largest_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.csv"
    write_table(path, ("id",), [("a",)])
    monkeypatch.setattr(files, "_LARGEST_TABLE", path.stat().st_size)
    assert read_cells(path) == (["id"], [["a"]])
    monkeypatch.setattr(files, "_LARGEST_TABLE", path.stat().st_size - 1)
    with pytest.raises(DamagedFile, match="larger than 4 bytes"):
        read_cells(path)
