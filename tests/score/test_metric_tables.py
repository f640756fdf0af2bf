"""A metric with its own tables takes one file: this one, which dlcli does not ship."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from reading_pages import read_page
from trainings import trained, write_spec

from dlcli.errors import DamagedFile
from dlcli.report.evaluation import read_metric_table
from dlcli.report.report import write_report
from dlcli.runs import RunFolder
from dlcli.runs.contents import MetricsFile
from dlcli.runs.files import read_table, write_table
from dlcli.runtime.estimates import Estimate, of_values
from dlcli.score.evaluate import evaluate
from dlcli.score.outcome import Outcome
from dlcli.score.record import write_metric_tables
from dlcli.spec.base import OneOf
from dlcli.spec.training.metrics import MetricSpec, MetricTable
from dlcli.tasks import TASKS, Classes, OutputType, Task

pytestmark = pytest.mark.usefixtures("without_pictures")

Array = np.ndarray[Any, Any]


class MeanCost(MetricSpec):
    """Mean cost of the predictions: the squared distance of the predicted from the true class."""

    higher_is_better: ClassVar[bool] = False
    outputs: ClassVar[tuple[type[OutputType], ...]] = (Classes,)
    kind: Literal["mean_cost"]

    def score(self, truth: Array, scores: Array, task: Task) -> float:
        """Returns the mean cost."""
        return float(self._costs(truth, scores, task).mean())

    def estimate(self, truth: Array, scores: Array, task: Task) -> Estimate:
        """Returns the mean cost with its interval."""
        return of_values(self._costs(truth, scores, task))

    def tables(self, truth: Array, scores: Array, classes: Sequence[str], task: Task) -> Sequence[MetricTable]:
        """Returns the total cost of each pair of label and prediction."""
        costs = np.zeros((len(classes), len(classes)))
        np.add.at(costs, (truth, task.output.decide(scores)), self._costs(truth, scores, task))
        rows = [[name, *row] for name, row in zip(classes, costs.tolist(), strict=True)]
        note = "Rows are labels, columns predictions."
        return [MetricTable("mean_cost_matrix", "Cost of the confusions", note, ("label", *classes), rows)]

    def _costs(self, truth: Array, scores: Array, task: Task) -> Array:
        return (task.output.decide(scores) - truth).astype("float64") ** 2


NAMES = ("<b>low</b>", "label", "high")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run with the metric, which is registered for the tests of this file only."""
    folder = tmp_path_factory.mktemp("costs")
    draw = np.random.default_rng(0)
    rows = [f"{value:.3f},{NAMES[int(np.clip(value + 1.5, 0, 2))]}" for value in draw.normal(size=150)]
    (folder / "rows.csv").write_text("x,level\n" + "\n".join(rows) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OneOf.registry["Metric"], "_added", [])
        OneOf.registry["Metric"].extend(MeanCost)
        source = "{kind: csv, path: rows.csv, target: level}"
        yield trained(write_spec(folder, source, training="epochs: 2, metrics: [accuracy, mean_cost]"))


def test_the_table_of_a_metric_is_stored_beside_its_score(run: RunFolder) -> None:
    scores = run.metrics("test")
    assert list(scores["metrics"]) == ["loss", "accuracy", "mean_cost"]
    assert scores["tables"] == [
        {
            "metric": "mean_cost",
            "file": "mean_cost_matrix.csv",
            "title": "Cost of the confusions",
            "note": "Rows are labels, columns predictions.",
        }
    ]
    lines = (run.evaluation("test") / "mean_cost_matrix.csv").read_text(encoding="utf-8").splitlines()
    classes = run.data()["classes"]
    assert lines[0].split(",") == ["label", *classes]
    assert [line.split(",")[0] for line in lines[1:]] == classes
    costs = [float(cell) for line in lines[1:] for cell in line.split(",")[1:]]
    assert sum(costs) / scores["examples"] == pytest.approx(scores["metrics"]["mean_cost"]["value"])


def test_every_evaluated_split_has_its_own_table(run: RunFolder) -> None:
    evaluate(run, "train")
    assert len(read_table(run.evaluation("train") / "mean_cost_matrix.csv")) == 3
    page = read_page(write_report(run))
    assert len(page.all("div", aria_label="Cost of the confusions (mean_cost)")) == len(list(run.scored_splits()))


