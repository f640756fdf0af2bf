"""Forecasts from the spec to the prediction: scores beside simple forecasts, raw windows in plain Keras, exact resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.killing import assert_same_bits
from conftest import run_plain
from trainings import Heard, losses, trained, write_spec

from dlcli.errors import SpecError
from dlcli.explain.methods import make
from dlcli.predict.answers import layout_of
from dlcli.predict.predict import prepare
from dlcli.report.diagnosis import diagnose
from dlcli.runs import RunFolder
from dlcli.runs.checks import read_checks
from dlcli.score.baseline import baselines
from dlcli.score.evaluate import evaluate
from dlcli.score.outcome import read_outcome
from dlcli.spec.load import load
from training.test_resume import Stopping, gone_on, stopped

GRU = "{kind: sequence, layers: [{kind: gru, units: 8, dropout: 0.1}]}"
LINEAR = "{kind: mlp}"
SOURCE = "kind: series, target: y, time: day, window: 8, horizon: 3, validation: 60, test: 80, season: 6"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wave of six days around a level that rises from the first day to the last, with a second column."""
    random, path = np.random.default_rng(0), tmp_path_factory.mktemp("series") / "days.csv"
    days = np.arange(300)
    y = days / 3 + 5 * np.sin(days * np.pi / 3) + random.normal(0, 0.3, len(days))
    rows = [f"{np.datetime64('2020-01-01') + day},{y[day]:.4f},{random.normal():.4f}" for day in days]
    path.write_text("\n".join(["day,y,noise", *rows]) + "\n", encoding="utf-8")
    return path


def spec(table: Path, name: str, model: str = LINEAR, *, source: str = SOURCE, **fields: str) -> Path:
    fields = {"training": "epochs: 12, optimizer: {kind: adam, learning_rate: 0.02}", "data": "batch_size: 16", **fields}
    return write_spec(table.parent, f"{{path: {table}, {source}}}", task="forecast", model=model, name=name, **fields)


@pytest.fixture(scope="module")
def run(table: Path) -> RunFolder:
    return trained(spec(table, "linear"), write_up=True)


def test_changes_from_the_last_value_are_learned_in_spite_of_the_drift(run: RunFolder, table: Path) -> None:
    metrics = run.metrics("test")
    assert metrics["baseline"]["name"] == "persistence"
    assert metrics["metrics"]["mae"]["value"] < 0.5 * metrics["baseline"]["metrics"]["mae"]
    raw = trained(spec(table, "raw", data="batch_size: 16, normalize: standard"))
    assert raw.metrics("test")["metrics"]["mae"]["value"] > 1.5 * metrics["metrics"]["mae"]["value"]
    assert run.experiment().data.normalize == "window_last"


def test_simple_forecasts_are_shown_beside_every_run(run: RunFolder, table: Path) -> None:
    simple = read_checks(run).simple_models
    assert simple is not None
    names = ["persistence", "seasonal naive", "ridge on the own past"]
    assert [row.name for row in simple.rows] == names
    by_name = {row.name: row.scores["mae"] for row in simple.rows}
    assert by_name["persistence"] == pytest.approx(run.metrics("test")["baseline"]["metrics"]["mae"], rel=1e-6)
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "Simple models" in page
    assert "seasonal naive" in page
    assert "Errors by step" in page
    rows = baselines(load(spec(table, "linear")).experiment, lambda _: None).rows
    assert [row.name for row in rows] == names
    assert rows[1].scores["mae"][0] == pytest.approx(by_name["seasonal naive"], rel=1e-5)


def test_the_scale_of_mase_is_the_seasonal_difference_in_training(run: RunFolder) -> None:
    (mase,) = (metric for metric in run.experiment().training.metrics or [] if metric.name == "mase")
    values = np.loadtxt(run.experiment().data.source.path, delimiter=",", skiprows=1, usecols=1)  # type: ignore[attr-defined]
    read = values[: 300 - 80 - 60 - 8 - 3].astype("float32")  # the rows of the windows of the training split
    assert mase.scale == [pytest.approx(np.abs(read[6:] - read[:-6]).mean(), rel=1e-5)]  # type: ignore[attr-defined]
    scores = run.metrics("test")["metrics"]
    assert scores["mase"]["value"] == pytest.approx(scores["mae"]["value"] / mase.scale[0], rel=1e-5)  # type: ignore[attr-defined]


