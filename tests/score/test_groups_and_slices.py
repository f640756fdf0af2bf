"""Scores of grouped examples everywhere: other data, slices, baselines; slices of every source with columns."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spec.sources.fetched_sets import write_openml

from dlcli.data.open_run import open_run
from dlcli.errors import UsageError
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.runs.reporter import Reporter
from dlcli.score.baseline import baselines
from dlcli.score.compare import pair_runs
from dlcli.score.evaluate import EvaluateOptions, evaluate
from dlcli.score.intervals import clustered, metric_estimate
from dlcli.score.outcome import read_outcome
from dlcli.score.slices import columns_asked_for, columns_of
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources import Request
from dlcli.spec.data.sources.openml import Openml
from dlcli.spec.data.sources.sklearn import Sklearn
from dlcli.spec.load import load_text
from dlcli.tasks import TASKS
from dlcli.training.train import train

pytestmark = pytest.mark.usefixtures("without_pictures")
ROWS = 240


def table(rows: int, first: int = 0) -> dict[str, list[object]]:
    """Returns rows of groups of six whose label they share."""
    numbers = np.arange(first, first + rows)
    noise = np.random.default_rng(first).normal(size=rows)
    return {
        "x": (noise + numbers // 6 % 2).tolist(),
        "patient": [f"p{number // 6}" for number in numbers],
        "site": ["ns"[number % 2] for number in numbers],
        "label": ["ab"[number // 6 % 2] for number in numbers],
    }


def write_csv(path: Path, columns: dict[str, list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])


def trained(source: str, folder: Path, split: str) -> RunFolder:
    data = f"{{source: {source}, split: {split}}}"
    text = (
        f"name: t\ntask: binary\ndata: {data}\nmodel: {{kind: mlp, units: [4]}}\ntraining: {{epochs: 1, metrics: [accuracy]}}\n"
    )
    return train(load_text(text, folder / "spec.yaml", []), folder / "runs", Reporter(), offline=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grouped")
    write_csv(folder / "rows.csv", table(ROWS))
    pq.write_table(pa.table(table(ROWS)), folder / "rows.parquet")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> RunFolder:
    return trained("{kind: csv, path: rows.csv, target: label}", folder, "{group: patient}")


@pytest.fixture(scope="module")
def run_of_parquet(folder: Path) -> RunFolder:
    source = "{kind: parquet, path: rows.parquet, target: label, validation: 0, test: 0}"
    return trained(source, folder, "{group: patient}")


def accuracy_interval(run: RunFolder, split: str, *, with_groups: bool = True) -> tuple[float, float] | None:
    outcome, metric = read_outcome(run, split), run.experiment().training.metrics[0]  # type: ignore[index]
    assert outcome.scores is not None
    estimate = metric_estimate(metric, outcome.truth, outcome.scores, outcome.task)
    return clustered(estimate, outcome.groups if with_groups else None).interval


def test_other_data_has_the_groups_of_the_run_s_rule(run: RunFolder, folder: Path) -> None:
    write_csv(folder / "other.csv", table(120, 600))
    scores = evaluate(run, "", data=str(folder / "other.csv"))
    note = "intervals are those of 20 groups: examples of one group are not independent"
    assert note in scores.notes
    stored = read_outcome(run, scores.split)
    assert stored.groups is not None
    assert stored.groups.tolist() == table(120, 600)["patient"]  # the run's own rows have the same ids
    assert scores.intervals["accuracy"] == accuracy_interval(run, scores.split)
    low, high = scores.intervals["accuracy"] or (0, 0)
    plain_low, plain_high = accuracy_interval(run, scores.split, with_groups=False) or (0, 0)
    assert high - low > plain_high - plain_low
    assert pair_runs([run, run], scores.split)[0].examples == 120


def test_other_data_without_groups_has_a_note(run: RunFolder, folder: Path) -> None:
    columns = table(60, 900)
    write_csv(folder / "none.csv", {name: columns[name] for name in ("x", "site", "label")})
    write_csv(folder / "some.csv", columns | {"patient": ["", *columns["patient"][1:]]})
    for name, reason in {
        "none": "the source has no column `patient`",
        "some": "1 example has no value of `patient`: test/0",
    }.items():
        scores = evaluate(run, "", data=str(folder / f"{name}.csv"))
        words = "the groups of these examples are not known, so intervals treat them as independent: data.split.group.column: "
        assert [note for note in scores.notes if "groups" in note] == [words + reason]
        assert scores.intervals["accuracy"] == accuracy_interval(run, scores.split, with_groups=False)
        assert read_outcome(run, scores.split).groups is None


def test_slices_of_grouped_examples_have_grouped_intervals(run: RunFolder) -> None:
    evaluate(run, "test", options=EvaluateOptions(slices=["site"]))
    rows = {row["value"]: row for row in read_table(run.evaluation("test") / "slices.csv")}
    outcome, metric = read_outcome(run, "test"), run.experiment().training.metrics[0]  # type: ignore[index]
    sites = dict(zip((f"train/{row}" for row in range(ROWS)), table(ROWS)["site"], strict=True))
    places = np.flatnonzero([sites[example] == "n" for example in outcome.ids])
    assert outcome.groups is not None
    assert outcome.scores is not None
    part = replace(outcome, truth=outcome.truth[places], scores=outcome.scores[places])
    assert part.scores is not None
    estimate = metric_estimate(metric, part.truth, part.scores, part.task)
    interval = clustered(estimate, outcome.groups[places]).interval
    assert interval != estimate.interval
    assert (float(rows["n"]["low"]), float(rows["n"]["high"])) == interval


def test_baselines_of_grouped_examples_have_grouped_intervals(folder: Path) -> None:
    widths = []
    for split in ("{group: patient}", "{group: null}"):
        lines: list[str] = []
        data = f"{{source: {{kind: csv, path: rows.csv, target: label, features: [x]}}, split: {split}}}"
        text = f"name: t\ntask: binary\ndata: {data}\nmodel: {{kind: mlp}}\ntraining: {{metrics: [accuracy]}}\n"
        made = baselines(load_text(text, folder / "spec.yaml", []).experiment, lines.append, offline=True)
        low, high = made.rows[0].scores["accuracy"][1] or (0, 0)
        widths.append((high - low, sum("are those of 8 groups" in line for line in lines)))
    assert widths[0][0] > 1.5 * widths[1][0]
    assert [notes for _, notes in widths] == [1, 0]


def test_parquet_is_sliced_by_used_and_by_dropped_columns(run_of_parquet: RunFolder, folder: Path) -> None:
    evaluate(run_of_parquet, "test", options=EvaluateOptions(slices=["site", "patient"]))
    rows = [row for row in read_table(run_of_parquet.evaluation("test") / "slices.csv") if row["metric"] == "accuracy"]
    by_column = {column: [row for row in rows if row["column"] == column] for column in ("site", "patient")}
    assert [(row["value"], row["examples"]) for row in by_column["site"]] == [("n", "24"), ("s", "24")]
    assert {row["examples"] for row in by_column["patient"]} == {"6"}
    assert {row["value"] for row in by_column["patient"]} == {*run_of_parquet.groups().values()} & {
        run_of_parquet.groups()[example] for example in read_outcome(run_of_parquet, "test").ids
    }
    with pytest.raises(UsageError, match="--slice: the source has no column 'sit'; did you mean 'site'"):
        evaluate(run_of_parquet, "test", options=EvaluateOptions(slices=["sit"]))
    columns = table(60, 900)
    pq.write_table(pa.table({name: columns[name] for name in ("x", "site", "label")}), folder / "none.parquet")
    scores = evaluate(run_of_parquet, "", data=str(folder / "none.parquet"), options=EvaluateOptions(slices=["site"]))
    assert len(read_table(run_of_parquet.evaluation(scores.split) / "slices.csv")) == 2
    with pytest.raises(UsageError, match="--slice: the data has no column 'patient'"):
        evaluate(run_of_parquet, "", data=str(folder / "none.parquet"), options=EvaluateOptions(slices=["patient"]))


def test_a_run_keeps_only_the_columns_that_are_asked_for(run_of_parquet: RunFolder) -> None:
    with open_run(run_of_parquet, offline=True) as opened:
        assert opened.splits.train.side_columns == {}
        assert opened.splits_with(["site"]).train.side_columns.keys() == {"site"}


def test_sets_of_openml_and_scikit_learn_are_sliced_by_their_columns(tmp_path: Path) -> None:
    write_openml(tmp_path)
    source = Openml(kind="openml", name="clinic", version=1, data_home=str(tmp_path))
    columns = columns_asked_for(source, ["id", "ward", "age"])
    asked = Request(TASKS["binary"], ImageSettings(), 0, offline=True, side_columns=columns)
    examples = source.open(asked).parts["train"].take(np.array([4, 7]))
    expected = {"id": ["10000000004", "10000000007"], "ward": ["w4", "w2"], "age": ["", "27.5"]}
    assert columns_of(source, examples, columns) == expected
    faces = Sklearn(kind="sklearn", name="olivetti_faces")
    with pytest.raises(UsageError, match="--slice: a sklearn source has no columns to slice by"):
        columns_asked_for(faces, ["age"])
