"""An outcome -> the files of `evaluation/<split>/`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from dlcli.runs import layout
from dlcli.runs.contents import MetricsFile
from dlcli.runs.files import write_table
from dlcli.runs.numbers import digits
from dlcli.runtime.estimates import LEVEL, Interval
from dlcli.score.calibration import brier, calibration_error, claims, reliability, with_temperature
from dlcli.score.curves import MOST_CLASSES, Curve, Threshold, curves, thresholds
from dlcli.score.details import details_of
from dlcli.score.outcome import Outcome, write_outcome
from dlcli.score.slices import Slice
from dlcli.spec.training.metrics import MetricSpec
from dlcli.tasks import Decisions


@dataclass(frozen=True)
class Scores:
    """The scores of one split: metric names with values and intervals, and the baseline's values.

    `no_interval` says why a metric has no interval. `notes` say which examples of other data are not scored, and which values
    did not occur in training.
    """

    split: str
    examples: int
    metrics: dict[str, float]
    intervals: dict[str, Interval | None]
    baseline: dict[str, float]
    baseline_name: str
    no_interval: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation that are written.

    Attributes:
        outcome: the labels, with the predictions and their losses.
        scores: the scores.
        metrics: the metrics, some of which have tables.
        temperature: the run's temperature; None where it has none.
        costs: of a false positive and a false negative; None where no threshold is chosen by them.
        note: a remark on the split.
        slices: the scores of groups.
        members: the entries of `metrics.json` on the members of an ensemble.
    """

    outcome: Outcome
    scores: Scores
    metrics: Sequence[MetricSpec]
    temperature: float | None = None
    costs: tuple[float, float] | None = None
    note: str = ""
    slices: Sequence[Slice] = ()
    members: Mapping[str, Any] = field(default_factory=dict)


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Writes tables, pictures and, at the end, `metrics.json` of an evaluation into its folder."""
    outcome, scores = evaluation.outcome, evaluation.scores
    write_tables(folder, outcome)
    tables = write_metric_tables(folder, outcome, evaluation.metrics)
    calibration = write_calibration(folder, outcome, evaluation.temperature)
    best_thresholds = write_curves(folder, outcome, evaluation.costs)
    if evaluation.slices:
        write_slices(folder, evaluation.slices)
    more = {"calibration": calibration, "thresholds": best_thresholds, "tables": tables, **evaluation.members}
    write_scores(folder, outcome, scores, note=evaluation.note, notes=scores.notes, **more)


def write_scores(folder: Path, outcome: Outcome, scores: Scores, **more: Any) -> None:
    """Writes `metrics.json`; `more` are further entries, of which empty ones are omitted."""
    metrics = {
        name: {"value": value, "interval": scores.intervals.get(name)}
        | ({"no_interval": scores.no_interval[name]} if scores.no_interval.get(name) else {})
        for name, value in scores.metrics.items()
    }
    data = {
        "split": scores.split,
        "task": outcome.task.name,
        "examples": scores.examples,
        "level": LEVEL,
        "metrics": metrics,
        "baseline": {"name": scores.baseline_name, "metrics": scores.baseline},
    }
    MetricsFile.of(data | {name: entry for name, entry in more.items() if entry}).write(folder / layout.METRICS)


def scores_of(data: Mapping[str, Any]) -> Scores:
    """Returns the scores that a `metrics.json` holds."""
    metrics: dict[str, Any] = data["metrics"]
    return Scores(
        data["split"],
        data["examples"],
        {name: entry["value"] for name, entry in metrics.items()},
        {name: None if entry["interval"] is None else tuple(entry["interval"]) for name, entry in metrics.items()},
        data["baseline"]["metrics"],
        data["baseline"]["name"],
        {name: entry.get("no_interval", "") for name, entry in metrics.items()},
        list(data.get("notes") or ()),
    )


def write_tables(folder: Path, outcome: Outcome) -> None:
    """Writes the predictions and the tables of classes or of errors."""
    write_outcome(outcome, folder)
    details_of(outcome.task).write(folder, outcome)


def write_metric_tables(folder: Path, outcome: Outcome, metrics: Sequence[MetricSpec]) -> list[dict[str, str]]:
    """Writes a CSV file for each table of the metrics, and returns their entries in `metrics.json`.

    Raises:
        ValueError: the file name of a table is used already or no plain name, which is a defect of the metric.
    """
    assert outcome.scores is not None
    entries: dict[str, dict[str, str]] = {}
    for metric in metrics:
        for table in metric.tables(outcome.truth, outcome.scores, outcome.classes, outcome.task):
            file = f"{table.stem}.csv"
            if not re.fullmatch(r"[a-z0-9_]+", table.stem) or layout.is_own_name(file) or file in entries:
                raise ValueError(f"the metric {metric.name!r} has a table {file!r}, a name that is used already or not allowed")
            write_table(folder / file, table.columns, table.rows)
            entries[file] = {"metric": metric.name, "file": file, "title": table.title, "note": table.note}
    return list(entries.values())


def write_calibration(folder: Path, outcome: Outcome, temperature: float | None) -> dict[str, Any]:
    """Writes `calibration.csv` and `reliability.png`, and returns the entry of `metrics.json`, empty where there are none."""
    from dlcli.charts.ranking import reliability_chart

    if not isinstance(outcome.task.output, Decisions) or not outcome.has_finite_scores:
        return {}
    bins = reliability(*claims(outcome))
    error = calibration_error(bins)
    write_table(
        folder / layout.RELIABILITY,
        ("from", "to", "examples", "confidence", "accuracy"),
        ((row.low, row.high, row.examples, row.confidence, row.accuracy) for row in bins),
    )
    reliability_chart(bins, error).save(folder / layout.RELIABILITY_PICTURE)
    entry: dict[str, Any] = {"ece": error, "brier": brier(outcome)}
    if temperature is not None:
        calibrated = with_temperature(outcome, temperature)
        calibrated_scores = {"ece": calibration_error(reliability(*claims(calibrated))), "brier": brier(calibrated)}
        entry["temperature"] = {"value": temperature, **calibrated_scores}
    return entry


def write_curves(folder: Path, outcome: Outcome, costs: tuple[float, float] | None) -> list[dict[str, Any]]:
    """Writes the curves of up to 100 classes and, for yes-or-no decisions, the thresholds, which it returns."""
    if not isinstance(outcome.task.output, Decisions) or not outcome.has_finite_scores:
        return []
    if len(outcome.classes) <= MOST_CLASSES:
        _write_roc_and_pr(folder, outcome)
    if not outcome.task.output.has_thresholds:
        return []
    rows = thresholds(outcome, costs)
    names = list(Threshold.__dataclass_fields__)
    write_table(folder / layout.THRESHOLDS, names, (list(asdict(row).values()) for row in rows))
    return [asdict(row) for row in rows]


def _write_roc_and_pr(folder: Path, outcome: Outcome) -> None:
    from dlcli.charts.ranking import pr_chart, roc_chart

    roc, pr = curves(outcome)
    if not roc:
        return
    names = ("class", "false_positive_rate", "true_positive_rate", "threshold", "area")
    write_table(folder / layout.ROC, names, _points(roc))
    write_table(folder / layout.PR, ("class", "recall", "precision", "threshold", "area"), _points(pr))
    roc_chart(roc).save(folder / layout.ROC_PICTURE)
    pr_chart(pr).save(folder / layout.PR_PICTURE)


def _points(curves: Sequence[Curve]) -> Iterable[tuple[str, ...]]:
    """Yields the points of curves; the first point, where no example counts as positive, has no threshold.

    The area is that below all points of a curve, of which at most 500 are written.
    """
    for curve in curves:
        for x, y, threshold in zip(curve.x, curve.y, curve.thresholds, strict=True):
            yield curve.name, f"{x:.6g}", f"{y:.6g}", digits(threshold) if isfinite(threshold) else "", digits(curve.area)


def write_slices(folder: Path, slices: Sequence[Slice]) -> None:
    """Writes `slices.csv`."""
    rows = ((row.column, row.value, row.examples, row.metric, row.score, *(row.interval or ("", ""))) for row in slices)
    write_table(folder / layout.SLICES, ("column", "value", "examples", "metric", "score", "low", "high"), rows)
