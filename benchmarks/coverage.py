"""Measures how often dlcli's 95 % intervals contain the true score: python benchmarks/coverage.py [--samples 1000].

Each row of the table is a population whose true score is known (from a sample of at least 400,000 examples). Small test splits
are drawn from it repeatedly and each gets its interval. `coverage` is the share of intervals that contain the true score;
`below` and `above` are the shares of intervals that lie entirely below or above it. An interval of 95 % should contain it
95 times in 100. With 1,000 samples the share itself is off by at most 1.4 points 95 times in 100.

Needs no TensorFlow. Prints Markdown tables to stdout, as kept in docs/intervals.md.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from scipy.special import expit, softmax

from dlcli.runtime.estimates import of_values
from dlcli.score.intervals import difference_interval, mean_interval, metric_estimate, metric_interval
from dlcli.spec.training.metrics import Metric, MetricSpec
from dlcli.tasks import TASKS, Task

Array = np.ndarray[Any, Any]
Sampler = Callable[[np.random.Generator, int], tuple[Array, Array]]
"""(random, how many times the sizes of the scenario) -> labels and scores of as many examples."""
PairSampler = Callable[[np.random.Generator, int], tuple[Array, Array, Array]]
"""The same with the scores of two models."""
LARGE = 400_000


@dataclass(frozen=True)
class Population:
    """A kind of test split: its description, its task, its number of examples, and the function that draws examples."""

    words: str
    task: str
    examples: int
    sample: Sampler


@dataclass(frozen=True)
class Pair:
    """A test split with the scores of two models."""

    words: str
    task: str
    examples: int
    sample: PairSampler


@dataclass(frozen=True)
class Coverage:
    """Shares of the intervals of many samples that contain the true score, lie below it and above it, and their mean width.

    `none` is the share of samples without an interval; the other shares are of the samples with one.
    """

    truth: float
    held: float
    below: float
    above: float
    width: float
    none: float


def task_scores(task: Task, scores: Array) -> Array:
    """Returns the scores as dlcli has them: two columns for two classes."""
    return task.output.scores(scores[:, None]) if scores.ndim == 1 else scores


def metric(kind: str, **fields: Any) -> MetricSpec:
    """Returns a metric of the spec."""
    spec: MetricSpec = TypeAdapter(Metric).validate_python({"kind": kind, **fields})
    return spec


def two_classes(area: float, positives: int, negatives: int, spread: float = 1.0) -> Population:
    """Normal scores of two classes, the positives' `spread` times as wide, with a given area under the ROC curve."""
    shift = _shift(area, spread)

    def sample(random: np.random.Generator, times: int) -> tuple[Array, Array]:
        truth = np.repeat([1, 0], [positives * times, negatives * times])
        logits = random.normal(size=len(truth)) * np.where(truth == 1, spread, 1) + shift * truth
        return truth, expit(2 * logits - shift).astype("float32")

    wide = "" if spread == 1 else f", spread {spread:g}"
    words = f"{positives} positives, {negatives:,} negatives, AUC {area}{wide}"
    return Population(words, "binary", positives + negatives, sample)


def _shift(area: float, spread: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(area) * np.sqrt(1 + spread**2))


def many_classes(sizes: Sequence[int], signal: float) -> Population:
    """Softmax of normal logits, that of the right class higher by `signal`; `sizes` are the examples of each class."""
    counts = np.array(sizes)

    def sample(random: np.random.Generator, times: int) -> tuple[Array, Array]:
        truth = np.repeat(np.arange(len(counts)), counts * times)
        logits = random.normal(size=(len(truth), len(counts))) + signal * (np.arange(len(counts)) == truth[:, None])
        return truth, softmax(logits, axis=1).astype("float32")

    shown = f"{len(sizes)} classes of {sizes[0]}" if len(set(sizes)) == 1 else f"classes of {', '.join(map(str, sizes))}"
    return Population(f"{shown}, signal {signal:g}", "classification", int(counts.sum()), sample)


