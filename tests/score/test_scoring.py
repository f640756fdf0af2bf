"""Intervals, curves, thresholds, calibration, examples, residuals and slices, against scikit-learn and against known truths."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import special, stats
from sklearn import metrics as sklearn_metrics

from dlcli.report.evaluation import ThresholdRow
from dlcli.runs.contents import MetricsFile
from dlcli.score.calibration import brier, calibrated, calibration_error, claims, fit_temperature, reliability
from dlcli.score.curves import Threshold, curves, thresholds
from dlcli.score.examples import notable_examples
from dlcli.score.intervals import difference_interval, mean_interval, metric_estimate, metric_interval
from dlcli.score.outcome import Outcome
from dlcli.score.residuals import deciles
from dlcli.score.slices import slices
from dlcli.spec.training.metrics import Metric, MetricSpec
from dlcli.tasks import TASKS

Array = np.ndarray[Any, Any]


def metric(**fields: Any) -> MetricSpec:
    found: MetricSpec = TypeAdapter(Metric).validate_python(fields)
    return found


def yes_or_no(second: Array) -> Array:
    """Returns the scores of a binary task for probabilities of the second class `(n,)`."""
    return TASKS["binary"].output.scores(second[:, None])


def outcome(task: str, truth: Array, scores: Array) -> Outcome:
    if scores.ndim == 1:  # the probability of the second class
        scores = yes_or_no(scores.astype("float32"))
    names = ("no", "yes") if task == "binary" else tuple("abcdefghij"[: scores.shape[1]])
    return Outcome(TASKS[task], "test", [f"test/{at}" for at in range(len(truth))], names, truth, scores.astype("float32"))


def of_classes(seed: int = 0, examples: int = 300, classes: int = 4) -> Outcome:
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, examples)
    logits = random.normal(size=(examples, classes)) + 1.2 * (np.arange(classes) == truth[:, None])
    return outcome("classification", truth, special.softmax(logits, axis=1))


def of_yes_and_no(seed: int = 0, examples: int = 300) -> Outcome:
    random = np.random.default_rng(seed)
    logits = random.normal(-0.8, 1.6, examples)
    truth = (random.random(examples) < special.expit(logits)).astype("int64")
    return outcome("binary", truth, special.expit(logits).round(2))


def of_labels(seed: int = 0, examples: int = 120) -> Outcome:
    random = np.random.default_rng(seed)
    truth = (random.random((examples, 3)) < 0.4).astype("float32")
    return outcome("multilabel", truth, special.expit(random.normal(size=(examples, 3)) + 2 * truth - 1))


def of_numbers(seed: int = 0, examples: int = 120, targets: int = 2) -> Outcome:
    random = np.random.default_rng(seed)
    truth = random.normal(5, 2, (examples, targets)).astype("float32")
    return outcome("regression", truth, truth + random.normal(0, 1, truth.shape))


CLASS_METRICS = [
    {"kind": "accuracy"},
    {"kind": "top_k", "k": 2},
    *({"kind": kind, "average": average} for kind in ("precision", "recall", "f1") for average in ("macro", "weighted")),
    {"kind": "auc"},
    {"kind": "auc", "curve": "pr"},
    *({"kind": kind} for kind in ("balanced_accuracy", "mcc", "kappa", "hamming")),
]
YES_NO_METRICS = [
    {"kind": kind} for kind in ("accuracy", "precision", "recall", "f1", "auc", "balanced_accuracy", "mcc", "kappa")
]
LABEL_METRICS = [{"kind": kind} for kind in ("accuracy", "precision", "recall", "f1", "auc", "hamming")]
NUMBER_METRICS = [{"kind": kind} for kind in ("mae", "mse", "rmse", "mape", "r2")]


EVERY_METRIC = [
    *((of_classes(), fields) for fields in CLASS_METRICS),
    *((of_yes_and_no(), fields) for fields in [*YES_NO_METRICS, {"kind": "auc", "curve": "pr"}]),
    *((of_labels(), fields) for fields in LABEL_METRICS),
    *((of_numbers(), fields) for fields in NUMBER_METRICS),
]


@pytest.mark.parametrize(("found", "fields"), EVERY_METRIC)
def test_influences_tell_how_the_score_changes_without_an_example(found: Outcome, fields: dict[str, Any]) -> None:
    one, everyone = metric(**fields), np.arange(len(found))
    assert found.scores is not None
    estimate = one.estimate(found.truth, found.scores, found.task)
    value = one.score(found.truth, found.scores, found.task)
    assert estimate.value == pytest.approx(value, rel=1e-6)
    assert estimate.influence.mean() == pytest.approx(0, abs=0.01 * estimate.influence.std())
    left_out = [everyone != place for place in range(0, len(found), 3)]
    changes = [one.score(found.truth[rest], found.scores[rest], found.task) - value for rest in left_out]
    expected = -estimate.influence[::3] / (len(found) - 1)
    slope, _, correlation, *_ = stats.linregress(expected, changes)
    assert correlation > 0.99
    assert slope == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("found", "fields"), EVERY_METRIC)
def test_an_interval_is_around_the_score_and_as_wide_as_its_standard_error(found: Outcome, fields: dict[str, Any]) -> None:
    one = metric(**fields)
    assert found.scores is not None
    estimate = one.estimate(found.truth, found.scores, found.task)
    low, high = estimate.interval or (0, 0)
    assert low < estimate.value < high
    error = estimate.influence.std() / np.sqrt(len(found))
    assert 0.9 < (high - low) / (2 * 1.96 * error) < 1.6


@pytest.mark.parametrize("examples", [100, 400])
def test_intervals_of_accuracy_hold_the_truth_as_often_as_they_say(examples: int) -> None:
    """200 models whose accuracy is known because their answers are drawn with it."""
    random = np.random.default_rng(examples)
    held = 0
    for known in random.uniform(0.55, 0.99, 200):
        right = random.random(examples) < known
        truth = random.integers(0, 2, examples)
        scores = np.where(right, truth, 1 - truth).astype("float32")
        low, high = metric_interval(metric(kind="accuracy"), truth, yes_or_no(scores), TASKS["binary"]) or (0, 0)
        held += low <= known <= high
    assert 0.92 <= held / 200 <= 0.98


def test_intervals_of_a_mean_error_and_of_an_area_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(5)
    errors = areas = 0
    known_error, known_area = np.sqrt(2 / np.pi), float(stats.norm.cdf(1 / np.sqrt(2)))
    for _ in range(200):
        truth = random.normal(size=(150, 1)).astype("float32")
        guess = (truth + random.normal(size=truth.shape)).astype("float32")
        low, high = metric_interval(metric(kind="mae"), truth, guess, TASKS["regression"]) or (0, 0)
        errors += low <= known_error <= high
        labels = np.repeat([0, 1], 75)
        scores = special.expit(random.normal(size=150) + labels).astype("float32")
        low, high = metric_interval(metric(kind="auc"), labels, yes_or_no(scores), TASKS["binary"]) or (0, 0)
        areas += low <= known_area <= high
    assert 0.92 <= errors / 200 <= 0.98
    assert 0.92 <= areas / 200 <= 0.98


def test_the_interval_of_a_share_is_wilsons() -> None:
    truth, scores = np.ones(360, dtype="int64"), np.ones(360, dtype="float32")
    found = metric_interval(metric(kind="accuracy"), truth, yes_or_no(scores), TASKS["binary"])
    expected = stats.binomtest(360, 360).proportion_ci(0.95, method="wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
    scores[:50] = 0
    expected = stats.binomtest(310, 360).proportion_ci(0.95, method="wilson")
    assert metric_interval(metric(kind="accuracy"), truth, yes_or_no(scores), TASKS["binary"]) == pytest.approx(
        (expected.low, expected.high)
    )


def test_one_example_has_no_interval() -> None:
    assert mean_interval(np.array([1.0])) is None
    assert metric_interval(metric(kind="accuracy"), np.array([1]), np.array([[0.1, 0.9]]), TASKS["binary"]) is None


@pytest.mark.parametrize(
    ("area", "positives", "negatives", "spread"),
    [(0.6, 2, 50, 1), (0.9, 2, 50, 1), (0.8, 3, 100, 1), (0.9, 5, 50, 2), (0.97, 10, 100, 1), (0.9, 100, 1000, 1)],
)
def test_intervals_of_an_area_hold_the_truth_with_few_positives(
    area: float, positives: int, negatives: int, spread: float
) -> None:
    """Normal scores, of which the area under the ROC curve is known."""
    random = np.random.default_rng(positives)
    shift, held = stats.norm.ppf(area) * np.sqrt(1 + spread**2), 0
    truth = np.repeat([1, 0], [positives, negatives])
    for _ in range(300):
        scores = random.normal(size=len(truth)) * np.where(truth == 1, spread, 1) + shift * truth
        low, high = metric_interval(metric(kind="auc"), truth, yes_or_no(special.expit(scores)), TASKS["binary"]) or (0, 0)
        held += low <= area <= high
    assert held / 300 >= 0.92


def test_a_perfect_area_has_an_interval_as_a_perfect_share_has() -> None:
    truth, scores = np.array([0] * 50 + [1] * 5), np.arange(55) / 55
    low, high = metric_interval(metric(kind="auc"), truth, yes_or_no(scores), TASKS["binary"]) or (0, 0)
    assert high == 1
    assert 0.7 < low < 0.9


def test_few_positives_give_no_interval_of_the_average_precision_and_the_reason() -> None:
    truth, scores = np.array([0] * 50 + [1] * 7), np.arange(57) / 57
    found = metric_estimate(metric(kind="auc", curve="pr"), truth, yes_or_no(scores), TASKS["binary"])
    assert (found.interval, found.reason) == (None, "7 positive examples; an interval needs 20")
    truth = np.array([0] * 50 + [1] * 20)
    assert metric_interval(metric(kind="auc", curve="pr"), truth, yes_or_no(np.arange(70) / 70), TASKS["binary"]) is not None


def test_few_values_give_no_interval_and_the_reason() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=(15, 1))
    errors, squares = (metric_estimate(metric(kind=kind), truth, truth * 0.9, TASKS["regression"]) for kind in ("mae", "r2"))
    assert errors.interval is not None
    assert (squares.interval, squares.reason) == (None, "fewer than 20 examples")


def test_losses_with_a_long_tail_have_an_interval_that_reaches_up() -> None:
    """Of 300 means of 40 log-normal losses; the percentile bootstrap holds the true one 87 times in 100."""
    random, held = np.random.default_rng(8), 0
    for _ in range(300):
        losses = np.exp(random.normal(size=40))
        low, high = mean_interval(losses) or (0, 0)
        held += low <= np.exp(0.5) <= high
        assert high - losses.mean() > losses.mean() - low
    assert held / 300 >= 0.92


def test_the_interval_of_a_difference_uses_that_both_models_err_together() -> None:
    found = of_classes(examples=400)
    assert found.scores is not None
    near = special.softmax(np.log(found.scores) + np.random.default_rng(1).normal(0, 0.1, found.scores.shape), axis=1)
    for one in (metric(**fields) for fields in CLASS_METRICS):
        ours, theirs = (metric_estimate(one, found.truth, scores, found.task) for scores in (found.scores, near))
        low, high = difference_interval(ours, theirs) or (0, 0)
        alone = (ours.interval or (0, 0))[1] - (ours.interval or (0, 0))[0]
        assert low <= theirs.value - ours.value <= high
        assert high - low < 0.75 * alone, one.name


def test_a_perfect_model_with_one_example_a_class_is_not_certain() -> None:
    truth = np.arange(120)
    scores = np.eye(120, dtype="float32") * 0.5 + 0.5 / 120
    f1 = metric(kind="f1")
    assert f1.score(truth, scores, TASKS["classification"]) == 1.0
    low, high = metric_interval(f1, truth, scores, TASKS["classification"]) or (0, 0)
    assert high == 1
    assert 0.95 < low < 0.99


def test_intervals_of_macro_recall_over_many_small_classes_hold_the_truth() -> None:
    random = np.random.default_rng(11)
    held = 0
    for _ in range(60):
        truth = np.repeat(np.arange(30), 5)
        right = random.random(len(truth)) < 0.85
        guess = np.where(right, truth, (truth + 1) % 30)
        scores = np.eye(30, dtype="float32")[guess]
        low, high = metric_interval(metric(kind="recall"), truth, scores, TASKS["classification"]) or (0, 0)
        held += low <= 0.85 <= high
    assert held >= 54


def test_classes_that_are_neither_there_nor_predicted_do_not_count() -> None:
    truth = np.zeros(6, dtype="int64")
    scores = np.tile(np.array([0.9, 0.05, 0.05], dtype="float32"), (6, 1))
    assert metric(kind="f1").score(truth, scores, TASKS["classification"]) == 1.0


def test_ties_in_top_k_are_broken_as_scikit_learn_does_and_no_number_is_wrong() -> None:
    random = np.random.default_rng(2)
    truth = random.integers(0, 6, 200)
    scores = random.integers(0, 3, (200, 6)).astype("float32")
    for k in (1, 2, 5):
        expected = sklearn_metrics.top_k_accuracy_score(truth, scores, k=k, labels=range(6))
        assert metric(kind="top_k", k=k).score(truth, scores, TASKS["classification"]) == pytest.approx(expected)
    nothing = np.full((200, 6), np.nan, dtype="float32")
    assert metric(kind="top_k", k=5).score(truth, nothing, TASKS["classification"]) == 0.0


def test_the_mean_interval_of_many_values_is_scipys_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(size=200)
    low, high = mean_interval(values) or (0, 0)
    expected = stats.bootstrap((values,), np.mean, n_resamples=5000, method="BCa", rng=1).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.02)


@pytest.mark.parametrize("found", [of_classes(), of_yes_and_no(), of_labels()])
def test_curves_and_areas_are_scikit_learns(found: Outcome) -> None:
    roc, pr = curves(found)
    assert found.scores is not None
    assert len(roc) == len(pr) == (1 if found.task.name == "binary" else found.scores.shape[1])
    for at, (one, two) in enumerate(zip(roc, pr, strict=True)):
        scores = found.scores[:, 1 if found.task.name == "binary" else at]
        members = (
            found.truth == (1 if found.task.name == "binary" else at) if found.truth.ndim == 1 else found.truth[:, at] == 1
        )
        assert one.area == pytest.approx(sklearn_metrics.roc_auc_score(members, scores), abs=1e-9)
        assert two.area == pytest.approx(sklearn_metrics.average_precision_score(members, scores), abs=1e-9)
        x, y, cuts = sklearn_metrics.roc_curve(members, scores, drop_intermediate=False)
        assert (one.x, one.y) == (pytest.approx(x), pytest.approx(y))
        assert one.thresholds[1:] == pytest.approx(cuts[1:])
        precision, recall, _ = sklearn_metrics.precision_recall_curve(members, scores)
        assert two.y == pytest.approx(precision[::-1][: len(two.y)])
        assert two.x == pytest.approx(recall[::-1][: len(two.x)])


def test_a_class_without_others_has_no_curve() -> None:
    roc, pr = curves(outcome("binary", np.ones(5, dtype="int64"), np.linspace(0, 1, 5)))
    assert not roc
    assert not pr


def test_the_best_thresholds_are_the_best_of_all() -> None:
    found = of_yes_and_no()
    assert found.scores is not None
    rows = {row.best_by: row for row in thresholds(found, (1.0, 5.0))}
    yes = found.truth == 1
    for way, row in rows.items():
        guess = found.scores[:, 1] > row.threshold
        assert row.f1 == pytest.approx(sklearn_metrics.f1_score(yes, guess)), way
        assert row.precision == pytest.approx(sklearn_metrics.precision_score(yes, guess))
        assert row.recall == pytest.approx(sklearn_metrics.recall_score(yes, guess))
        assert row.cost == pytest.approx((guess & ~yes).sum() + 5 * (~guess & yes).sum())
    everywhere = np.linspace(-0.01, 1.01, 2000)
    assert rows["f1"].f1 == pytest.approx(max(sklearn_metrics.f1_score(yes, found.scores[:, 1] > cut) for cut in everywhere))
    costs = [((found.scores[:, 1] > cut) & ~yes).sum() + 5 * ((found.scores[:, 1] <= cut) & yes).sum() for cut in everywhere]
    assert rows["cost"].cost == min(costs)
    assert rows["default"].threshold == 0.5
    assert {row.best_by for row in thresholds(found)} == {"default", "f1"}


def test_a_threshold_has_the_same_fields_where_it_is_computed_stored_and_read() -> None:
    """Three classes, since JSON holds None for what is not finite, and CSV holds text."""
    stored = get_args(get_args(MetricsFile.model_fields["thresholds"].annotation)[0])[0]
    assert (
        [field.name for field in dataclasses.fields(Threshold)] == list(stored.model_fields) == list(ThresholdRow.model_fields)
    )


@pytest.mark.parametrize("found", [of_classes(), of_yes_and_no()])
def test_the_brier_score_is_scikit_learns(found: Outcome) -> None:
    assert found.scores is not None
    shares = found.scores.astype("float64")
    shares = shares if shares.ndim == 1 else shares / shares.sum(axis=1, keepdims=True)  # scikit-learn warns of a float32's sum
    expected = sklearn_metrics.brier_score_loss(found.truth, shares, labels=np.unique(found.truth))
    assert brier(found) == pytest.approx(expected, abs=1e-6)


def test_the_calibration_error_of_what_is_claimed_rightly_is_small_and_of_what_is_not_is_its_gap() -> None:
    random = np.random.default_rng(3)
    claimed = random.uniform(0, 1, 200_000)
    fair = random.random(len(claimed)) < claimed
    assert calibration_error(reliability(claimed, fair)) < 0.01
    bins = reliability(np.full(1000, 0.9), np.arange(1000) < 600)
    assert calibration_error(bins) == pytest.approx(0.3)
    assert [one.examples for one in bins] == [1000]
    assert (bins[0].low, bins[0].high) == pytest.approx((13 / 15, 14 / 15))


def test_bins_take_the_ends_zero_and_one() -> None:
    assert [one.examples for one in reliability(np.array([0.0, 1.0]), np.array([False, True]))] == [1, 1]


@pytest.mark.parametrize("found", [of_classes(examples=4000), of_yes_and_no(examples=4000), of_labels(examples=4000)])
def test_the_temperature_that_spoiled_a_calibration_is_found_and_changes_no_prediction(found: Outcome) -> None:
    assert found.scores is not None
    fair = calibrated(found.scores, fit_temperature(found), found.task)
    spoiled = Outcome(**{**vars(found), "scores": calibrated(fair, 1 / 3, found.task)})
    temperature = fit_temperature(spoiled)
    assert temperature == pytest.approx(3, rel=0.03)
    assert spoiled.scores is not None
    mended = Outcome(**{**vars(found), "scores": calibrated(spoiled.scores, temperature, found.task)})
    assert calibration_error(reliability(*claims(mended))) < calibration_error(reliability(*claims(spoiled))) / 2
    assert (mended.predicted == spoiled.predicted).all()


def test_certain_predictions_survive_the_temperature() -> None:
    scores = np.array([[1.0, 0.0], [0.0, 1.0]], dtype="float32")
    assert np.isfinite(calibrated(scores, 2.0, TASKS["classification"])).all()
    assert np.isfinite(calibrated(scores, 2.0, TASKS["binary"])).all()


def test_examples_are_the_surest_errors_and_the_narrowest_choices() -> None:
    found = of_classes(examples=400)
    shown = notable_examples(found)
    errors = [one for one in shown if one.kind == "confident_error"]
    wrong = np.flatnonzero(found.predicted != found.truth)
    sure = found.scores.max(axis=1)
    assert [one.place for one in errors] == sorted(wrong, key=lambda at: -sure[at])[:24]
    assert all(one.label != one.predicted for one in shown if one.kind in ("confusion", "confident_error"))
    uncertain = [one.place for one in shown if one.kind == "uncertain"]
    two = np.sort(found.scores, axis=1)[:, -2:]
    assert uncertain[0] == int((two[:, 1] - two[:, 0]).argmin())
    pairs = [(one.label, one.predicted) for one in shown if one.kind == "confusion"]
    assert max(pairs.count(pair) for pair in set(pairs)) <= 5


def test_a_model_without_errors_has_none_to_show() -> None:
    truth = np.array([0, 1, 0])
    kinds = {one.kind for one in notable_examples(outcome("binary", truth, truth * 0.8 + 0.1))}
    assert kinds == {"uncertain"}


def test_the_largest_errors_of_a_regression_come_first() -> None:
    found = of_numbers(targets=1)
    assert found.scores is not None
    shown = notable_examples(found)
    assert shown[0].kind == "largest_error"
    assert shown[0].place == int(np.abs(found.scores - found.truth)[:, 0].argmax())


def test_deciles_hold_every_example_once_and_their_errors_are_those_of_the_whole() -> None:
    found = of_numbers(examples=105)
    assert found.scores is not None
    for at, name in enumerate(found.classes):
        rows = [row for row in deciles(found) if row.target == name]
        assert len(rows) == 10
        assert sum(row.examples for row in rows) == 105
        assert all(before.high <= after.low for before, after in pairwise(rows))
        mae = sum(row.mae * row.examples for row in rows) / 105
        assert mae == pytest.approx(float(np.abs(found.scores - found.truth)[:, at].mean()), rel=1e-5)
    assert len(deciles(of_numbers(examples=4, targets=1))) == 4


def test_slices_are_scored_on_their_own_examples() -> None:
    found = of_classes(examples=200)
    assert found.scores is not None
    side = ["left" if at % 3 else "right" for at in range(200)]
    rows = slices(found, {"side": side}, [metric(kind="accuracy")])
    right = np.array(side) == "right"
    expected = float((found.predicted == found.truth)[right].mean())
    assert {row.value: row.examples for row in rows} == {"left": 133, "right": 67}
    assert next(row.score for row in rows if row.value == "right") == pytest.approx(expected)


def test_slices_of_many_numbers_are_quarters_and_of_many_texts_the_most_common() -> None:
    found = of_classes(examples=200)
    ages = [str(at) for at in range(199)] + [""]
    rows = slices(found, {"age": ages}, [metric(kind="accuracy")])
    assert [row.value for row in rows] == ["0 to 49.5", "49.5 to 99", "99 to 148.5", "148.5 to 198", "(none)"]
    assert sum(row.examples for row in rows) == 200
    days = [str(20240101 + at % 30) for at in range(200)]
    assert len({row.value for row in slices(found, {"day": days}, [metric(kind="accuracy")])}) == 4
    names = [f"name{at % 40 if at > 100 else 0}" for at in range(200)]
    values = {row.value for row in slices(found, {"name": names}, [metric(kind="accuracy")])}
    assert len(values) == 21
    assert {"name0", "(others)"} <= values