def test_intervals_are_those_of_blocks_of_time(run: RunFolder) -> None:
    scores = evaluate(run, "test")
    assert any("bootstrap of" in note and "blocks of time" in note for note in scores.notes)
    low, high = scores.intervals["mae"] or (0, 0)
    assert low < scores.metrics["mae"] < high
    outcome = read_outcome(run, "test")
    assert outcome.groups is not None
    assert len(set(outcome.groups)) == 78 // 9
    assert outcome.ids[0] == "2020-08-07"


def test_a_run_is_opened_again_with_the_same_windows(run: RunFolder) -> None:
    stored = read_outcome(run, "test")
    evaluate(run, "test")
    again = read_outcome(run, "test")
    assert again.ids == stored.ids
    assert stored.scores is not None
    assert again.scores is not None
    assert (again.scores == stored.scores).all()


def test_forecasts_follow_the_end_of_a_file(run: RunFolder, table: Path, tmp_path: Path) -> None:
    lines = table.read_text(encoding="utf-8").splitlines()
    path = tmp_path / "new.csv"
    path.write_text("\n".join(lines[:-3]), encoding="utf-8")
    (answers,) = prepare(run, [str(path)]).answers(lambda name, reason: pytest.fail(f"{name}: {reason}"))
    assert answers.ids == ["2020-10-23"]
    stored = read_outcome(run, "test")
    assert stored.scores is not None
    assert answers.scores[0] == pytest.approx(stored.scores[-1], abs=1e-4)
    (entry,) = layout_of(answers.task).objects(answers, 1)
    assert [step["step"] for step in entry["forecast"]] == [1, 2, 3]
    assert entry["forecast"][0]["y"] == pytest.approx(float(answers.scores[0, 0]), rel=1e-6)
    path.write_text("\n".join(lines[:5]), encoding="utf-8")
    skipped: list[str] = []
    with pytest.raises(Exception, match="no predictions"):
        list(prepare(run, [str(path)]).answers(lambda name, reason: skipped.append(reason)))
    assert skipped == ["has 4 rows with values, and the model reads 8"]


PLAIN = """
import json, sys
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
windows = np.array(json.loads(sys.argv[2]), "float32")
first, shifted = model.predict(windows, verbose=0), model.predict(windows + 100, verbose=0)
print(json.dumps([first.tolist(), shifted.tolist()]))
"""


def test_the_saved_model_takes_raw_windows_in_plain_keras(run: RunFolder, table: Path) -> None:
    values = np.loadtxt(table, delimiter=",", skiprows=1, usecols=(1, 2))
    stored = read_outcome(run, "test")
    assert stored.scores is not None
    place = 300 - 80 - 8
    window = values[place : place + 8]
    process = run_plain(PLAIN, run.model_path, json.dumps([window.tolist()]), cwd=run.path)
    assert process.returncode == 0, process.stderr
    first, shifted = map(np.array, json.loads(process.stdout.splitlines()[-1]))
    assert first[0] == pytest.approx(stored.scores[0], abs=1e-4)
    assert shifted[0] == pytest.approx(first[0] + 100, abs=1e-3)


def test_quantiles_do_not_cross_and_cover_the_values(table: Path) -> None:
    run = trained(spec(table, "quantiles", training="epochs: 20, loss: pinball, optimizer: {kind: adam, learning_rate: 0.02}"))
    outcome = read_outcome(run, "test")
    assert outcome.scores is not None
    point, low, high = (outcome.scores[:, block * 3 : (block + 1) * 3] for block in range(3))
    assert ((low < point) & (point < high)).all()
    assert outcome.classes[:4] == ("y+1", "y+2", "y+3", "y+1@0.1")
    scores = run.metrics("test")["metrics"]
    assert 0.5 < scores["coverage"]["value"] <= 1
    assert scores["mae"]["value"] == pytest.approx(np.abs(point - outcome.truth[:, :3]).mean(), rel=1e-5)
    assert losses(run)[-1] < losses(run)[0]
    history = run.history_path.read_text(encoding="utf-8").splitlines()[0]
    assert "val_coverage" in history


