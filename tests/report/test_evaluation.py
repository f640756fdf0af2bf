"""The report's reading of an evaluation's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from dlcli.report.evaluation import PrRow, RocRow, curves_of, read_rows
from dlcli.runs.files import read_table, write_table
from dlcli.score.outcome import Outcome
from dlcli.score.record import write_curves
from dlcli.tasks import TASKS


def test_areas_are_those_of_the_whole_curve_however_few_points_are_stored(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = (random.random(5000) < 0.01).astype("int64")
    second = random.random(5000).astype("float32") ** (1 - 0.5 * truth)
    scores = TASKS["binary"].output.scores(second[:, None])
    write_curves(tmp_path, Outcome(TASKS["binary"], "test", [*map(str, range(5000))], ("no", "yes"), truth, scores), None)
    (roc,), (pr,) = (
        curves_of(read_rows(tmp_path / f"{name}_curve.csv", kind)) for name, kind in (("roc", RocRow), ("pr", PrRow))
    )
    assert len(pr.x) <= 500
    assert roc.area == pytest.approx(roc_auc_score(truth, second), abs=1e-8)
    assert pr.area == pytest.approx(average_precision_score(truth, second), abs=1e-8)


def test_curves_of_earlier_versions_have_the_area_of_their_stored_points(tmp_path: Path) -> None:
    names = ("class", "recall", "precision", "threshold")
    write_table(tmp_path / "pr_curve.csv", names, [("yes", 0, 1, ""), ("yes", 0.5, 1, 0.9), ("yes", 1, 0.5, 0.1)])
    assert read_table(tmp_path / "pr_curve.csv")[0]["class"] == "yes"
    (curve,) = curves_of(read_rows(tmp_path / "pr_curve.csv", PrRow))
    assert curve.area == 0.75
