"""One scored split of a run in a report: scores, matrix, tables, charts and examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dlcli.charts.chart import InlineChart, inlined
from dlcli.charts.forecasts import ForecastTable, error_chart, forecast_charts
from dlcli.charts.ranking import pr_chart, reliability_chart, roc_chart
from dlcli.charts.regression import actual_chart, decile_chart, residual_chart
from dlcli.report import sentences
from dlcli.report.evaluation import (
    BinRow,
    ClassRow,
    Confusion,
    DecileRow,
    ExampleRow,
    Matrix,
    PrRow,
    RocRow,
    ShownTable,
    SliceRow,
    ThresholdRow,
    curves_of,
    read_matrix,
    read_metric_table,
    read_rows,
    scores_table,
)
from dlcli.report.pictures import Budget, thumbnail
from dlcli.runs import RunFolder, layout
from dlcli.runs.checks import read_checks
from dlcli.runs.layout import OTHER_DATA
from dlcli.runs.notable_texts import NotableText, read_notable_texts
from dlcli.runs.scored_splits import split_note, split_title
from dlcli.score.calibration import calibration_error
from dlcli.spec.training.metrics import MetricSpec, higher_is_better
from dlcli.tasks import Forecasts, Task

Contents = TypeVar("Contents")
ReadOptional = Callable[[Callable[[], Any], Any], Any]
_MOST_TARGETS = 4
_STRIP = 1.06
"""Length of the strip of an error, as a multiple of its largest value."""
_NOT_FIRST = ("loss",)


@dataclass(frozen=True)
class Score:
    """One metric: value, interval and baseline; `strip` has their positions in percent of its width."""

    name: str
    higher_is_better: bool
    value: float | None
    low: float | None
    high: float | None
    baseline: float | None
    no_interval: str = ""
    strip: dict[str, float] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The value in large type."""
        return sentences.headline(self.name, self.value)

    @property
    def interval(self) -> str:
        """The interval as text, in the unit of the headline."""
        return sentences.between(self.low, self.high, self.name)

    @property
    def baseline_text(self) -> str:
        """The baseline's value, in the unit of the headline."""
        return sentences.headline(self.name, self.baseline)


@dataclass(frozen=True)
class Example:
    """An example of the gallery; `image` is a data URL or empty, `key` its cell of the matrix; `texts` are shortened."""

    id: str
    label: str
    predicted: str
    probability: float | None
    image: str
    key: str
    texts: Sequence[NotableText] = ()


@dataclass(frozen=True)
class Pair:
    """A confusion with its examples."""

    confusion: Confusion
    examples: list[Example]


@dataclass(frozen=True)
class Scored:
    """One scored split. `shots` are examples by kind, without those of confusions, which are in `pairs`."""

    split: str
    title: str
    note: str
    key: str
    is_numeric: bool
    examples: int
    level: float
    scores: list[Score]
    baseline_name: str
    calibration: dict[str, Any]
    calibration_note: str
    classes: list[ClassRow]
    matrix: Matrix
    pairs: list[Pair]
    shots: dict[str, list[Example]]
    thresholds: list[ThresholdRow]
    slices: list[SliceRow]
    deciles: list[DecileRow]
    charts: dict[str, list[InlineChart]]
    notes: list[str] = field(default_factory=list)
    tables: list[ShownTable] = field(default_factory=list)
    members: list[tuple[str, list[float | None]]] = field(default_factory=list)
    """The id of each member of an ensemble with its scores, in the order of `scores`."""
    against_best: list[str] = field(default_factory=list)
    """Sentences on the difference of an ensemble to its best member."""

    @property
    def name(self) -> str:
        """The name of the split in a heading."""
        return f"other data ({self.split.removeprefix(OTHER_DATA)})" if self.split.startswith(OTHER_DATA) else self.title

    @property
    def main(self) -> Score | None:
        """The first score of the page."""
        return next((score for score in self.scores if score.name not in _NOT_FIRST), self.scores[0] if self.scores else None)

    @property
    def worst_classes(self) -> list[ClassRow]:
        """The classes with the lowest F1, the lowest first."""
        return sorted((row for row in self.classes if row.support), key=lambda row: (row.f1, row.name))[:5]

    @property
    def largest_decile(self) -> DecileRow | None:
        """The tenth of the examples with the largest error; None where there are several targets, which cannot be compared."""
        targets = {row.target for row in self.deciles}
        return max(self.deciles, key=lambda row: row.mae) if len(targets) == 1 else None

    @property
    def weakest_slices(self) -> list[SliceRow]:
        """The slices with the lowest main score, or the largest where it is an error, the worst first."""
        main = self.main
        if main is None:
            return []
        sign = 1 if main.higher_is_better else -1
        return sorted((row for row in self.slices if row.metric == main.name), key=lambda row: sign * row.score)[:3]


