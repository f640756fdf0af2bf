"""The run folder: atomic files, states, look-up of runs, differences between runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlcli.errors import DamagedFile, SpecError, UsageError
from dlcli.runs import RunFolder, all_runs, find_run, newer_run
from dlcli.runs.compare import compare_runs
from dlcli.runs.files import read_json, read_table, replacing, write_json, write_table
from runs.making import make_run


def _write_half(path: Path) -> None:
    path.write_text("half")
    raise OSError("the disk was closed")


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(OSError, match="closed"), replacing(path) as temporary:
        _write_half(temporary)
    assert read_json(path) == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [float("nan"), float("inf"), 1.5], "y": (float("-inf"),)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [None, None, 1.5], "y": [None]}


def test_tables_keep_commas_quotes_newlines_and_letters_of_all_scripts(tmp_path: Path) -> None:
    rows = [["a,b", 'say "hi"'], ["two\nlines", "żółć 猫"]]
    write_table(tmp_path / "a.csv", ["first, one", "second"], rows)
    assert [list(row.values()) for row in read_table(tmp_path / "a.csv")] == rows


def test_many_runs_in_one_second_get_separate_folders(tmp_path: Path) -> None:
    assert len({make_run(tmp_path, accuracy=None).path for _ in range(20)}) == 20
    assert not list(tmp_path.rglob(".*"))


def test_an_incomplete_run_folder_is_not_listed(tmp_path: Path) -> None:
    hidden = tmp_path / "iris" / ".20260101-000000-abcd.tmp"
    hidden.mkdir(parents=True)
    (hidden / "status.json").write_text("{}")
    assert list(all_runs(tmp_path)) == []


def test_a_running_run_without_its_process_is_shown_as_dead(tmp_path: Path) -> None:
    run = make_run(tmp_path, state="running")
    assert run.shown_state == "running"
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    run.update_status(pid=process.pid)
    assert run.shown_state == "dead"
    run.update_status(host="another machine")
    assert run.shown_state == "dead"
    with run.hold():
        assert run.shown_state == "running"


def test_a_status_of_a_later_version_can_be_read(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_json(run.path / "status.json", read_json(run.path / "status.json") | {"later": True})
    assert run.status().state == "completed"


def test_an_invalid_edit_of_a_runs_spec_is_an_error_with_its_line(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    spec = run.path / "spec.yaml"
    spec.write_text(spec.read_text().replace("task: classification", "task: clasification"))
    with pytest.raises(SpecError, match=r"spec\.yaml:3:"):
        run.experiment()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_a_run_is_found_by_folder_name_best_latest_and_prefix(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = make_run(runs, accuracy=0.9), make_run(runs, accuracy=0.5)
    first, second = sorted((good, bad), key=lambda run: run.path.name)
    assert find_run("iris", runs).path == second.path
    assert find_run("iris@latest", runs).path == second.path
    assert find_run("iris@best", runs).path == good.path
    assert find_run(good.id, runs).path == good.path
    assert find_run(good.path.name, runs).path == good.path
    assert find_run(f"{good.path}/", Path("elsewhere")).path == good.path
    monkeypatch.chdir(bad.path.parent)
    assert find_run(bad.path.name, Path("elsewhere")).path == bad.path
    assert first.path != second.path


def test_a_failed_run_does_not_hide_a_completed_run_of_its_name(runs: Path) -> None:
    completed = make_run(runs)
    failed = RunFolder.create(runs, "iris", spec="", source="")
    failed.path.rename(failed.path.with_name("99991231-000000-zzzz"))
    failed = RunFolder(failed.path.with_name("99991231-000000-zzzz"))
    failed.update_status(state="failed")
    assert find_run("iris", runs).path == completed.path
    assert newer_run(completed, "iris", runs).path == failed.path  # type: ignore[union-attr]
    assert newer_run(completed, completed.id, runs) is None
    assert find_run("iris@latest", runs).path == failed.path
    assert find_run("iris", runs, newest=True).path == failed.path
    completed.update_status(state="interrupted")
    completed.model_path.touch()
    assert find_run("iris", runs).path == completed.path, "a run with a model comes before one without"
    (failed.path / "status.json").write_text("{")
    assert find_run("iris", runs).path == completed.path, "a damaged run does not hide it either"


def test_best_is_the_largest_value_if_higher_is_better(runs: Path) -> None:
    low, high = make_run(runs), make_run(runs)
    for run, value in ((low, 0.6), (high, 0.8)):
        run.update_status(monitor="val_accuracy", best_value=value)
    experiment = to_accuracy(low), to_accuracy(high)
    assert all(experiment)
    assert find_run("iris@best", runs).path == high.path


def test_the_number_of_the_last_epoch_is_no_score(runs: Path) -> None:
    scored, longest = make_run(runs), make_run(runs)
    longest.update_status(monitor="epoch", best_value=100.0, best_epoch=100)
    assert find_run("iris@best", runs).path == scored.path
    scored.update_status(monitor="epoch", best_value=3.0)
    with pytest.raises(UsageError, match="no run of 'iris' is the best: with `monitor: epoch` none has a monitored score"):
        find_run("iris@best", runs)
    for run in (scored, longest):
        run.update_status(best_value=None)
    with pytest.raises(UsageError, match="no run of 'iris' has finished an epoch"):
        find_run("iris@best", runs)


def to_accuracy(run: RunFolder) -> bool:
    spec = run.path / "spec.yaml"
    spec.write_text(spec.read_text().replace("monitor: val_loss", "monitor: val_accuracy"))
    return "val_accuracy" in spec.read_text()


def test_an_ambiguous_prefix_is_refused_with_the_matching_ids(runs: Path) -> None:
    first, second = make_run(runs, "iris_a"), make_run(runs, "iris_b")
    with pytest.raises(UsageError) as caught:
        find_run("iris_", runs)
    assert str(caught.value) == f"2 runs match 'iris_': {first.id}, {second.id}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("irs", "no run 'irs'; did you mean 'iris'?"),
        ("zzz", "no run 'zzz'; names in "),
        ("iris@first", "iris@first: expected iris@best or iris@latest"),
        ("irs@best", "no run named 'irs'"),
        ("x" * 5000, "no run 'xxx"),
    ],
)
def test_an_unknown_run_is_refused_with_a_suggestion(runs: Path, text: str, words: str) -> None:
    make_run(runs)
    with pytest.raises(UsageError) as caught:
        find_run(text, runs)
    assert str(caught.value).startswith(words)


def test_an_empty_runs_folder_is_an_error_with_advice(runs: Path) -> None:
    with pytest.raises(UsageError, match="contains no runs yet; `dlcli train SPEC` starts one"):
        find_run("iris", runs)


def test_compare_shows_differing_fields_and_existing_scores(runs: Path) -> None:
    first, second = make_run(runs, seed=1), make_run(runs, seed=2, accuracy=0.5, data="other")
    unscored = make_run(runs, seed=1, accuracy=None)
    comparison = compare_runs([first, second, unscored])
    assert comparison.differences == {"seed": [1, 2, 1]}
    assert comparison.scores["accuracy"] == [{"value": 0.9}, {"value": 0.5}, None]


def test_a_run_without_a_recorded_revision_has_revision_1(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert run.revision() == 1
    run.write_environment(run.environment() | {"revision": 2})
    assert run.revision() == 2
    write_json(run.path / "environment.json", run.environment() | {"revision": "2"})
    with pytest.raises(DamagedFile, match=r"environment.json: revision: should be a valid integer"):
        run.revision()
