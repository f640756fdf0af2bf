"""`dlcli runs ...` and every `--help`, in real processes without TensorFlow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Dlcli
from runs.making import make_run

COMMANDS = [
    "train",
    "finetune",
    "evaluate",
    "predict",
    "export",
    "check",
    "describe",
    "runs",
    "runs list",
    "runs show",
    "runs compare",
    "runs rm",
    "list",
]
COMMANDS += ["schema", "init", "doctor", ""]


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
    assert "known: test.accuracy, test.loss" in unknown.stderr
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
    assert "name is empty" in result.stderr
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
    assert "no run of the name 'iriss'" in result.stderr
