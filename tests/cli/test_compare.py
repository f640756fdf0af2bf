"""`dlcli runs compare` in real processes: on runs that were trained, and on those that cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Dlcli
from runs.making import make_run
from trainings import trained, write_spec

from dlcli.runs import RunFolder
from dlcli.score.outcome import Outcome, write_outcome
from dlcli.tasks import TASKS

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def trained_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder, RunFolder]:
    """A run that learned, one that hardly did, and one on another split."""
    folder = tmp_path_factory.mktemp("compare")
    metrics = "metrics: [accuracy, f1, auc]"
    good = trained(write_spec(folder, training=f"epochs: 12, {metrics}, optimizer: {{kind: adam, learning_rate: 0.05}}"))
    poor = trained(write_spec(folder, training=f"epochs: 1, {metrics}, optimizer: {{kind: sgd, learning_rate: 1e-5}}"))
    other = trained(write_spec(folder, training="epochs: 1"), ["seed=9"])
    return good, poor, other


def test_a_better_run_is_called_better(dlcli: Dlcli, trained_runs: tuple[RunFolder, RunFolder, RunFolder]) -> None:
    good, poor, _ = trained_runs
    done = dlcli("runs", "compare", poor.path, good.path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"A = {poor.id}", f"B = {good.id}"]
    assert "training.optimizer" in done.stdout
    assert "B against A, on the same 30 test examples:" in lines
    by_metric = [line for line in lines if line.startswith("  B is better by ")]
    assert [line.split(";")[0].split()[-1] for line in by_metric] == ["accuracy", "f1", "auc"]
    assert "; McNemar p " in by_metric[0]
    assert not [line for line in by_metric[1:] if "McNemar" in line]


def test_the_figures_are_those_of_the_runs(dlcli: Dlcli, trained_runs: tuple[RunFolder, RunFolder, RunFolder]) -> None:
    good, poor, _ = trained_runs
    result = json.loads(dlcli("runs", "compare", good.path, poor.path, good.path, "--json").stdout)
    assert result["runs"] == [good.id, poor.id, good.id]
    worse, same = result["tests"][:4], result["tests"][4:]
    assert [test["metric"] for test in worse] == ["accuracy", "f1", "auc", "loss"]
    for test in worse:
        ours, theirs = (run.metrics()["metrics"][test["metric"]]["value"] for run in (good, poor))
        assert (test["first"], test["other"]) == pytest.approx((ours, theirs), abs=1e-12)
        assert test["verdict"] == "worse"
        assert test["interval"][0] <= test["difference"] <= test["interval"][1]
        assert (test["interval"][1] < 0) == (test["metric"] != "loss") == (test["interval"][0] <= 0)
    assert [(test["difference"], test["verdict"]) for test in same] == [(0.0, "same")] * 4
    assert result["scores"]["accuracy"][0] == good.metrics()["metrics"]["accuracy"]["value"]


def test_other_test_examples_are_refused_unless_told(
    dlcli: Dlcli, trained_runs: tuple[RunFolder, RunFolder, RunFolder]
) -> None:
    good, _, other = trained_runs
    done = dlcli("runs", "compare", good.path, other.path)
    assert (done.returncode, done.stdout) == (2, "")
    words = done.stderr.splitlines()[-1]
    assert words.startswith(f"{good.id} and {other.id} were not scored on the same test examples: of 30 and 30 examples ")
    assert words.endswith("--any-data shows them anyway and tests the examples that they share")
    told = dlcli("runs", "compare", good.path, other.path, "--any-data")
    assert told.returncode == 0
    assert "tested on the " in told.stdout


def test_what_was_not_scored_is_told_with_the_command_for_it(dlcli: Dlcli, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    scored, left = make_run(runs, seed=1), make_run(runs, "left", accuracy=None)
    left.model_path.write_bytes(b"")
    done = dlcli("runs", "compare", "iris", "left")
    assert done.returncode == 0
    assert f"{left.id} was not scored on test: `dlcli evaluate {left.id} --split test` does that" in done.stdout
    assert "B against A, not tested" in done.stdout
    validation = dlcli("runs", "compare", "iris", "left", "--split", "validation")
    assert f"{scored.id} has no validation split; it has train, test" in validation.stdout


def test_runs_without_kept_predictions_are_compared_only_on_the_same_data(dlcli: Dlcli, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    one = make_run(runs)
    make_run(runs, "same")
    make_run(runs, "other", data="another")
    same = dlcli("runs", "compare", "iris", "same")
    assert (same.returncode, "has no stored predictions of its test split" in same.stdout) == (0, True)
    other = dlcli("runs", "compare", "iris", "other")
    assert (other.returncode, other.stdout) == (2, "")
    assert f"their data differ, and {one.id} has no stored predictions" in other.stderr
    assert dlcli("runs", "compare", "iris", "other", "--any-data").returncode == 0


def test_runs_of_other_tasks_are_side_by_side_only(dlcli: Dlcli, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    one, two = make_run(runs), make_run(runs, "numbers")
    two.write_spec((two.path / "spec.yaml").read_text().replace("task: classification", "task: regression"))
    done = dlcli("runs", "compare", "iris", "numbers")
    assert (done.returncode, done.stderr.count("\n")) == (0, 2)
    assert f"{one.id} is a classification run, {two.id} a regression run: their scores cannot be compared" in done.stdout


def test_names_from_data_do_no_harm(dlcli: Dlcli, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name, classes in (("iris", ("a", "\x1b[31mred")), ("other", ("a", "[red]b"))):
        run = make_run(runs, name)
        run.write_data(run.data() | {"classes": list(classes)})
        truth = np.array([0, 1] * 15)
        scores = np.eye(2, dtype="float32")[truth] if name == "iris" else np.full((30, 2), 0.5, "float32")
        ids = [str(number) for number in range(30)]
        write_outcome(Outcome(TASKS["classification"], "test", ids, classes, truth, scores), run.evaluation("test"))
    done = dlcli("runs", "compare", "iris", "other", "--any-data")
    assert "their classes differ: only one of them has \\x1b[31mred; only one of them has [red]b" in done.stdout
    assert "\x1b" not in done.stdout
