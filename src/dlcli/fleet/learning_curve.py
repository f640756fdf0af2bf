"""The runs of all fractions of the training data -> the curve of their scores, and what twice the data would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from dlcli.errors import DlcliError
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch
from dlcli.runs.children import Extrapolation, FractionPoint, FractionScore, FractionsFile
from dlcli.runs.files import write_table
from dlcli.runs.folder import now
from dlcli.runs.reporter import Log
from dlcli.runs.scored_splits import score_text
from dlcli.spec.training.metrics import LAST_EPOCH, MetricSpec, higher_is_better

if TYPE_CHECKING:
    from dlcli.arrays import Array


@dataclass(frozen=True)
class _Child:
    """A completed run of one fraction and seed; `influence` is that of each test example on the score, None if unknown."""

    run: RunFolder
    fraction: float
    seed: int
    examples: int
    metrics: dict[str, Any]
    influence: Array | None


def finish(run: RunFolder, batch: Batch, children: Sequence[RunFolder], log: Log) -> None:
    """Writes the curve of completed runs as `fractions.json`, a table and a picture, and the report.

    Raises:
        DlcliError: a file of a run cannot be read.
    """
    from dlcli.report.write_up import WRITERS

    experiment = children[0].experiment()
    metrics = list(experiment.training.metrics or [])
    metric = metrics[0] if metrics else None
    rows = [_child(child, metric) for child in children]
    content = learning_curve(batch.id, rows, metric)
    content.write(run.fractions_path)
    _write_table(run, content)
    _draw(run, content)
    for note in content.notes:
        log(f"note: {note}")
    run.update_status(state="completed", finished=now())
    try:
        WRITERS["report"](run)
    except (DlcliError, OSError) as error:
        log(f"note: the report could not be written ({error})")


def _child(run: RunFolder, metric: MetricSpec | None) -> _Child:
    experiment, scores = run.experiment(), run.metrics("test") or run.metrics("validation")
    examples = int(run.data()["examples"]["train"])
    fraction, entries = experiment.data.split.train_fraction, scores["metrics"]
    return _Child(run, fraction, experiment.seed, examples, entries, _influence(run, metric))


def _influence(run: RunFolder, metric: MetricSpec | None) -> Array | None:
    """Returns the influence of each test example, or group of them, on the run's score; None if no predictions are stored."""
    from dlcli.score.intervals import clustered, metric_estimate
    from dlcli.score.outcome import has_outcome, read_outcome

    if metric is None or not has_outcome(run, "test"):
        return None
    outcome = read_outcome(run, "test")
    if outcome.scores is None:
        return None
    estimate = metric_estimate(metric, outcome.truth, outcome.scores, outcome.task)
    return clustered(estimate, outcome.groups).influence if len(estimate.influence) == len(outcome) else None


def learning_curve(batch: str, children: Sequence[_Child], metric: MetricSpec | None) -> FractionsFile:
    """Returns the content of `fractions.json`."""
    fractions = sorted({child.fraction for child in children})
    by_fraction = [[child for child in children if child.fraction == fraction] for fraction in fractions]
    name = metric.name if metric else "loss"
    covariance = _covariance(by_fraction, name)
    best = _best_score(metric)
    points = [_point(rows, name, covariance[at, at], best) for at, rows in enumerate(by_fraction)]
    higher = metric is not None and higher_is_better(name, [metric])
    extrapolation, sentence = _extrapolated(points, name, covariance, len(by_fraction[0]), best)
    seeds = sorted({child.seed for child in children})
    content = {"batch": batch, "metric": name, "higher_is_better": higher, "seeds": seeds, "sentence": sentence}
    content |= {"notes": _notes(by_fraction)}
    return FractionsFile.of(
        content
        | {
            "points": [point.model_dump() for point in points],
            "extrapolation": extrapolation.model_dump() if extrapolation else None,
        }
    )


def _best_score(metric: MetricSpec | None) -> float | None:
    """Returns the score of perfect predictions: 0 of errors and losses, 1 of other scores that end there; else None."""
    if metric is None or not higher_is_better(metric.name, [metric]):
        return 0.0
    return 1.0 if metric.ends_at_one else None


def _notes(by_fraction: Sequence[Sequence[_Child]]) -> list[str]:
    """Returns a note if runs were still improving when they ended: their scores are lower than their data allows."""
    improving = [rows[0].fraction for rows in by_fraction if any(_still_improved(child.run) for child in rows)]
    if not improving:
        return []
    listed = ", ".join(f"{fraction:g}" for fraction in improving)
    return [
        f"with {listed} of the data, the last epoch was the best, so more epochs may give a higher score; the curve may then"
        " show the effect of the training's length rather than that of the data"
    ]


def _still_improved(run: RunFolder) -> bool:
    status = run.status()
    return status.epochs > 1 and status.best_epoch == status.epochs and status.monitor != LAST_EPOCH


def _value(child: _Child, name: str) -> float:
    value = (child.metrics.get(name) or {}).get("value")
    return float("nan") if value is None else float(value)


def _covariance(by_fraction: Sequence[Sequence[_Child]], name: str) -> Array:
    """Returns the covariance of the mean scores of the fractions, float64 `(fractions, fractions)`.

    Runs of one seed have the same test examples: the covariance of their scores is that of the examples' influences. Between
    seeds, whose splits and weights differ, the variance of the scores is added; of a single seed it is not known.
    """
    import numpy as np

    seeds = len(by_fraction[0])
    total = np.zeros((len(by_fraction), len(by_fraction)))
    for at in range(seeds):
        influences = [rows[at].influence for rows in by_fraction]
        known = [influence for influence in influences if influence is not None]
        if len(known) == len(influences) and len({len(influence) for influence in known}) == 1:
            total += np.atleast_2d(np.cov(np.stack(known), bias=True)) / len(known[0])
        else:
            total += np.diag([_variance(rows[at], name) for rows in by_fraction])
    between = [np.var([_value(child, name) for child in rows], ddof=1) if seeds > 1 else 0.0 for rows in by_fraction]
    return np.asarray(total / seeds**2 + np.diag(between) / seeds)


