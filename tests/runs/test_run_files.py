"""Readers of a run folder accept everything that writers produce: large content, unusual names, numbers that are not finite."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.report.diagnosis import Finding, Remedy, findings
from dlcli.runs import RunFolder
from dlcli.runs.diagnosis import MOST, write_findings
from dlcli.runs.explanations import Explanation, add, explanations, file_name
from dlcli.score.outcome import Outcome, read_outcome, write_outcome
from dlcli.score.record import Scores, write_scores
from dlcli.tasks import TASKS
from runs.making import make_run

NAMES = (
    "", " ", "a,b", 'say "hi"', "two\nlines", "a\r\nb", "\x00", "\x1b[31m", "\u2028", "\udcff.png", "NaN", "null",
    "=1+1", "żółć 猫 😀", "e\u0301", "x" * 200_000,
)  # fmt: skip
"""Names that a class, a column, a file or a target may have; the last is longer than a cell of Python's csv."""
NONE = (math.nan, math.inf, -math.inf)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path, accuracy=None)


def _as_text(name: str) -> str:
    """Returns a name in the form of JSON in UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def test_data_with_any_names_and_numbers_is_read_back(run: RunFolder) -> None:
    counts = dict.fromkeys(NAMES, 2**40)
    leaks = {"columns": {"of": 3000, "targets": {name: [["c", math.nan]] for name in NAMES}}}
    run.write_data(
        {"examples": {"train": 2**40}, "counts": {"train": counts}, "classes": list(NAMES), "means": [1, 2.5, 1e300],
         "notes": list(NAMES), "columns": list(NAMES), "shape": (3, 4), "leaks": leaks, "later": {"x": [None]}}
    )  # fmt: skip
    data = run.data()
    assert data["classes"] == data["notes"] == [_as_text(name) for name in NAMES]
    assert data["counts"]["train"] == {_as_text(name): 2**40 for name in NAMES}
    assert data["shape"] == [3, 4]
    assert data["later"] == {"x": [None]}
    assert data["leaks"]["columns"]["targets"][""] == [["c", None]]


def test_environment_and_stages_with_any_content_are_read_back(run: RunFolder) -> None:
    device = {"kind": "gpu", "name": NAMES[-7]}
    environment = {"device": device, "precision": "mixed_float16", "command": list(NAMES), "git": None, "later": math.nan}
    run.write_environment(environment)
    assert run.environment() == environment | {
        "device": device | {"name": _as_text(device["name"])},
        "command": [_as_text(name) for name in NAMES],
        "later": None,
    }
    stage = {"name": "a", "epochs": 0, "monitor": "val_loss", "best_epoch": 0, "proof": {"x": [math.inf]}}
    selections: tuple[Any, ...] = ("head", "all", {"last": 20}, {"blocks": [1, 2]}, {"from": NAMES[4]})
    run.write_stages(
        [stage | {"train": selection, "best_value": value} for selection in selections for value in (*NONE, None, 0, 1.5)]
    )
    assert [selection["train"] for selection in run.stages()[::6]] == list(selections)
    assert [selection["best_value"] for selection in run.stages()[:6]] == [None, None, None, None, 0, 1.5]
    assert run.stages()[0]["proof"] == {"x": [None]}


def test_status_history_split_and_temperature_are_read_back(run: RunFolder) -> None:
    run.update_status(error="".join(NAMES[:11]), reason=NAMES[9], epoch=2**40, best_value=math.nan, best_stage=NAMES[-1])
    status = run.status()
    assert status.error == _as_text("".join(NAMES[:11]))
    assert status.best_stage == NAMES[-1]
    assert status.best_value is None
    run.write_history([{"stage": "a", "epoch": 1, "loss": math.nan}, {"stage": "b", "epoch": 2, "val_loss": -math.inf}])
    assert [row["loss"] for row in run.history()] == ["nan", ""]
    run.write_split({"train": [*NAMES]})
    assert list(run.split()) == [*NAMES]
    run.write_temperature(50.0, "validation", 0)
    assert run.temperature() == 50.0


def test_scores_that_are_not_finite_are_read_back(run: RunFolder) -> None:
    outcome = Outcome(TASKS["binary"], "test", ["a"], ("no", "yes"), np.zeros(1, "int64"), np.array([[1, 0]], "float32"))
    metrics = {"loss": math.inf, "auc": math.nan, "accuracy": 1}
    scores = Scores("test", 1, metrics, {"auc": (math.nan, 1.0), "loss": None}, {"auc": math.nan}, "always 'no'")
    row = {"label": "\udcff", "best_by": "cost", **dict.fromkeys(("threshold", "precision", "recall", "f1", "cost"), math.inf)}
    calibration = {"ece": math.nan, "brier": 0, "temperature": {"value": 1, "ece": math.nan, "brier": math.nan}}
    write_scores(run.made_evaluation("test"), outcome, scores, thresholds=[row], calibration=calibration)
    stored = run.metrics("test")
    assert {name: entry["value"] for name, entry in stored["metrics"].items()} == {"loss": None, "auc": None, "accuracy": 1}
    assert stored["metrics"]["auc"]["interval"] == [None, 1.0]
    assert stored["calibration"]["brier"] == 0
    assert stored["thresholds"][0]["cost"] is None


def test_predictions_of_classes_with_unusual_names_are_read_back(run: RunFolder) -> None:
    classes = tuple(dict.fromkeys(map(_as_text, NAMES)))  # sources convert names of files to valid text
    count = len(classes)
    run.write_data({"examples": {"train": count}, "classes": list(classes)})
    scores = np.eye(count, dtype="float32")
    outcome = Outcome(TASKS["classification"], "test", [*NAMES], classes, np.arange(count), scores)
    write_outcome(outcome, run.made_evaluation("test"))
    stored = read_outcome(run, "test")
    assert stored.ids == outcome.ids
    assert stored.classes == classes
    assert (stored.truth == outcome.truth).all()
    assert (stored.scores == scores).all()


def test_a_finding_with_too_much_evidence_is_stored_with_the_count_of_the_rest(run: RunFolder) -> None:
    evidence = (*NAMES, *(f"column {number}" for number in range(MOST + 3 - len(NAMES))))
    stored = write_findings(run, [Finding("leakage suspected", evidence, tuple(Remedy(name, name) for name in NAMES * 2))])
    assert findings(run) == stored
    assert stored[0].evidence == (*map(_as_text, evidence[:MOST]), "and 3 more")
    assert len(stored[0].remedies) == MOST


def test_a_diagnosis_of_an_older_version_is_read_at_any_length(run: RunFolder) -> None:
    rows = ", ".join(f'"{number}"' for number in range(33))
    (run.path / "diagnosis.json").write_text(f'[{{"name": "leakage suspected", "evidence": [{rows}], "remedies": []}}]')
    stored = findings(run)
    assert stored is not None
    assert len(stored[0].evidence) == 33


def test_explanations_with_unusual_names_are_read_back(run: RunFolder) -> None:
    made = [Explanation(file_name("occlusion", name, name), "occlusion", name, name) for name in NAMES]
    add(run, made)
    assert [(entry.file, entry.title) for entry in explanations(run)] == [(entry.file, _as_text(entry.title)) for entry in made]
