"""Runs on the same examples: by how much their scores differ, and whether these examples are enough to show it.

Two models are correct, or wrong, together on most examples of a split. Only the other examples distinguish them, so each
comparison is paired by example: accuracies are compared by the exact McNemar test, every other metric and the loss by the
interval of the difference (`score/intervals.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal

import numpy as np

from dlcli.arrays import Array
from dlcli.errors import UsageError
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.compare import not_scored
from dlcli.runs.scored_splits import split_note, split_title
from dlcli.runtime.estimates import Estimate
from dlcli.score.intervals import LEVEL, clustered, difference_interval, loss_estimate, metric_estimate
from dlcli.score.outcome import Outcome, has_outcome, read_outcome
from dlcli.spec.base import dump
from dlcli.spec.training.metrics import Accuracy, MetricSpec, higher_is_better
from dlcli.tasks import Task

Verdict = Literal["better", "worse", "none shown", "same"]
SIGNIFICANT = 0.05
RELABELLED = 0.05
"""The largest share of common ids with different labels at which the other examples still count as the same."""


@dataclass(frozen=True)
class Difference:
    """How a run's score differs from the first run's on the same examples.

    `interval` is the 95 % interval of the difference; where it is None, `no_interval` says why. For accuracy `p` is McNemar's,
    and the two counts are the examples that only one of the runs has right. The verdict `same` means equal predictions.
    """

    metric: str
    first: float
    other: float
    interval: tuple[float, float] | None
    verdict: Verdict
    higher_is_better: bool = True
    p: float | None = None
    only_first_right: int | None = None
    only_other_right: int | None = None
    no_interval: str = ""

    @property
    def difference(self) -> float:
        """The run's score minus the first run's."""
        return self.other - self.first


@dataclass(frozen=True)
class Pairing:
    """One run against the first: their differences on the `examples` that both were scored on, and notes."""

    first: RunFolder
    other: RunFolder
    examples: int
    differences: list[Difference]
    notes: list[str]
    title: str = "test"
    """The name of the split as it is shown."""


def pair_runs(runs: list[RunFolder], split: str, *, any_data: bool = False) -> list[Pairing]:
    """Compares every run with the first one on the examples of a split that both were scored on.

    Raises:
        UsageError: they were scored on different examples; `any_data` allows it and compares the common examples.
        DamagedFile: a run's predictions cannot be read.
    """
    return [_pair(runs[0], run, split, any_data=any_data) for run in runs[1:]]


def _pair(first: RunFolder, other: RunFolder, split: str, *, any_data: bool) -> Pairing:
    titles = dict.fromkeys(split_title(run, split) for run in (first, other))
    empty = Pairing(first, other, 0, [], [], " or ".join(titles))
    missing = [not_scored(run, split) for run in (first, other) if not run.metrics(split)]
    if missing:
        return replace(empty, notes=missing)
    tasks = [run.experiment().task for run in (first, other)]
    if tasks[0] != tasks[1]:
        return replace(
            empty,
            notes=[f"{first.id} is {_task_text(tasks[0])}, {other.id} {_task_text(tasks[1])}: their scores cannot be compared"],
        )
    unstored = [run for run in (first, other) if not has_outcome(run, split)]
    if unstored:
        if not any_data and _fingerprint(first) != _fingerprint(other):
            raise UsageError(
                _refusal(first, other, f"their data differ, and {unstored[0].id} has no stored predictions", split)
            )
        if tasks[0].output.is_row:
            reason = f"`{command()} evaluate {unstored[0].id} --split {split}` writes them"
        else:
            reason = f"those of `task: {tasks[0]}` are not stored"
        return replace(empty, notes=[f"{unstored[0].id} has no stored predictions of its {split} split: {reason}"])
    ours, theirs = read_outcome(first, split), read_outcome(other, split)
    matched = match(ours, theirs)
    if matched.doubt and not any_data:
        raise UsageError(_refusal(first, other, matched.doubt, split))
    notes = [*([f"{matched.doubt}; {_tested_text(matched)}"] if matched.doubt else []), *matched.notes]
    notes += dict.fromkeys(filter(None, (split_note(run, split) for run in (first, other))))
    if not matched.doubt and _fingerprint(first) != _fingerprint(other):
        notes.append(f"their data or splits differ elsewhere; ids and labels of the {split} split are the same")
    if not len(matched.ours):
        return replace(empty, notes=notes)
    metrics = _metrics([first, other], matched)
    differences = [*(compare(metric, matched.ours, matched.theirs) for metric in metrics), *_losses(first, other, matched)]
    return replace(empty, examples=len(matched.ours), differences=differences, notes=notes)


def _losses(first: RunFolder, other: RunFolder, matched: Matched) -> list[Difference]:
    """Returns the difference of the losses; empty, with a note, where they cannot be compared."""
    losses = [dump(run.experiment().training.loss) for run in (first, other)]
    if losses[0] != losses[1]:
        matched.notes.append("their losses are not compared: they were trained with different loss functions")
        return []
    if matched.ours.classes != matched.theirs.classes or matched.ours.scores is None or matched.theirs.scores is None:
        return []
    unstored = [run.id for run, outcome in ((first, matched.ours), (other, matched.theirs)) if outcome.losses is None]
    if unstored:
        split = matched.ours.split
        remedy = f"`{command()} evaluate {unstored[0]} --split {split}` writes it"
        matched.notes.append(
            f"their losses are not compared: {unstored[0]} has no stored losses of the {split} examples; {remedy}"
        )
        return []
    return [compare_losses(matched.ours, matched.theirs)]


def _task_text(task: Task) -> str:
    return f"a {task} run"


def _fingerprint(run: RunFolder) -> Any:
    return run.data().get("fingerprint")


def _refusal(first: RunFolder, other: RunFolder, why: str, split: str) -> str:
    return (
        f"{first.id} and {other.id} were not scored on the same {split} examples: {why}; their scores are not"
        " comparable; --any-data shows them anyway and tests the examples that they share"
    )


def _tested_text(matched: Matched) -> str:
    return f"tested on the {len(matched.ours):,} common examples" if len(matched.ours) else "they are only shown side by side"


@dataclass(frozen=True)
class Matched:
    """Two outcomes of the same examples in the same order, with the same classes; `doubt` says what differed."""

    ours: Outcome
    theirs: Outcome
    doubt: str
    notes: list[str]


def match(ours: Outcome, theirs: Outcome) -> Matched:
    """Returns the common examples of two outcomes: those with the same id and the same label.

    Classes are matched by name. Where their names differ, only the predicted classes are compared.
    """
    notes = []
    if ours.classes != theirs.classes:
        theirs, note = _reordered(ours, theirs)
        notes.append(note)
        if set(ours.classes) != set(theirs.classes):
            if not ours.has_one_class:
                nothing = np.zeros(0, dtype="int64")
                return Matched(_select(ours, nothing), _select(theirs, nothing), note, [])
            ours, theirs = _by_name(ours, theirs)
    places = {example_id: place for place, example_id in enumerate(theirs.ids)}
    repeated = min(len(places) - len(theirs), len({*ours.ids}) - len(ours))
    pairs = np.array(
        [(place, places[example_id]) for place, example_id in enumerate(ours.ids) if example_id in places], dtype="int64"
    ).reshape(-1, 2)
    same = (
        (ours.truth[pairs[:, 0]] == theirs.truth[pairs[:, 1]])
        .reshape(len(pairs), int(np.prod(ours.truth.shape[1:])))
        .all(axis=1)
    )
    doubt = "ids are not unique, so examples cannot be matched" if repeated else _doubt(ours, theirs, same)
    # In different data whose ids are positions, some labels agree by chance.
    pairs = pairs[same] if not repeated and same.sum() >= (1 - RELABELLED) * len(pairs) else pairs[:0]
    return Matched(_select(ours, pairs[:, 0]), _select(theirs, pairs[:, 1]), doubt, notes)


def _doubt(ours: Outcome, theirs: Outcome, same: Array) -> str:
    """Returns why the examples may not be the same, or an empty text. `same`: for each common id, whether the labels agree."""
    common, relabelled = len(same), int(len(same) - same.sum())
    if not common:
        return f"none of {len(ours):,} and {len(theirs):,} examples is in both"
    reasons = []
    if common < max(len(ours), len(theirs)):
        reasons.append(f"of {len(ours):,} and {len(theirs):,} examples {common:,} have the same id")
    if relabelled:
        reasons.append(f"{relabelled:,} of {common:,} examples with the same id have different labels")
    return " and ".join(reasons)


def _reordered(ours: Outcome, theirs: Outcome) -> tuple[Outcome, str]:
    """Returns the second outcome with the first one's order of classes, labels or targets, if they are the same."""
    nouns = ours.task.output.nouns
    if set(ours.classes) != set(theirs.classes):
        only_theirs, only_ours = sorted({*theirs.classes} - {*ours.classes}), sorted({*ours.classes} - {*theirs.classes})
        descriptions = [
            f"only one of them has {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            for names in (only_ours, only_theirs)
            if names
        ]
        return theirs, f"their {nouns} differ: {'; '.join(descriptions)}"
    order = np.array([theirs.classes.index(name) for name in ours.classes])
    note = f"their {nouns} are in a different order and were matched by name"
    if not ours.has_one_class:
        assert theirs.scores is not None
        moved = replace(theirs, classes=ours.classes, truth=theirs.truth[:, order], scores=theirs.scores[:, order])
        return moved, note
    number = np.argsort(order)
    numbers = None if theirs.predicted_numbers is None else number[theirs.predicted_numbers]
    scores = None if theirs.scores is None else theirs.scores[:, order]
    return replace(theirs, classes=ours.classes, truth=number[theirs.truth], scores=scores, predicted_numbers=numbers), note