def read_scored(run: RunFolder, split: str, key: str, of: ReadOptional, budget: Budget, *, draws: bool) -> Scored:
    """Returns the contents of one scored split.

    Args:
        run: the run.
        split: the split.
        key: the prefix of every id of the split on the page.
        of: reads an optional file, like `Reading.of`.
        budget: the remaining bytes for pictures.
        draws: whether to draw charts and pictures; splits after the first have only tables.

    Raises:
        DamagedFile: `metrics.json` cannot be read.
    """
    folder, metrics = run.evaluation(split), run.metrics(split)
    experiment = run.experiment()
    task = experiment.task
    matrix = of(lambda: read_matrix(folder), Matrix())
    rows = of(lambda: read_rows(folder / layout.EXAMPLES, ExampleRow), []) if draws else []
    gallery = _Gallery(folder, matrix, budget, _texts_by_id(of(lambda: read_notable_texts(folder), [])))
    deciles = of(lambda: read_rows(folder / layout.DECILES, DecileRow), [])
    return Scored(
        split=split,
        title=split_title(run, split),
        note=split_note(run, split),
        key=key,
        is_numeric=task.output.is_numeric,
        examples=metrics["examples"],
        level=float(metrics.get("level") or 0.95),
        scores=_scores(metrics, experiment.training.metrics or []),
        baseline_name=metrics["baseline"]["name"],
        calibration=metrics.get("calibration") or {},
        calibration_note=experiment.data.balance.calibration_note,
        classes=of(lambda: read_rows(folder / layout.PER_CLASS, ClassRow), []),
        matrix=matrix,
        pairs=_pairs(gallery, [row for row in rows if row.kind == "confusion"]),
        shots=_shots(gallery, rows),
        thresholds=of(lambda: read_rows(folder / layout.THRESHOLDS, ThresholdRow), []),
        slices=of(lambda: read_rows(folder / layout.SLICES, SliceRow), []),
        deciles=deciles,
        charts=_charts(run, split, task, folder, deciles, key, of) if draws else {},
        notes=metrics.get("notes") or [],
        tables=[*of(lambda: _simple_models(run, split), []), *_tables(metrics, folder, of)],
        members=[
            (member["run"], [(member["metrics"].get(name) or {}).get("value") for name in metrics["metrics"]])
            for member in metrics.get("members") or []
        ],
        against_best=(metrics.get("against_best") or {}).get("sentences", []),
    )


def _tables(metrics: dict[str, Any], folder: Path, of: ReadOptional) -> list[ShownTable]:
    tables = [of(partial(read_metric_table, folder, entry), None) for entry in metrics.get("tables") or []]
    return [table for table in tables if table is not None]


def _simple_models(run: RunFolder, split: str) -> list[ShownTable]:
    """Returns a table of the simple models of forecasts, which were scored on the same examples as the run's model."""
    simple = read_checks(run).simple_models
    if simple is None or simple.part != split or not run.experiment().task.output.needs_series:
        return []
    note = (
        f"Simple models on {simple.examples:,} examples of this split. They read the own past of the targets alone: a model"
        " that is not better than they are has no use."
    )
    return [scores_table("Simple models", note, {"this run": simple.own} | {row.name: row.scores for row in simple.rows})]


def _forecasts(table: ForecastTable, key: str) -> dict[str, list[InlineChart]]:
    charts_by_target = {}
    for at, target in enumerate(table.output.series[:_MOST_TARGETS]):
        errors = [error_chart(table, at)] if table.output.horizon > 1 else []
        charts_by_target[target] = inlined([*forecast_charts(table, at), *errors], f"{key}-t{at}-")
    return charts_by_target


def _scores(metrics: dict[str, Any], specs: Sequence[MetricSpec]) -> list[Score]:
    baseline = metrics["baseline"]["metrics"]
    scores = []
    for name, entry in metrics["metrics"].items():
        low, high = entry.get("interval") or (None, None)
        numbers = {"value": entry["value"], "low": low, "high": high, "baseline": baseline.get(name)}
        higher, no_interval = higher_is_better(name, list(specs)), entry.get("no_interval", "")
        scores.append(Score(name, higher, **numbers, no_interval=no_interval, strip=_strip(name, numbers)))
    return scores


