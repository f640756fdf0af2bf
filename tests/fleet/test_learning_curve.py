"""`dlcli train --data-fractions`: the curve of the scores over training examples, and what more of them would give."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
from conftest import command, environment, run_process
from trainings import write_spec

from dlcli.errors import UsageError
from dlcli.fleet.learning_curve import _best_score, _Child, _extrapolated, _point
from dlcli.report.story import _options
from dlcli.runs import RunFolder
from dlcli.runs.children import FractionPoint, FractionScore, FractionsFile, read_fractions
from dlcli.runs.compare import not_scored
from dlcli.runs.files import read_table
from dlcli.spec.training.metrics import MetricSpec, PlainMetric, TopK

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two fractions of the training data of a set of points."""
    folder = tmp_path_factory.mktemp("fractions")
    source = "{kind: playground, name: gaussians, examples: 100}"
    spec = write_spec(folder, source, task="binary", training="epochs: 1, metrics: [accuracy]")
    arguments = command("train", spec, "--data-fractions", "0.5,1", "--quiet", "--runs", folder / "runs")
    process = run_process(arguments, cwd=folder, env=environment(), timeout=300)
    assert process.returncode == 0, process.stderr
    return RunFolder(Path(process.stdout.strip()))


def test_the_curve_has_the_scores_of_the_runs_by_training_examples(parent: RunFolder) -> None:
    content = read_fractions(parent)
    assert content is not None
    assert [(point.fraction, point.examples) for point in content.points] == [(0.5, 35), (1.0, 70)]
    runs = [RunFolder(parent.path.parents[1] / point.runs[0]) for point in content.points]
    assert [run.data()["examples"]["train"] for run in runs] == [35, 70]
    smaller, larger = ({name for name, split in run.split().items() if split == "train"} for run in runs)
    assert smaller < larger
    for point, run in zip(content.points, runs, strict=True):
        entry = run.metrics()["metrics"]["accuracy"]
        assert (point.metrics["accuracy"].mean, point.metrics["accuracy"].interval) == (entry["value"], entry["interval"])
    assert {row["metric"] for row in read_table(parent.fraction_table_path)} == {"loss", "accuracy"}


def test_fewer_than_three_fractions_are_not_extrapolated(parent: RunFolder) -> None:
    content = read_fractions(parent)
    assert content is not None
    assert content.extrapolation is None
    assert content.sentence.startswith("What more data would give cannot be estimated: a curve needs at least 3 fractions")


def test_the_report_shows_the_curve_and_predictions_name_the_runs(parent: RunFolder) -> None:
    report = parent.report_path.read_text(encoding="utf-8")
    assert "Fractions of the data" in report
    assert f"dlcli train {parent.spec_path} --data-fractions 0.5,1.0 --seeds 0" in report
    assert "Each fraction of the data has scores" in report
    assert "dlcli evaluate" not in report
    assert parent.status().state == "completed"
    with pytest.raises(UsageError, match=f"has no model: .* runs of batch {parent.status().children}"):
        parent.refuse_missing_model()
    assert "has no model: its results are those of the runs of batch" in not_scored(parent, "test")


def test_the_command_that_repeats_the_runs_has_all_digits_of_their_fractions() -> None:
    exact = [FractionPoint(fraction=fraction, examples=1, runs=[], metrics={}) for fraction in (0.1234567, 1 / 3, 1.0)]
    file = FractionsFile(batch="b", metric="loss", higher_is_better=False, seeds=[0, 1], points=exact, sentence="")
    assert _options(file) == "--data-fractions 0.1234567,0.3333333333333333,1.0 --seeds 0,1"


def points(*values: float | None) -> list[FractionPoint]:
    """Returns points with a score at 100, 200, 400 examples and so on, the last of which is all data."""
    fractions = [1 / 2 ** (len(values) - 1 - place) for place in range(len(values))]
    return [
        FractionPoint(
            fraction=fraction,
            examples=100.0 * 2**place,
            runs=["r"],
            metrics=dict.fromkeys(("accuracy", "auc"), FractionScore(mean=value, deviation=None)),
        )
        for place, (fraction, value) in enumerate(zip(fractions, values, strict=True))
    ]


def test_a_falling_error_is_continued_to_twice_the_examples() -> None:
    errors = [0.4, 0.28, 0.2]
    law, sentence = _extrapolated(points(*(1 - error for error in errors)), "accuracy", 1e-4 * np.eye(3), 1, 1.0)
    assert law is not None
    assert law.examples == 800
    assert law.value == pytest.approx(1 - 0.2 / np.sqrt(2), abs=0.01)
    assert law.interval[0] < law.value < law.interval[1]
    assert sentence.startswith(
        "If the curve continues as a power law, twice the training data (800 examples) would give accuracy 0.85"
    )
    assert sentence.endswith("with one seed, the chance of a single training is not in the interval.")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((0.8, 0.79, 0.8), "The curve does not show that more data would help: over 3 fractions accuracy does not improve"),
        ((0.8, 0.9, 1.0), "there are no errors left for one of the fractions"),
        ((0.8, 0.9), "a curve needs at least 3 fractions"),
        ((0.8, None, 0.9), "the score is not defined for each fraction"),
    ],
)
def test_what_cannot_be_estimated_is_not(values: tuple[float | None, ...], reason: str) -> None:
    law, sentence = _extrapolated(points(*values), "accuracy", 1e-3 * np.eye(len(values)), 2, 1.0)
    assert law is None
    assert reason in sentence


class Signal(MetricSpec):
    """A metric without a highest value."""

    kind: Literal["signal"]


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        *((PlainMetric(kind=kind), 1.0) for kind in ("balanced_accuracy", "macro_f1", "mcc", "kappa", "r2")),
        *((PlainMetric(kind=kind), 0.0) for kind in ("mae", "mape", "hamming")),
        (TopK(kind="top_k"), 1.0),
        (None, 0.0),
        (Signal(kind="signal"), None),
    ],
)
def test_errors_are_distances_from_the_best_score_of_the_metric(metric: MetricSpec | None, best: float | None) -> None:
    assert _best_score(metric) == best
    law, sentence = _extrapolated(points(0.6, 0.72, 0.8), "accuracy", 1e-4 * np.eye(3), 2, best)
    assert (law is not None) == (best == 1)
    if best is None:
        assert sentence == "What more data would give cannot be estimated: the score has no known best value."


def test_a_score_that_one_seed_does_not_have_is_neither_extrapolated_nor_given_an_interval() -> None:
    covariance = np.diag([1e-4, np.nan, 1e-4])
    law, sentence = _extrapolated(points(0.6, 0.72, 0.8), "auc", covariance, 2, 1.0)
    assert law is None
    assert sentence.endswith("the score is not defined for each run.")
    run = SimpleNamespace(id="r")
    scores = [{"auc": {"value": value, "interval": None}} for value in (0.7, None)]
    rows = [_Child(run, 0.5, seed, 100, entry, None) for seed, entry in enumerate(scores)]  # type: ignore[arg-type]
    score = _point(rows, "auc", float("nan"), 1.0).metrics["auc"]
    assert (score.mean, score.interval) == (0.7, None)