def _by_name(ours: Outcome, theirs: Outcome) -> tuple[Outcome, Outcome]:
    """Returns two outcomes of different classes, numbered in the union of their classes, without probabilities."""
    names = tuple(dict.fromkeys([*ours.classes, *theirs.classes]))
    number = np.array([names.index(name) for name in theirs.classes])
    moved = replace(theirs, classes=names, truth=number[theirs.truth], scores=None, predicted_numbers=number[theirs.predicted])
    return replace(ours, classes=names, scores=None, predicted_numbers=ours.predicted), moved


def _select(outcome: Outcome, places: Array) -> Outcome:
    scores = None if outcome.scores is None else outcome.scores[places]
    numbers = None if outcome.predicted_numbers is None else outcome.predicted_numbers[places]
    losses = None if outcome.losses is None else outcome.losses[places]
    return replace(
        outcome,
        ids=[outcome.ids[place] for place in places.tolist()],
        truth=outcome.truth[places],
        scores=scores,
        predicted_numbers=numbers,
        losses=losses,
        groups=None if outcome.groups is None else outcome.groups[places],
    )


def _metrics(runs: list[RunFolder], matched: Matched) -> list[MetricSpec]:
    """Returns every metric of the runs' specs once; without probabilities, only the accuracy."""
    metrics: dict[str, MetricSpec] = {metric.name: metric for run in runs for metric in run.experiment().training.metrics or []}
    if matched.ours.scores is None or matched.theirs.scores is None:
        matched.notes.append("without the probabilities of both runs, only the accuracy can be tested")
        return [Accuracy(kind="accuracy")]
    if matched.ours.has_one_class:
        metrics = {"accuracy": Accuracy(kind="accuracy")} | metrics
    if not metrics:
        matched.notes.append("their specs have no metric to test")
    return list(metrics.values())


