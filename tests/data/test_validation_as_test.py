"""`split: {test: validation}`: every place that shows a score notes that its examples selected the epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from trainings import trained, write_spec

from dlcli.cli.comparison import comparison_as_dict, show_comparison
from dlcli.cli.console import show_scores
from dlcli.cli.tables import run_rows, show_run, show_runs
from dlcli.runs import RunFolder
from dlcli.runs.compare import compare_runs
from dlcli.runs.scored_splits import split_note, split_title
from dlcli.score.compare import pair_runs
from dlcli.score.evaluate import evaluate
from dlcli.training.trackers import content

pytestmark = pytest.mark.usefixtures("without_pictures")

TITLE = "test (= validation)"
NOTE = "the test split is the validation split: these examples selected the best epoch, so scores on new data may be lower"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    spec = write_spec(tmp_path_factory.mktemp("same"), data="split: {validation: 0.3, test: validation}")
    return trained(spec, write_up=True)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained(write_spec(tmp_path_factory.mktemp("apart"), training="epochs: 1"))


def test_the_terminal_shows_the_note(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    show_scores(run, "test")
    assert f"{TITLE}: 45 examples" in capsys.readouterr().out
    show_run(run)
    output = capsys.readouterr().out
    assert f"note: {NOTE}" in output
    assert "test (= validation)" in " ".join(output.split())


def test_the_list_of_runs_marks_the_score_and_shows_the_note(
    run: RunFolder, apart: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for sort in (None, "test.accuracy"):
        rows = run_rows([run, apart], sort)
        show_runs(rows, run.path.parents[1], sort, all_of=2)
        output = " ".join(capsys.readouterr().out.split())
        assert f"* {NOTE}" in output
        assert output.count("*") == 2
        assert [row["test_is_validation"] for row in sorted(rows, key=lambda row: row["id"] != run.id)] == [True, False]


def test_files_and_pages_have_the_note(run: RunFolder) -> None:
    assert run.data()["test_is_validation"] is True
    assert [note for note in run.data()["notes"] if note.startswith("the test split is the validation split")]
    assert run.metrics()["note"] == NOTE
    report = (run.path / "report.html").read_text(encoding="utf-8")
    assert f"accuracy on {TITLE}" in report
    assert report.count("these examples selected the best epoch") >= 2
    card = (run.path / "model_card.md").read_text(encoding="utf-8")
    assert "Test (= validation), 45 examples" in card
    assert f"{NOTE.capitalize()}." in card.replace("\\", "")


def test_comparisons_have_the_note(run: RunFolder, apart: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    comparison, pairings = compare_runs([run, apart]), pair_runs([run, apart], "test", any_data=True)
    show_comparison(comparison, pairings)
    output = " ".join(capsys.readouterr().out.split())
    assert f"Scores on {TITLE} or test" in output
    assert f"note: {NOTE}" in output
    assert NOTE in comparison_as_dict(comparison, pairings)["notes"]


def test_trackers_get_the_note(run: RunFolder, apart: RunFolder) -> None:
    assert content.tags(run)["dlcli.test"] == content.outcome(run)["test"] == NOTE
    assert "dlcli.test" not in content.tags(apart)


def test_a_run_of_an_earlier_version_has_the_note_too(run: RunFolder) -> None:
    old: dict[str, Any] = {name: value for name, value in run.data().items() if name != "test_is_validation"}
    path = Path(run.path / "data.json")
    content = path.read_text(encoding="utf-8")
    try:
        path.write_text(json.dumps(old), encoding="utf-8")
        assert (split_title(run, "test"), split_note(run, "test")) == (TITLE, NOTE)
    finally:
        path.write_text(content, encoding="utf-8")


def test_a_separate_test_split_has_no_note_but_its_validation_split_has_one(apart: RunFolder) -> None:
    assert (split_title(apart, "test"), split_note(apart, "test")) == ("test", "")
    evaluate(apart, "validation")
    assert split_title(apart, "validation") == "validation"
    assert split_note(apart, "validation") == "these examples selected the best epoch, so scores on new data may be lower"