def _strip(name: str, numbers: dict[str, float | None]) -> dict[str, float]:
    """Returns the positions of the numbers on a strip, in percent; the strip is from 0 to 1, or to the largest."""
    known_numbers = {key: value for key, value in numbers.items() if value is not None}
    if "value" not in known_numbers or min(known_numbers.values()) < 0 or name == "loss":
        return {}
    largest = 1.0 if max(known_numbers.values()) <= 1 else _STRIP * max(known_numbers.values())
    return {key: round(100 * value / largest, 2) for key, value in known_numbers.items()}


@dataclass(frozen=True)
class _Gallery:
    """What the examples of a page need: their folder, the matrix, the bytes for pictures, and the texts by example."""

    folder: Path
    matrix: Matrix
    budget: Budget
    texts: Mapping[str, Sequence[NotableText]]

    def example(self, row: ExampleRow) -> Example:
        """Returns the example of a row."""
        key = f"{self.matrix.place(row.label)}-{self.matrix.place(row.predicted)}"
        image = thumbnail(self.folder, row.thumbnail, self.budget)
        return Example(row.id, row.label, row.predicted, row.probability, image, key, self.texts.get(row.id, ()))


def _texts_by_id(texts: Sequence[NotableText]) -> dict[str, list[NotableText]]:
    by_id: dict[str, list[NotableText]] = {}
    for text in texts:
        by_id.setdefault(text.id, []).append(text)
    return by_id


def _pairs(gallery: _Gallery, rows: Sequence[ExampleRow]) -> list[Pair]:
    """Returns the confusions that have examples, the largest first; the others are shown only as cells."""
    members: dict[tuple[str, str], list[ExampleRow]] = {}
    for row in rows:
        members.setdefault((row.label, row.predicted), []).append(row)
    pairs = [(confusion, members.get((confusion.label, confusion.predicted), ())) for confusion in gallery.matrix.confusions]
    return [Pair(confusion, [gallery.example(row) for row in examples]) for confusion, examples in pairs if examples]


def _shots(gallery: _Gallery, rows: Sequence[ExampleRow]) -> dict[str, list[Example]]:
    kinds = dict.fromkeys(row.kind for row in rows if row.kind != "confusion")
    return {kind: [gallery.example(row) for row in rows if row.kind == kind] for kind in kinds}


def _charts(
    run: RunFolder, split: str, task: Task, folder: Path, deciles: list[DecileRow], key: str, of: ReadOptional
) -> dict[str, list[InlineChart]]:
    if task.output.is_numeric:
        charts: dict[str, list[InlineChart]] = of(lambda: _regression(run, split, deciles, key), {})
        return charts
    bins = of(lambda: read_rows(folder / layout.RELIABILITY, BinRow), [])
    roc = of(lambda: read_rows(folder / layout.ROC, RocRow), [])
    pr = of(lambda: read_rows(folder / layout.PR, PrRow), [])
    calibration = [reliability_chart(bins, calibration_error(bins))] if bins else []
    ranking = ([roc_chart(curves_of(roc))] if roc else []) + ([pr_chart(curves_of(pr))] if pr else [])
    return {"calibration": inlined(calibration, f"{key}-rel"), "ranking": inlined(ranking, f"{key}-rank")}


def _regression(run: RunFolder, split: str, deciles: list[DecileRow], key: str) -> dict[str, list[InlineChart]]:
    from dlcli.score.outcome import has_outcome, read_outcome

    if not has_outcome(run, split):
        return {}
    outcome = read_outcome(run, split)
    assert outcome.scores is not None
    if isinstance(outcome.task.output, Forecasts):
        return _forecasts(ForecastTable(outcome.task.output, outcome.ids, outcome.truth, outcome.scores), key)
    charts_by_target = {}
    for at, target in enumerate(outcome.classes[:_MOST_TARGETS]):
        rows = [row for row in deciles if row.target == target]
        truth, predicted = outcome.truth[:, at], outcome.scores[:, at]
        charts = [actual_chart(target, truth, predicted), residual_chart(target, truth, predicted)]
        charts_by_target[target] = inlined(charts + ([decile_chart(target, rows)] if rows else []), f"{key}-t{at}-")
    return charts_by_target