def compare(metric: MetricSpec, ours: Outcome, theirs: Outcome) -> Difference:
    """Returns how a metric of the second outcome differs from the first one's, on the same examples."""
    is_accuracy = isinstance(metric, Accuracy) and ours.has_one_class
    are_stored = ours.scores is not None and theirs.scores is not None
    if is_accuracy and not (are_stored and ours.groups is not None):
        return _accuracies(metric.name, ours.predicted == ours.truth, theirs.predicted == theirs.truth)
    assert ours.scores is not None
    assert theirs.scores is not None
    higher = higher_is_better(metric.name, [metric])
    if np.array_equal(ours.scores, theirs.scores) or (is_accuracy and np.array_equal(ours.predicted, theirs.predicted)):
        value = metric.score(ours.truth, ours.scores, ours.task)
        return Difference(metric.name, value, value, (0.0, 0.0), "same", higher)
    estimates = [
        clustered(metric_estimate(metric, outcome.truth, outcome.scores, outcome.task), ours.groups)
        for outcome in (ours, theirs)
        if outcome.scores is not None
    ]
    return _difference(metric.name, *estimates, higher=higher)


def compare_losses(ours: Outcome, theirs: Outcome) -> Difference:
    """Returns how the mean loss of the second outcome differs from the first one's, on the same examples."""
    assert ours.losses is not None
    assert theirs.losses is not None
    is_counted = np.isfinite(ours.losses) & np.isfinite(theirs.losses)
    first, other = ours.losses[is_counted], theirs.losses[is_counted]
    if np.array_equal(first, other):
        value = float(first.mean()) if len(first) else float("nan")
        return Difference("loss", value, value, (0.0, 0.0), "same", False)
    groups = None if ours.groups is None else ours.groups[is_counted]
    estimates = [clustered(loss_estimate(losses), groups) for losses in (first, other)]
    return _difference("loss", *estimates, higher=False)