def many_labels(examples: int, positives: Sequence[int], signal: float) -> Population:
    """Labels that share half of the noise of an example; `positives` are the examples that have each label."""
    shares = np.array(positives) / examples

    def sample(random: np.random.Generator, times: int) -> tuple[Array, Array]:
        count = examples * times
        truth = np.stack([random.permutation(count) < round(share * count) for share in shares], axis=1)
        noise = np.sqrt(0.5) * (random.normal(size=(count, 1)) + random.normal(size=truth.shape))
        return truth.astype("float32"), expit(2 * noise + 2 * signal * (truth - 0.5)).astype("float32")

    words = f"{examples} examples, labels of {', '.join(map(str, positives))}, signal {signal:g}"
    return Population(words, "multilabel", examples, sample)


def values(examples: int, r2: float, errors: str = "normal", targets: int = 1) -> Population:
    """A regression with errors of a given distribution: `normal`, `heavy-tailed` or `proportional`.

    The targets are normal; for errors proportional to the target they are log-normal.
    """

    def sample(random: np.random.Generator, times: int) -> tuple[Array, Array]:
        shape = (examples * times, targets)
        noise = random.normal(size=shape) if errors != "heavy-tailed" else random.standard_t(4, shape) / np.sqrt(2)
        truth, noise = random.normal(size=shape), noise * np.sqrt(1 - r2)
        if errors == "proportional":
            truth = np.exp(truth)
            noise = noise * truth
        return truth.astype("float32"), (truth + noise).astype("float32")

    several = "" if targets == 1 else f", {targets} targets"
    described = "errors proportional to the target" if errors == "proportional" else f"{errors} errors"
    return Population(f"{examples} examples, R2 {r2:g}, {described}{several}", "regression", examples, sample)


def coverage(
    sample: Callable[[np.random.Generator], Any],
    interval: Callable[[Any], tuple[float, float] | None],
    truth: float,
    samples: int,
) -> Coverage:
    """Returns how the intervals of `samples` samples lie to the true score."""
    random = np.random.default_rng(2024)
    intervals = [interval(sample(random)) for _ in range(samples)]
    bounds = np.array([bound for bound in intervals if bound is not None], dtype="float64").reshape(-1, 2)
    if not len(bounds):
        return Coverage(truth, *[np.nan] * 4, 1.0)
    below, above = float((bounds[:, 1] < truth).mean()), float((bounds[:, 0] > truth).mean())
    width = float((bounds[:, 1] - bounds[:, 0]).mean())
    return Coverage(truth, 1 - below - above, below, above, width, 1 - len(bounds) / samples)


def _times(examples: int) -> int:
    return -(-LARGE // examples)


def of_metric(spec: MetricSpec, population: Population, samples: int) -> Coverage:
    """Returns the coverage of a metric's interval."""
    task = TASKS[population.task]
    truth, scores = population.sample(np.random.default_rng(7), _times(population.examples))
    return coverage(
        lambda random: population.sample(random, 1),
        lambda drawn: metric_interval(spec, drawn[0], task_scores(task, drawn[1]), task),
        spec.score(truth, task_scores(task, scores), task),
        samples,
    )


def log_losses(truth: Array, scores: Array) -> Array:
    """Returns the cross entropy of each example."""
    share = np.where(truth == 1, scores, 1 - scores) if scores.ndim == 1 else scores[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.maximum(share.astype("float64"), 1e-7)))


def of_loss(population: Population, samples: int) -> Coverage:
    """Returns the coverage of the interval of the mean cross entropy."""
    truth = float(log_losses(*population.sample(np.random.default_rng(7), _times(population.examples))).mean())
    return coverage(
        lambda random: log_losses(*population.sample(random, 1)), lambda losses: mean_interval(losses), truth, samples
    )


