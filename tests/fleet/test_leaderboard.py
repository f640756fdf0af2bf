"""The leaderboard of a batch: one table for each dataset, runs by id, a CSV, and the next command."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from runs.making import SPEC, make_run

from dlcli.cli.fleet_display import show_leaderboard
from dlcli.errors import UsageError
from dlcli.fleet.batch.leaderboard import leaderboard, write_leaderboard
from dlcli.runs import all_runs
from dlcli.runs.batches import Batch, Job, Settings
from dlcli.runs.files import read_table


def made(folder: Path) -> Batch:
    """Makes a batch of two datasets and two settings, of which one has failed."""
    texts = {name: SPEC.format(name=name, seed=0) for name in ("iris", "other")}
    texts["wine"] = texts["iris"].replace("name: iris}", "name: wine}")
    assert "name: wine}" in texts["wine"]
    groups = [("iris", "iris lr=0.1", 0.6), ("iris", "iris lr=0.1", 0.8), ("iris", "iris lr=0.2", 0.9), ("wine", "wine", 0.95)]
    jobs = [
        Job(number, "iris", group, "spec.yaml", texts[kind], [], number) for number, (kind, group, _) in enumerate(groups, 1)
    ]
    jobs.append(Job(5, "iris", "iris lr=9", "spec.yaml", texts["iris"], [], 0))
    batch = Batch.create(folder / "runs", jobs, Settings())
    for job, (_, _, accuracy) in zip(jobs, groups, strict=False):
        make_run(folder / "runs", accuracy=accuracy, seed=job.seed).update_status(batch=batch.tag(job))
        batch.update(job, state="completed")
    batch.update(jobs[-1], state="failed", reason="the loss became nan")
    return batch


def test_each_data_set_has_a_table_with_run_ids_and_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    batch = made(tmp_path)
    board = leaderboard(batch)
    assert {data: [line.group for line in lines] for data, lines in board.by_data()} == {
        "builtin wine": ["wine"],
        "builtin iris": ["iris lr=0.2", "iris lr=0.1", "iris lr=9"],
    }
    path = write_leaderboard(batch, board)
    rows = read_table(path)
    assert [row["accuracy"] for row in rows] == ["0.95", "0.9", "0.6", "0.8"]
    assert {"rank", "spec", "data", "part", "run", "val_loss"} <= rows[0].keys()
    show_leaderboard(batch, board, path)
    shown = capsys.readouterr().out
    ids = [run for line in board.lines for run in line.runs]
    assert len(ids) == 4
    assert all(run in shown for run in ids)
    assert f"all runs: {path}" in shown
    assert "failed: iris lr=9, seed 0: the loss became nan" in shown
    assert f"next: dlcli runs show {board.lines[0].runs[0]}" in shown
    assert "iris@best is the run of this name with the best monitored score" in shown
    assert asdict(board)["lines"][1]["scores"]["accuracy"] == (0.9, None)


def test_best_is_not_offered_where_runs_keep_their_last_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = made(tmp_path)
    for run in all_runs(batch.runs):
        run.update_status(monitor="epoch", best_value=1.0)
    board = leaderboard(batch)
    show_leaderboard(batch, board, write_leaderboard(batch, board))
    shown = capsys.readouterr().out
    assert "next: dlcli runs show" in shown
    assert "@best" not in shown


def test_it_sorts_by_validation_too_and_names_the_scores_that_there_are(tmp_path: Path) -> None:
    batch = made(tmp_path)
    board = leaderboard(batch, "val_loss")
    assert [line.group for line in board.lines][:3] == ["wine", "iris lr=0.2", "iris lr=0.1"]
    with pytest.raises(UsageError, match=r"no run of this batch has the score 'val_f1'; available: loss, accuracy, val_loss$"):
        leaderboard(batch, "val_f1")