def _difference(name: str, first: Estimate, other: Estimate, *, higher: bool) -> Difference:
    interval, reason = difference_interval(first, other), first.reason or other.reason
    verdict = _verdict(interval, higher=higher)
    return Difference(name, first.value, other.value, interval, verdict, higher, no_interval="" if interval else reason)


def _accuracies(name: str, ours: Array, theirs: Array) -> Difference:
    """Returns the difference of two accuracies; `better` or `worse` only if both the interval and McNemar's test show it."""
    only_first, only_other = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    interval, p = accuracy_interval(only_first, only_other, len(ours)), mcnemar(only_first, only_other)
    verdict: Verdict = "same" if not only_first + only_other else "none shown"
    if p < SIGNIFICANT:
        verdict = _verdict(interval, higher=True)
    return Difference(name, float(ours.mean()), float(theirs.mean()), interval, verdict, True, p, only_first, only_other)


def _verdict(interval: tuple[float, float] | None, *, higher: bool) -> Verdict:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "none shown"
    return "better" if (interval[0] > 0) == higher else "worse"


def mcnemar(only_first: int, only_other: int) -> float:
    """Returns the two-sided p of McNemar's test for the examples that only one of two models has right.

    The exact test: under equal models each such example belongs to either model with probability 1/2 (McNemar 1947; the
    binomial form is in Fay 2010). It is exact for every count, so no approximation is needed.
    """
    from scipy.stats import binomtest

    return float(binomtest(only_first, only_first + only_other).pvalue) if only_first + only_other else 1.0


def accuracy_interval(only_first: int, only_other: int, examples: int) -> tuple[float, float]:
    """Returns the 95 % interval of the difference of two accuracies on the same examples, second minus first.

    The adjusted Wald interval of Bonett and Price (2012): one example is added to each of the two counts. With few
    discordant examples a bootstrap is overconfident: from counts of 4 and 0 it never draws an example of the second kind.
    """
    from scipy.stats import norm

    first, other = (only_first + 1) / (examples + 2), (only_other + 1) / (examples + 2)
    half = norm.ppf((1 + LEVEL) / 2) * np.sqrt((first + other - (other - first) ** 2) / (examples + 2))
    return max(-1.0, float(other - first - half)), min(1.0, float(other - first + half))


_SHARES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "top_", "hamming")
"""Prefixes of the names of metrics that are shares: their differences are shown in percentage points."""


def sentence(difference: Difference, first: str, other: str) -> str:
    """Returns a difference as a sentence; `first` and `other` are the names of the runs."""
    metric = difference.metric
    if not isfinite(difference.difference):
        return f"{metric} is not defined on these examples"
    if difference.verdict == "same":
        reason = "are correct on the same examples" if difference.p is not None else "give the same predictions"
        return f"no difference in {metric}: {first} and {other} {reason}"
    unit, points, of = (100, " points", "of") if metric.startswith(_SHARES) else (1, "", "in")
    higher, lower = (other, first) if difference.difference >= 0 else (first, other)
    by = f"{_figure_text(unit * abs(difference.difference))}{points}"
    test = "" if difference.p is None else f"; McNemar p {_p_text(difference.p)}"
    end = f"95 % interval {_range(difference.interval, unit if higher == other else -unit)}{test}"
    if difference.interval is None:
        end = f"no interval: {difference.no_interval}" if difference.no_interval else "no interval"
    if difference.verdict == "none shown":
        observation = f"{metric} of {higher} is higher by {by}" if difference.difference else f"{metric} is the same"
        return f"no significant difference: {observation}; {end}"
    if difference.higher_is_better:
        return f"{higher} is better by {by} {of} {metric}; {end}"
    return f"{lower} is better: its {metric} is lower by {by}; {end}"


def _range(interval: tuple[float, float] | None, unit: int) -> str:
    if interval is None:
        return ""
    low, high = sorted(unit * bound for bound in interval)
    return f"{_figure_text(low)} to {_figure_text(high)}"


def _figure_text(value: float) -> str:
    """Returns a difference with two significant figures, from 10 on with one decimal."""
    text = f"{value:.2g}" if abs(value) < 10 else f"{value:,.1f}"
    return "0" if float(text.replace(",", "")) == 0 else text


def _p_text(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"= {value:.2g}"