def two_models(population: Population, other: float) -> Pair:
    """A second model of a population whose logits are the first one's, scaled by `other`, with noise of its own.

    Of a regression its errors are `other` times the first one's, with noise of its own.
    """

    def sample(random: np.random.Generator, times: int) -> tuple[Array, Array, Array]:
        truth, scores = population.sample(random, times)
        if population.task == "regression":
            noise = random.normal(size=scores.shape) * 0.3 * (scores - truth).std()
            return truth, scores, (truth + other * (scores - truth) + noise).astype("float32")
        logits = np.log(np.maximum(scores, 1e-7)) - (0 if scores.ndim == 2 else np.log(np.maximum(1 - scores, 1e-7)))
        logits = other * logits + random.normal(size=scores.shape)
        return truth, scores, (softmax(logits, axis=1) if scores.ndim == 2 else expit(logits)).astype("float32")

    return Pair(f"{population.words}; second model {other:g}", population.task, population.examples, sample)


def of_pair(spec: MetricSpec | None, pair: Pair, samples: int) -> Coverage:
    """Returns the coverage of the interval of a difference, second model less first; `spec` None is the cross entropy."""
    task = TASKS[pair.task]
    truth, ours, theirs = pair.sample(np.random.default_rng(7), _times(pair.examples))
    if spec is None:
        difference = float((log_losses(truth, theirs) - log_losses(truth, ours)).mean())
    else:
        difference = spec.score(truth, task_scores(task, theirs), task) - spec.score(truth, task_scores(task, ours), task)

    def interval(drawn: tuple[Array, Array, Array]) -> tuple[float, float] | None:
        labels, first, other = drawn
        if spec is None:
            return difference_interval(*(of_values(log_losses(labels, scores)) for scores in (first, other)))
        return difference_interval(
            *(metric_estimate(spec, labels, task_scores(task, scores), task) for scores in (first, other))
        )

    return coverage(lambda random: pair.sample(random, 1), interval, difference, samples)


AREAS = (0.6, 0.8, 0.9, 0.97, 0.99)
COUNTS = ((2, 50), (3, 100), (5, 50), (10, 100), (10, 1000), (20, 2000), (30, 30), (100, 100), (100, 1000))


def areas(curve: str) -> Iterator[tuple[MetricSpec, Population]]:
    """Yields populations of two classes, from few positives to many, from poor to nearly perfect; then of several classes."""
    spec = metric("auc", curve=curve)
    for counts in COUNTS:
        for area in AREAS:
            yield spec, two_classes(area, *counts)
    for counts in ((5, 50), (10, 1000), (50, 50)):
        for spread in (0.5, 2.0):
            yield spec, two_classes(0.9, *counts, spread)
    for sizes, signal in (([5] * 4, 1.0), ([30] * 4, 1.0), ([30] * 4, 3.0), ([5] * 20, 2.0), ([4, 20, 100], 1.5)):
        yield spec, many_classes(sizes, signal)
    for examples, positives, signal in ((60, (5, 10, 20), 1.0), (60, (5, 10, 20), 2.5), (400, (20, 50, 200), 1.0)):
        yield spec, many_labels(examples, positives, signal)


def decisions() -> Iterator[tuple[MetricSpec, Population]]:
    """Yields every classification metric on populations of two classes, several classes and several labels."""
    two = [two_classes(0.8, 5, 50), two_classes(0.97, 5, 50), two_classes(0.9, 20, 80), two_classes(0.99, 50, 50)]
    many = [many_classes(sizes, signal) for sizes, signal in (([5] * 4, 2.0), ([20] * 5, 3.0), ([20] * 5, 5.0))]
    many += [many_classes([5] * 30, 4.0), many_classes([4, 20, 100], 3.0)]
    labels = [many_labels(40, (5, 10, 20), 1.0), many_labels(150, (20, 50, 100), 2.0)]
    for spec in (metric(kind) for kind in ("accuracy", "precision", "recall", "f1", "balanced_accuracy", "mcc", "kappa")):
        for population in [*two, *many]:
            yield spec, population
        if spec.fits(TASKS["multilabel"]):
            for population in labels:
                yield spec, population
    for kind in ("precision", "recall", "f1"):
        for average in ("micro", "weighted"):
            for population in (many[1], many[4], *labels):
                yield metric(kind, average=average), population
    for spec, populations in ((metric("hamming"), [two[2], many[1], *labels]), (metric("top_k", k=2), [many[0], many[1]])):
        for population in populations:
            yield spec, population


