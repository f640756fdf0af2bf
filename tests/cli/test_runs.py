"""`dlcli runs ...` and every `--help`, in real processes without TensorFlow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Dlcli
from runs.making import make_run

from dlcli.runs.progress import epochs_of

pytestmark = pytest.mark.usefixtures("without_pictures")

COMMANDS = [
    "train",
    "finetune",
    "ensemble",
    "evaluate",
    "predict",
    "export",
    "check",
    "data",
    "describe",
    "runs",
    "runs list",
    "runs show",
    "runs compare",
    "runs rm",
    "list",
]
COMMANDS += ["schema", "init", "doctor", "explain", "lr-find", "batch-find", "baseline", "batch", "sweep", "report", ""]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_begins_with_its_usage(dlcli: Dlcli, command: str) -> None:
    done = dlcli(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.lstrip().startswith(f"Usage: dlcli {command}".rstrip())
    assert "Options:" in done.stdout
    assert "\x1b" not in done.stdout


def test_every_command_is_tested_for_its_help() -> None:
    from typer.main import get_command

    from dlcli.cli.app import app

    group = get_command(app)
    names = [*group.commands, *(f"runs {name}" for name in group.commands["runs"].commands)]  # type: ignore[attr-defined]
    assert sorted(names) == sorted(command for command in COMMANDS if command)


def test_no_arguments_show_the_help(dlcli: Dlcli) -> None:
    for arguments in ((), ("runs",)):
        done = dlcli(*arguments)
        assert done.returncode == 2
        assert "Usage: dlcli" in done.stdout + done.stderr


def test_list_show_and_compare(tmp_path: Path, dlcli: Dlcli) -> None:
    runs = tmp_path / "runs"
    good, bad = make_run(runs, accuracy=0.9, seed=1), make_run(runs, "other", accuracy=0.5, seed=2)
    failed = make_run(runs, "broken", accuracy=None, state="failed")
    failed.update_status(error="a [red]word[/red] of :apple:\nand more")
    listed = dlcli("runs", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    for text in (good.id, bad.id, "completed", "test.accuracy 0.9000", "a [red]word[/red] of :apple:"):
        assert text in listed.stdout
    assert "and more" not in listed.stdout
    rows = json.loads(dlcli("runs", "list", "--sort", "test.accuracy", "--json").stdout)["runs"]
    assert [row["id"] for row in rows] == [good.id, bad.id, failed.id]
    assert [row["id"] for row in json.loads(dlcli("runs", "list", "other", "--json").stdout)["runs"]] == [bad.id]
    unknown = dlcli("runs", "list", "--sort", "test.acuracy")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "available: test.accuracy, test.loss" in unknown.stderr
    shown = dlcli("runs", "show", "iris", DLCLI_RUNS=str(runs))
    assert (shown.returncode, shown.stderr) == (0, f"run: {good.path}\n")
    for text in (good.id, "0.9000", "105 train, 30 test", "history.csv"):
        assert text in shown.stdout
    assert json.loads(dlcli("runs", "show", good.path, "--json").stdout)["id"] == good.id
    compared = dlcli("runs", "compare", "iris", "other", "--json")
    result = json.loads(compared.stdout)
    assert result["differences"] == {"name": ["iris", "other"], "seed": [1, 2]}
    assert result["scores"]["accuracy"] == [0.9, 0.5]
    alone = dlcli("runs", "compare", "iris")
    assert (alone.returncode, alone.stderr) == (2, "compare needs two runs or more\n")


def test_the_leaderboard_ranks_the_best_first_with_its_interval(tmp_path: Path, dlcli: Dlcli) -> None:
    runs = tmp_path / "runs"
    made = [make_run(runs, f"exp{number}", accuracy=0.5 + number / 10) for number in range(4)]
    unscored = make_run(runs, "exp4", accuracy=None)
    path = made[3].evaluation("test") / "metrics.json"
    content = json.loads(path.read_text())
    content["metrics"]["accuracy"]["interval"] = [0.7, 0.9]
    path.write_text(json.dumps(content))
    lines = dlcli("runs", "list", "--sort", "test.accuracy").stdout.splitlines()
    assert lines[0].split() == ["run", "state", "epochs", "test.accuracy", "started", "took", "seed", "settings"]
    assert lines[2].split()[:9] == ["1", made[3].id, "completed", "1", "of", "3", "0.8000", "(0.7000", "to"]
    assert [line.split()[0] for line in lines[3:6]] == ["2", "3", "4"]
    assert lines[6].split()[:2] == [unscored.id, "completed"]
    lowest = json.loads(dlcli("runs", "list", "--sort", "test.loss", "--json").stdout)["runs"]
    assert [row["rank"] for row in lowest] == [1, 2, 3, 4, None]
    assert lowest[0]["id"] == made[3].id
    first = dlcli("runs", "list", "exp[0-2]", "--sort", "test.accuracy", "-n", "2").stdout.splitlines()
    assert [line.split()[1] for line in first[2:4]] == [made[2].id, made[1].id]
    assert first[4] == "... 1 more"


def test_the_list_says_when_how_long_which_seed_and_settings_and_filters_by_state(tmp_path: Path, dlcli: Dlcli) -> None:
    runs = tmp_path / "runs"
    run, failed, begun = (
        make_run(runs, seed=7),
        make_run(runs, "other", state="failed"),
        make_run(runs, "begun", state="running"),
    )
    run.update_status(started="2026-01-02T03:04:05.000+00:00", finished="2026-01-02T03:05:15.000+00:00")
    text = (run.path / "source.yaml").read_text(encoding="utf-8")
    (run.path / "source.yaml").write_text(f"{text}\n# --set seed=7\n# --set model.units=[16]\n", encoding="utf-8")
    begun.update_status(epoch=0, epochs=0, best_epoch=0)
    shown = " ".join(dlcli("runs", "list").stdout.split())
    assert f"{run.id} completed 1 of 3 test.accuracy 0.9000 2026-01-02 03:04 1 min 10 s 7 model.units=[16]" in shown
    rows = {row["id"]: row for row in json.loads(dlcli("runs", "list", "--json").stdout)["runs"]}
    assert (rows[run.id]["seconds"], rows[run.id]["seed"], rows[run.id]["settings"]) == (70.0, 7, ["model.units=[16]"])
    assert rows[begun.id]["epochs_shown"].startswith("1 of ")
    only = json.loads(dlcli("runs", "list", "--state", "failed,running", "--json").stdout)["runs"]
    assert {row["id"] for row in only} == {failed.id, begun.id}
    wrong = dlcli("runs", "list", "--state", "fine")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "--state: expected one or more of completed, failed, interrupted, running, dead, damaged, found 'fine'\n",
    )
    assert "none of the 3 runs" in dlcli("runs", "list", "--state", "interrupted").stdout


def test_a_run_before_the_end_of_its_first_epoch_is_in_epoch_1_of_all(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", state="running", accuracy=None)
    run.update_status(epoch=0, epochs=0)
    planned = sum(stage.epochs or 0 for stage in run.experiment().stages)
    assert epochs_of(run, run.status()) == f"1 of {planned}"
    run.update_status(epoch=2, epochs=30)
    assert epochs_of(run, run.status()) == "3 of 30"
    run.update_status(epoch=30, epochs=30, state="completed")
    assert epochs_of(run, run.status()) == "30 of 30"


def test_runs_are_listed_the_newest_first(tmp_path: Path, dlcli: Dlcli) -> None:
    old, new = make_run(tmp_path / "runs", "b"), make_run(tmp_path / "runs", "a")
    old.update_status(started="2026-01-02T03:04:05.000+00:00")
    rows = json.loads(dlcli("runs", "list", "--sort", "started", "--json").stdout)["runs"]
    assert [row["id"] for row in rows] == [new.id, old.id]


def test_a_run_is_shown_on_one_screen(tmp_path: Path, dlcli: Dlcli) -> None:
    run = make_run(tmp_path / "runs")
    run.update_status(started="2026-01-02T03:04:05.000+00:00", finished="2026-01-02T04:09:05.000+00:00")
    for number in range(50):
        path = run.path / "trackers" / "deep" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (run.path / "trackers" / "mlflow.json").write_text('{"id": "9d9cb93e", "epochs": 1}')
    (run.path / "trackers" / "wandb.json").write_text("[]")
    finding = {
        "name": "overfitting",
        "evidence": ["one", "two", "three"],
        "remedies": [{"text": "stop", "set": "a=1", "also": []}],
    }
    (run.path / "diagnosis.json").write_text(json.dumps([finding]))
    lines = dlcli("runs", "show", "iris").stdout.splitlines()
    assert len(lines) < 40
    shown = "\n".join(" ".join(line.split()) for line in lines)
    for text in (
        "started 2026-01-02 03:04:05 UTC, for 1 h 5 min",
        "model mlp for classification, seed 0",
        "epochs 1 of 3; best 1 (val_loss 0.1000)",
        "diagnosis: overfitting\none\ntwo\ntry: stop: --set a=1\n",
        "trackers mlflow 9d9cb93e\n",
        "evaluation/test/ (1), trackers/ (52)",
    ):
        assert text in shown
    assert json.loads(dlcli("runs", "show", "iris", "--json").stdout)["diagnosis"] == [finding]


def test_rm_asks_first_and_says_what_it_removed(tmp_path: Path, dlcli: Dlcli) -> None:
    run = make_run(tmp_path / "runs")
    unasked = dlcli("runs", "rm", "iris")
    assert unasked.returncode != 0
    assert run.path.exists()
    done = dlcli("runs", "rm", "iris", "--yes")
    assert (done.returncode, done.stdout) == (0, f"removed {run.id}\n")
    assert not run.path.exists()
    again = dlcli("runs", "rm", "iris", "--yes")
    assert (again.returncode, again.stdout) == (2, "")


def test_an_empty_list_is_no_error(dlcli: Dlcli) -> None:
    done = dlcli("runs", "list", "--runs", "nowhere")
    assert (done.returncode, done.stdout) == (0, "no runs in nowhere; `dlcli train SPEC` makes one\n")
    assert dlcli("runs", "list", "--json").stdout == '{\n  "runs": []\n}\n'


def test_a_run_without_a_model_cannot_be_evaluated(tmp_path: Path, dlcli: Dlcli) -> None:
    run = make_run(tmp_path / "runs")
    done = dlcli("evaluate", "iris")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"{run.id} has no model: it has not finished an epoch"


def test_an_empty_name_is_no_run_and_removes_nothing(dlcli: Dlcli, tmp_path: Path) -> None:
    kept = make_run(tmp_path / "runs", "iris")
    result = dlcli("runs", "rm", "", "--yes")
    assert (result.returncode, result.stdout) == (2, "")
    assert "name of the run is empty" in result.stderr
    assert kept.path.is_dir()


def test_a_run_named_twice_is_removed_once(dlcli: Dlcli, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "iris")
    result = dlcli("runs", "rm", "iris", run.id, "--yes")
    assert (result.returncode, result.stdout) == (0, f"removed {run.id}\n")
    assert not run.path.exists()


def test_a_list_of_an_unknown_name_says_so(dlcli: Dlcli, tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "iris")
    result = dlcli("runs", "list", "iriss")
    assert (result.returncode, result.stdout) == (2, "")
    assert "no run named 'iriss'" in result.stderr
