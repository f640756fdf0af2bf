"""Metrics and the loss of forecasts, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dlcli.spec.training.forecast_metrics import errors_by_step
from dlcli.tasks import TASKS, Forecasts, Task
from spec.members import sample

OUTPUT = Forecasts(2, ("a", "b"), (0.1, 0.5, 0.9))
TRUTH = np.tile([[1.0, 10.0, 2.0, 20.0], [3.0, 30.0, 4.0, 40.0]], (1, 3)).astype("float32")
POINTS = np.array([[1.0, 12.0, 2.0, 20.0], [3.0, 30.0, 2.0, 30.0]], "float32")
SCORES = np.concatenate([POINTS, POINTS - 1, POINTS + 1], axis=1)
"""Errors of 0, 2, 0, 0 and 0, 0, 2, 10 in the order a+1, b+1, a+2, b+2; bands of one unit on both sides."""


def forecast() -> Task:
    return replace(TASKS["forecast"], output=OUTPUT)


def score(kind: str, fields: str = "") -> float:
    return float(sample("Metric", kind, fields).score(TRUTH, SCORES, forecast()))


def test_errors_count_the_median_alone() -> None:
    assert score("mae") == pytest.approx(14 / 8)
    assert score("mse") == pytest.approx((4 + 4 + 100) / 8)
    assert sample("Metric", "mae").follow(forecast(), integer_labels=False) is None  # Keras would count all quantiles
    assert sample("Metric", "mae").estimate(TRUTH, SCORES, forecast()).influence.shape == (2,)


def test_mase_divides_the_error_of_each_target_by_its_scale() -> None:
    assert score("mase", "scale: [2.0, 4.0]") == pytest.approx((2 / 2 + (2 + 10) / 4) / 8)
    assert np.isnan(score("mase"))


def test_smape_is_relative_to_value_and_forecast() -> None:
    assert score("smape") == pytest.approx((200 * 2 / 22 + 200 * 2 / 6 + 200 * 10 / 70) / 8)
    zeros = np.zeros((2, 12), "float32")
    assert sample("Metric", "smape").score(zeros, zeros, forecast()) == 0


def test_coverage_is_the_share_between_the_outer_quantiles() -> None:
    assert score("coverage") == pytest.approx(5 / 8)
    points_only = replace(TASKS["forecast"], output=Forecasts(2, ("a", "b")))
    assert np.isnan(sample("Metric", "coverage").score(TRUTH[:, :4], POINTS, points_only))


def test_errors_by_step_have_a_row_for_each_step() -> None:
    table = errors_by_step(TRUTH, SCORES, OUTPUT)
    assert table.columns == ("step", "mae a", "bias a", "mae b", "bias b", "coverage")
    assert table.rows == [["1", 0.0, 0.0, 1.0, 1.0, 0.75], ["2", 1.0, -1.0, 5.0, -5.0, 0.5]]


def test_the_pinball_loss_weights_errors_by_their_side() -> None:
    loss = sample("Loss", "pinball")
    labels, outputs = np.zeros((1, 3), "float32"), np.array([[1.0, 1.0, -1.0]], "float32")
    assert np.asarray(loss.of_columns(labels, outputs)).tolist() == [[pytest.approx(x) for x in (0.5, 0.9, 0.9)]]
    assert np.asarray(loss.build()(labels, outputs)).tolist() == [pytest.approx(2.3 / 3)]


@pytest.mark.parametrize("quantiles", ["[0.1, 0.9]", "[0.9, 0.5]", "[0.5, 1.5]", "0.5", "[]"])
def test_quantiles_rise_and_contain_the_median(quantiles: str) -> None:
    with pytest.raises(Exception, match="rising numbers between 0 and 1"):
        sample("Loss", "pinball", f"quantiles: {quantiles}")


def test_a_pinball_loss_gives_the_task_its_quantiles(tmp_path: Any) -> None:
    from dlcli.spec.load import load_data

    (tmp_path / "rows.csv").write_text("y\n" + "\n".join(map(str, range(50))), encoding="utf-8")
    source = {"kind": "series", "path": str(tmp_path / "rows.csv"), "target": "y", "window": 4, "horizon": 2}
    data = {"name": "n", "task": "forecast", "data": {"source": source}, "model": {"kind": "mlp"}}
    data["training"] = {"loss": {"kind": "pinball", "quantiles": [0.25, 0.5]}}
    experiment = load_data(data).experiment
    assert experiment.task.output.column_names() == ("y+1", "y+2", "y+1@0.25", "y+2@0.25")  # type: ignore[attr-defined]
    assert [metric.name for metric in experiment.training.metrics or []] == ["mae", "rmse", "mase", "smape", "coverage"]