def errors() -> Iterator[tuple[MetricSpec, Population]]:
    """Yields every metric of a regression."""
    for kind in ("mae", "mse", "rmse", "r2", "mape"):
        for examples in (10, 20, 50, 200):
            for distribution in ("proportional",) if kind == "mape" else ("normal", "heavy-tailed"):
                yield metric(kind), values(examples, 0.5, distribution)
        if kind != "mape":
            yield metric(kind), values(50, 0.95)
            yield metric(kind), values(50, 0.7, "normal", 3)


def pairs() -> Iterator[tuple[MetricSpec | None, Pair]]:
    """Yields differences of two models."""
    two = [two_classes(0.9, 5, 50), two_classes(0.8, 30, 70), two_classes(0.97, 30, 70)]
    many = [many_classes([20] * 5, 3.0), many_classes([5] * 20, 4.0)]
    for population in (*two, *many):
        for other in (0.5, 1.0):
            pair = two_models(population, other)
            for kind in ("auc", "f1", "recall", "balanced_accuracy", "mcc", "kappa"):
                yield metric(kind), pair
            yield metric("auc", curve="pr"), pair
            yield None, pair
    for population in (values(20, 0.5), values(50, 0.5, "heavy-tailed"), values(200, 0.8)):
        for other in (1.0, 1.3):
            for kind in ("mae", "mse", "rmse", "r2"):
                yield metric(kind), two_models(population, other)


def table(title: str, rows: Iterator[tuple[str, str, Coverage]]) -> None:
    """Prints a table as its rows are measured."""
    print(f"\n### {title}\n\n| metric | test split | true | coverage | below | above | width | no interval |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for name, words, row in rows:
        shares = " | ".join("" if np.isnan(share) else f"{100 * share:.1f} %" for share in (row.held, row.below, row.above))
        width = "" if np.isnan(row.width) else f"{row.width:.3f}"
        print(f"| {name} | {words} | {row.truth:.3f} | {shares} | {width} | {100 * row.none:.0f} % |", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description="Measures how often 95 % intervals contain the true score.")
    parser.add_argument("--samples", type=int, default=1000, help="samples of each test split (default 1,000)")
    parser.add_argument("--only", default="", help="comma-separated names of tables")
    options = parser.parse_args(arguments)
    number = options.samples
    losses = [two_classes(0.8, 5, 50), two_classes(0.97, 10, 10), two_classes(0.9, 100, 100), many_classes([20] * 5, 3.0)]
    tables = {
        "auc": lambda: ((spec.name, part.words, of_metric(spec, part, number)) for spec, part in areas("roc")),
        "auc_pr": lambda: ((spec.name, part.words, of_metric(spec, part, number)) for spec, part in areas("pr")),
        "decisions": lambda: ((spec.name, part.words, of_metric(spec, part, number)) for spec, part in decisions()),
        "regression": lambda: ((spec.name, part.words, of_metric(spec, part, number)) for spec, part in errors()),
        "loss": lambda: (("loss", part.words, of_loss(part, number)) for part in losses),
        "compare": lambda: ((spec.name if spec else "loss", pair.words, of_pair(spec, pair, number)) for spec, pair in pairs()),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of classes that a sample lacks
        for name, rows in tables.items():
            if not options.only or name in options.only.split(","):
                table(name, rows())
    return 0


if __name__ == "__main__":
    sys.exit(main())
