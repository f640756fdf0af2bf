"""A new task takes one file, and everything from the spec to the export works with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trainings import trained, write_spec

from dlcli.errors import SpecError, UsageError
from dlcli.explain import explain
from dlcli.export.export import export
from dlcli.predict.answers import Answers, layout_of
from dlcli.predict.predict import prepare
from dlcli.report.report import write_report
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.score.calibration import claims
from dlcli.score.evaluate import evaluate
from dlcli.score.outcome import Outcome
from dlcli.spec.base import OneOf
from dlcli.spec.load import load
from dlcli.tasks import TASKS, OutputType
from tasks import ordinal
from tasks.resuming import assert_resumed_bit_for_bit

pytestmark = pytest.mark.usefixtures("without_pictures")

SOURCE = "{kind: csv, path: wines.csv, target: quality}"
MODEL = "{kind: mlp, units: [8]}"


def save_wines(folder: Path) -> None:
    """Writes a table whose target is one of five levels."""
    draw = np.random.default_rng(0)
    acid, sugar = draw.normal(size=(2, 200))
    level = np.clip(np.round(2 + acid + 0.5 * sugar), 0, 4).astype(int)
    rows = [f"{a:.3f},{s:.3f},{quality}" for a, s, quality in zip(acid, sugar, level, strict=True)]
    (folder / "wines.csv").write_text("acid,sugar,quality\n" + "\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def wines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run of the task, which is registered for the tests of this file only."""
    folder = tmp_path_factory.mktemp("wines")
    save_wines(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OneOf.registry["Metric"], "_added", [])
        patch.setitem(TASKS, "ordinal", ordinal.ORDINAL)
        ordinal.add()
        training = "epochs: 12, optimizer: {kind: adam, learning_rate: 0.03}"
        yield trained(write_spec(folder, SOURCE, task="ordinal", model=MODEL, training=training), write_up=True)


def test_the_new_task_is_trained_and_scored_by_its_own_metric(wines: RunFolder) -> None:
    scores = wines.metrics("test")
    assert list(scores["metrics"]) == ["loss", "level_distance", "accuracy"]
    assert scores["metrics"]["level_distance"]["value"] < 0.6 < scores["baseline"]["metrics"]["level_distance"]
    assert scores["task"] == wines.data()["task"] == "ordinal"
    assert wines.data()["classes"] == list("01234")
    again = evaluate(wines, "test")
    assert again.metrics["level_distance"] == scores["metrics"]["level_distance"]["value"]


def test_predictions_of_the_new_task_follow_its_own_decision(wines: RunFolder) -> None:
    rows = read_table(wines.evaluation("test") / "predictions.csv")
    shares = np.array([[float(row[f"p_{level}"]) for level in range(5)] for row in rows])
    medians = (np.cumsum(shares, axis=1) >= 0.5 - 1e-6).argmax(axis=1)
    assert [row["predicted"] for row in rows] == [str(level) for level in medians]


def test_runs_of_the_new_task_can_be_predicted_reported_explained_and_exported(wines: RunFolder) -> None:
    prediction = prepare(wines, [str(wines.path.parents[2] / "wines.csv")])
    answers = next(prediction.answers(pytest.fail))
    predicted = [int(entry["predicted"]) for entry in layout_of(answers.task).objects(answers, 1)]
    assert predicted == ordinal.ORDINAL.output.decide(answers.scores).tolist()
    page = write_report(wines).read_text(encoding="utf-8")
    assert "places each example on one of 5 levels" in page
    assert "level_distance" in page
    made = explain(wines, [], method="permutation", class_name="", offline=True, skip=pytest.fail)
    assert "level_distance" in made[0].text
    assert export(wines, "onnx").agreement.agrees


def test_a_prediction_is_the_tasks_decision_even_if_another_class_is_likelier() -> None:
    scores = np.array([[0.4, 0.15, 0.45]], "float32")
    answers = Answers(ordinal.ORDINAL, ("low", "middle", "high"), ["wine"], scores)
    layout = layout_of(ordinal.ORDINAL)
    assert [name for name, _ in next(layout.ranked(answers, 3))] == ["middle", "high", "low"]
    (entry,) = layout.objects(answers, 1)
    assert (entry["predicted"], entry["probability"]) == ("middle", pytest.approx(0.15))
    outcome = Outcome(ordinal.ORDINAL, "test", ["wine"], answers.classes, np.array([1]), scores)
    assert claims(outcome) == (pytest.approx(0.15), np.array([True]))


def test_an_output_type_that_a_command_does_not_know_is_refused_by_name() -> None:
    class Pixels(OutputType):
        """An output type that no command has an entry for."""

        loss_form = "values"
        decide = errors = labels = guess = None  # type: ignore[assignment]

    pixels = replace(ordinal.ORDINAL, name="pixels", output=Pixels())
    with pytest.raises(UsageError, match="`dlcli predict` does not support `task: pixels`"):
        layout_of(pixels)


def test_a_metric_of_another_output_is_refused(wines: RunFolder, tmp_path: Path) -> None:
    save_wines(tmp_path)
    with pytest.raises(SpecError, match="`r2` does not fit `task: ordinal`"):
        load(write_spec(tmp_path, SOURCE, task="ordinal", model=MODEL, training="epochs: 1, metrics: [r2]"))


def test_a_killed_run_of_the_new_task_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    save_wines(tmp_path)
    training = "epochs: 30, checkpoint_minutes: 0.001"
    spec = write_spec(tmp_path, SOURCE, task="ordinal", model=MODEL, data="batch_size: 4", training=training)
    run = assert_resumed_bit_for_bit(Path(ordinal.__file__), spec)
    assert json.loads((run.path / "status.json").read_text())["state"] == "completed"