def _variance(child: _Child, name: str) -> float:
    """Returns the variance of a score by its interval; 0 without one."""
    from dlcli.runtime.estimates import NORMAL

    interval = (child.metrics.get(name) or {}).get("interval")
    return float(((interval[1] - interval[0]) / (2 * NORMAL)) ** 2) if interval else 0.0


def _point(rows: Sequence[_Child], name: str, variance: float, best: float | None) -> FractionPoint:
    from dlcli.runtime.estimates import NORMAL

    scores = {}
    for metric in rows[0].metrics:
        values = [value for value in (_value(child, metric) for child in rows) if isfinite(value)]
        mean = fmean(values) if values else None
        interval = rows[0].metrics[metric].get("interval") if len(rows) == 1 else None
        if metric == name and len(rows) > 1 and mean is not None and isfinite(variance):
            half = NORMAL * sqrt(variance)
            interval = [mean - half, min(1.0, mean + half) if best == 1 else mean + half]
        deviation = stdev(values) if len(values) > 1 else None
        scores[metric] = FractionScore(mean=mean, deviation=deviation, interval=interval)
    examples = fmean(child.examples for child in rows)
    return FractionPoint(fraction=rows[0].fraction, examples=examples, runs=[child.run.id for child in rows], metrics=scores)


def _extrapolated(
    points: Sequence[FractionPoint], name: str, covariance: Array, seeds: int, best: float | None
) -> tuple[Extrapolation | None, str]:
    """Returns the score that a power law predicts for twice the training examples, and what it means; None if nothing can
    be predicted, which the sentence explains. `best` is the score of perfect predictions, 0 or 1; None if it is not known."""
    import numpy as np

    from dlcli.score.power_law import FEWEST, fitted_law

    values = [points[at].metrics[name].mean for at in range(len(points))]
    largest = points[-1].examples
    reason = _reason_against(points, values, FEWEST, best)
    if not reason and not np.isfinite(covariance).all():
        reason = "the score is not defined for each run"
    if reason:
        return None, f"What more data would give cannot be estimated: {reason}."
    scores = np.array(values, dtype="float64")
    errors = 1 - scores if best == 1 else scores
    law = fitted_law(np.array([point.examples for point in points]), errors, covariance)
    low, high = law.exponent_interval
    if not law.falls:
        return None, (
            f"The curve does not show that more data would help: over {len(points)} fractions {name} does not improve by more"
            f" than its uncertainty (exponent {law.exponent:.2f}, 95 % interval {low:.2f} to {high:.2f})."
        )
    error, interval = law.error(2 * largest), law.interval(2 * largest)
    value, bounds = (1 - error, [1 - interval[1], 1 - interval[0]]) if best == 1 else (error, list(interval))
    extrapolation = Extrapolation(
        examples=2 * largest,
        scale=law.error(1.0),
        exponent=law.exponent,
        exponent_interval=[low, high],
        value=value,
        interval=bounds,
    )
    shown = [score_text(number, name) for number in (value, *bounds, float(scores[-1]))]
    noise = "" if seeds > 1 else "; with one seed, the chance of a single training is not in the interval"
    return extrapolation, (
        f"If the curve continues as a power law, twice the training data ({2 * largest:,.0f} examples) would give {name}"
        f" {shown[0]} (95 % interval {shown[1]} to {shown[2]}), against {shown[3]} with all of it now{noise}."
        if points[-1].fraction == 1
        else f"If the curve continues as a power law, {2 * largest:,.0f} training examples would give {name}"
        f" {shown[0]} (95 % interval {shown[1]} to {shown[2]}), against {shown[3]} with {largest:,.0f}{noise}."
    )


def _reason_against(points: Sequence[FractionPoint], values: Sequence[float | None], fewest: int, best: float | None) -> str:
    if len(points) < fewest:
        return f"a curve needs at least {fewest} fractions, such as --data-fractions 0.1,0.3,1.0"
    if len({point.examples for point in points}) < fewest:
        return "fractions have the same number of training examples"
    if best is None:
        return "the score has no known best value"
    defined = [value for value in values if value is not None and isfinite(value)]
    if len(defined) < len(points):
        return "the score is not defined for each fraction"
    if any((1 - value if best == 1 else value) <= 0 for value in defined):
        return "there are no errors left for one of the fractions"
    return ""


def _write_table(run: RunFolder, content: FractionsFile) -> None:
    names = list(content.points[0].metrics)
    rows = (
        [point.fraction, point.examples, run_id, name, score.mean, score.deviation, *(score.interval or ("", ""))]
        for point in content.points
        for run_id in ["; ".join(point.runs)]
        for name in names
        for score in [point.metrics[name]]
    )
    columns = ("fraction", "examples", "runs", "metric", "mean", "deviation", "low", "high")
    write_table(run.fraction_table_path, columns, ([("" if cell is None else cell) for cell in row] for row in rows))


def _draw(run: RunFolder, content: FractionsFile) -> None:
    from dlcli.charts.fractions import fraction_chart

    fraction_chart(content).save(run.fraction_picture_path)