def test_the_report_shows_the_table_with_the_scores_and_escapes_its_names(run: RunFolder) -> None:
    path = write_report(run)
    section = read_page(path).one("section", id="run-s0-scores")
    assert "Cost of the confusions" in [heading.text for heading in section.all("h3")]
    table = section.all("div", aria_label="Cost of the confusions (mean_cost)")[0]
    assert [heading.text for heading in table.one("thead").all("th")] == ["label", *run.data()["classes"]]
    assert [row[0] for row in table.rows()] == run.data()["classes"]
    assert "<b>low" not in path.read_text(encoding="utf-8")


def test_a_damaged_table_is_named_and_left_out(run: RunFolder) -> None:
    path = run.evaluation("test") / "mean_cost_matrix.csv"
    content = path.read_bytes()
    path.write_text("label,a\nlow\n", encoding="utf-8")
    try:
        page = write_report(run).read_text(encoding="utf-8")
    finally:
        path.write_bytes(content)
    assert "mean_cost_matrix.csv: a row of 1 cells below a header of 2" in page


def test_of_a_large_table_the_beginning_is_shown_with_a_sentence(tmp_path: Path) -> None:
    columns = ["name", *(f"c{number}" for number in range(60))]
    write_table(tmp_path / "large.csv", columns, ([f"r{row}", *range(60)] for row in range(1200)))
    entry = {"metric": "large", "file": "large.csv", "title": "Large"}
    table = read_metric_table(tmp_path, entry)
    assert (len(table.rows), len(table.rows[0]), len(table.columns)) == (100, 50, 50)
    assert table.omission == "The table shows 100 of 1,200 rows and 50 of 61 columns; large.csv has all."
    write_table(tmp_path / "large.csv", ["name", "share", "count"], [["a", 0.123456, 123456], ["b", "", 2]])
    table = read_metric_table(tmp_path, entry)
    assert table.omission == ""
    assert table.is_number == [False, True, True]
    assert [[cell.text for cell in row] for row in table.rows] == [["a", "0.1235", "123456"], ["b", "", "2"]]
    write_table(tmp_path / "large.csv", ["name", "name"], [])
    assert read_metric_table(tmp_path, entry).columns == ["name", "name"]


@pytest.mark.parametrize("stem", ["confusion_matrix", "calibration", "../evil", "", "Upper"])
def test_a_table_with_a_name_of_dlcli_or_no_plain_name_is_refused_with_its_metric(stem: str, tmp_path: Path) -> None:
    class Clashing(MeanCost):
        def tables(self, truth: Array, scores: Array, classes: Sequence[str], task: Task) -> Sequence[MetricTable]:
            return [MetricTable(stem, "Title", "", ("name",), [["a"]])]

    outcome = Outcome(TASKS["classification"], "test", ["a"], ("x", "y"), np.array([1]), np.array([[0.5, 0.5]]))
    with pytest.raises(ValueError, match=r"the metric 'mean_cost' has a table '.*\.csv', a name that"):
        write_metric_tables(tmp_path, outcome, [Clashing(kind="mean_cost")])
    assert not list(tmp_path.iterdir())


def test_two_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    outcome = Outcome(TASKS["classification"], "test", ["a"], ("x", "y"), np.array([1]), np.array([[0.5, 0.5]]))
    metric = MeanCost(kind="mean_cost")
    assert [entry["file"] for entry in write_metric_tables(tmp_path, outcome, [metric])] == ["mean_cost_matrix.csv"]
    with pytest.raises(ValueError, match=r"'mean_cost_matrix\.csv', a name that is used already"):
        write_metric_tables(tmp_path, outcome, [metric, metric])


def test_files_of_scores_without_tables_are_read_and_paths_outside_the_folder_are_not(run: RunFolder, tmp_path: Path) -> None:
    content = json.loads((run.evaluation("test") / "metrics.json").read_text(encoding="utf-8"))
    path, tables = tmp_path / "metrics.json", content.pop("tables")
    path.write_text(json.dumps(content), encoding="utf-8")
    assert MetricsFile.read(path).content() == content
    path.write_text(json.dumps(content | {"tables": [tables[0] | {"file": "../spec.csv"}]}), encoding="utf-8")
    with pytest.raises(DamagedFile, match=r"tables\.0\.file"):
        MetricsFile.read(path)