def test_series_of_different_size_are_scaled_by_themselves(table: Path) -> None:
    values = np.loadtxt(table, delimiter=",", skiprows=1, usecols=1) - np.arange(300) / 3
    path = table.parent / "two.csv"
    rows = [f"{name},{day},{factor * values[day]:.3f}" for name, factor in (("a", 1), ("b", 1000)) for day in range(300)]
    path.write_text("\n".join(["name,day,y", *rows]) + "\n", encoding="utf-8")
    source = f"{SOURCE}, entity: name, scale_by_entity: true"
    run = trained(spec(path, "entities", source=source))
    assert run.experiment().data.normalize == "standard"
    outcome = read_outcome(run, "test")
    assert outcome.scores is not None
    for name, size in (("a", 1), ("b", 1000)):
        places = [place for place, example in enumerate(outcome.ids) if example.startswith(f"{name}/")]
        assert np.abs(outcome.scores[places] - outcome.truth[places]).mean() < 2 * size
    (answers,) = prepare(run, [str(path)]).answers(lambda *_: None)
    assert answers.ids == ["a/299", "b/299"]
    assert np.abs(answers.scores[1]).max() > 500 > np.abs(answers.scores[0]).max()


def test_windows_scaled_by_mean_and_deviation_ignore_level_and_size(table: Path) -> None:
    run = trained(spec(table, "standard", data="batch_size: 16, normalize: window_standard"))
    metrics = run.metrics("test")
    assert metrics["metrics"]["mae"]["value"] < metrics["baseline"]["metrics"]["mae"]


def test_a_model_that_is_worse_than_persistence_is_reported(table: Path) -> None:
    run = trained(spec(table, "poor", training="epochs: 0", data="batch_size: 16, normalize: standard"), write_up=True)
    found = {finding.name: finding for finding in diagnose(run)}
    (line,) = found["worse than persistence"].evidence
    assert "repeating the last value of each window has" in line
    assert "data.normalize=window_last" in [remedy.set for remedy in found["worse than persistence"].remedies]


@pytest.mark.usefixtures("without_pictures")
def test_two_trainings_have_the_same_bits(table: Path) -> None:
    path = spec(table, "twice", "{kind: mlp, units: [16]}", training="epochs: 3, loss: pinball")
    first = trained(path)
    for _ in range(3):
        assert_same_bits(first, trained(path))


def test_an_interrupted_training_ends_with_the_same_bits(table: Path) -> None:
    path = spec(table, "gru", GRU, training="epochs: 3, loss: pinball")
    whole = trained(path)
    run = stopped(path, Stopping(step=14))
    gone_on(run)
    assert_same_bits(whole, run)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("split: {folds: 3, fold: 1}", "a series source splits its rows by time before windows are made"),
        ("split: {validation: 0.2}", "a series source splits its rows by time before windows are made"),
    ],
)
def test_other_splits_than_those_of_the_source_are_refused(table: Path, data: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load(spec(table, "refused", data=data))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "regression"}, "task: this source is for forecast, not regression"),
        ({"data": "normalize: window_last"}, "data.normalize: only windows of `data.source.kind: series` have a level"),
        ({"task": "forecast"}, "task: `task: forecast` needs `data.source.kind: series`"),
        ({"task": "regression", "training": "loss: pinball"}, "`pinball` does not fit `task: regression`"),
    ],
)
def test_forecasts_and_series_need_each_other(table: Path, fields: dict[str, Any], message: str) -> None:
    is_series = message.startswith("task: this source")
    source = f"{{path: {table}, {SOURCE}}}" if is_series else f"{{kind: csv, path: {table}, target: y, drop: [day]}}"
    with pytest.raises(SpecError) as error:
        load(write_spec(table.parent, source, **{"task": "regression", "name": "refused", "model": LINEAR, **fields}))
    assert message in str(error.value)


def test_the_importance_of_each_channel_is_explained(run: RunFolder) -> None:
    (explanation,) = make(run, [], method="permutation", class_name="", offline=True, skip=lambda *_: None)
    text = (run.path / "explanations" / explanation.file).with_suffix(".csv").read_text(encoding="utf-8")
    names = [line.partition(",")[0] for line in text.splitlines()[1:]]
    assert names == ["y", "noise"]


def test_a_table_of_series_and_its_split_are_told(table: Path) -> None:
    heard = Heard()
    trained(spec(table, "told", training="epochs: 1"), reporter=heard)
    assert "series: 1 series, 300 rows, one row each 1 day, a season of 6 steps" in heard.lines
    assert any(line.startswith("split by time: train 2020-01-01 to 2020-05-31 (142 windows)") for line in heard.lines)
