"""The stored predictions of a stage's best model, for the comparison of stages."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dlcli.errors import DamagedFile
from dlcli.runs import RunFolder
from dlcli.runs.stage_answers import read_stage_answers, write_stage_answers


def test_stage_predictions_are_read_back(tmp_path: Path) -> None:
    answers = np.random.default_rng(0).random((4, 3)).astype("float32")
    write_stage_answers(RunFolder(tmp_path), 1, answers)
    assert os.listdir(tmp_path / "stages") == ["2.npz"]
    assert np.array_equal(read_stage_answers(RunFolder(tmp_path), 1), answers)
    assert read_stage_answers(RunFolder(tmp_path), 0) is None


@pytest.mark.parametrize("damage", ["cut", "packed", "text", "other", "pipe"])
def test_unreadable_stage_predictions_are_none(tmp_path: Path, damage: str) -> None:
    """If a damaged file were an error, a resumed run would fail at the end of its training."""
    write_stage_answers(RunFolder(tmp_path), 0, np.zeros((1000, 3), "float32"))
    path = tmp_path / "stages" / "1.npz"
    content = path.read_bytes()
    path.unlink()
    if damage == "pipe":
        os.mkfifo(path)
    elif damage == "packed":
        np.savez_compressed(path, answers=np.zeros(10**6, "float32"))
    elif damage == "other":
        np.savez(path, labels=np.zeros(3))
    else:
        path.write_bytes(content[:300] if damage == "cut" else b"no archive")
    assert read_stage_answers(RunFolder(tmp_path), 0) is None


def test_stage_predictions_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "stages").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedFile, match="not a folder inside the run"):
        write_stage_answers(RunFolder(tmp_path), 0, np.zeros((1, 3), "float32"))
    assert not list((tmp_path / "elsewhere").iterdir())
