"""The history file: rows are appended, incomplete rows are ignored, and a resumed run removes later rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dlcli.errors import DamagedFile
from dlcli.runs.history import History

ROWS: list[dict[str, Any]] = [
    {"stage": "head", "epoch": 1, "loss": 0.1 + 0.2, "learning_rate": 1e-30, "seconds": 0.25},
    {"stage": "head", "epoch": 2, "loss": float("nan"), "learning_rate": 1e-30, "seconds": 1.0},
    {"stage": "all", "epoch": 3, "loss": 1 / 3, "learning_rate": 1e-05, "learning_rate_backbone": 1e-7, "seconds": 2.5},
    {"stage": "all", "epoch": 4, "loss": 1e300, "learning_rate": 1e-05, "learning_rate_backbone": 1e-7, "seconds": 2.5},
]


def _appended(path: Path, count: int = len(ROWS)) -> History:
    history = History(path)
    for epoch in range(1, count + 1):
        history.append_last(ROWS[:epoch])
    return history


def test_appended_rows_give_the_same_file_as_writing_at_once(tmp_path: Path) -> None:
    History(tmp_path / "whole.csv").replace(ROWS)
    history = _appended(tmp_path / "appended.csv")
    assert (tmp_path / "appended.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert [row["learning_rate_backbone"] for row in history.rows()] == ["", "", "1e-07", "1e-07"]


def test_an_epoch_appends_its_row_without_rewriting_the_file(tmp_path: Path) -> None:
    history = _appended(tmp_path / "history.csv", 1)
    before = os.stat(tmp_path / "history.csv").st_ino
    history.append_last(ROWS[:2])
    assert os.stat(tmp_path / "history.csv").st_ino == before
    history.append_last(ROWS[:1])
    assert len(history.rows()) == 1, "a run that starts again rewrites the file"


@pytest.mark.parametrize("length", [1, 5, 20])
def test_an_incomplete_row_of_a_killed_process_is_ignored(tmp_path: Path, length: int) -> None:
    path = tmp_path / "history.csv"
    history = _appended(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:length])
    assert [row["epoch"] for row in history.rows()] == ["1", "2", "3"]
    assert [row["epoch"] for row in history.cut(3)] == [1, 2, 3]
    assert path.read_bytes() == b"".join(lines[:-1])


def test_rows_after_the_checkpoint_are_removed_and_the_rest_is_read_exactly(tmp_path: Path) -> None:
    history = _appended(tmp_path / "history.csv")
    rows = history.cut(3)
    assert [repr(sorted(row.items())) for row in rows] == [repr(sorted(row.items())) for row in ROWS[:3]]
    assert len(history.rows()) == 3
    assert history.cut(0) == []
    assert history.rows() == []


def test_a_history_that_lacks_rows_of_the_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedFile, match=r"history.csv: has 2 rows, but the run's checkpoint was written after 3 epochs"):
        _appended(tmp_path / "history.csv", 2).cut(3)


def test_rows_are_not_appended_through_a_link(tmp_path: Path) -> None:
    history = _appended(tmp_path / "history.csv", 2)
    (tmp_path / "history.csv").rename(tmp_path / "elsewhere.csv")
    (tmp_path / "history.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(DamagedFile, match="not a file inside the run"):
        history.append_last(ROWS[:2])
