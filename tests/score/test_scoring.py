"""Intervals, curves, thresholds, calibration, examples, residuals and slices, against scikit-learn and known true values."""

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
from dlcli.score.details import notable_examples
from dlcli.score.intervals import difference_interval, mean_interval, metric_estimate, metric_interval
from dlcli.score.outcome import Outcome
from dlcli.score.residuals import deciles
from dlcli.score.slices import slices
from dlcli.spec.training.metrics import Metric, MetricSpec
from dlcli.tasks import TASKS

Array = np.ndarray[Any, Any]


def metric(**fields: Any) -> MetricSpec:
    metric_spec: MetricSpec = TypeAdapter(Metric).validate_python(fields)
    return metric_spec


def binary_scores(second: Array) -> Array:
    """Returns the scores of a binary task for probabilities of the second class `(n,)`."""
    return TASKS["binary"].output.scores(second[:, None])


def outcome(task: str, truth: Array, scores: Array) -> Outcome:
    if scores.ndim == 1:  # the probability of the second class
        scores = binary_scores(scores.astype("float32"))
    names = ("no", "yes") if task == "binary" else tuple("abcdefghij"[: scores.shape[1]])
    return Outcome(TASKS[task], "test", [f"test/{at}" for at in range(len(truth))], names, truth, scores.astype("float32"))


def of_classes(seed: int = 0, examples: int = 300, classes: int = 4) -> Outcome:
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, examples)
    logits = random.normal(size=(examples, classes)) + 1.2 * (np.arange(classes) == truth[:, None])
    return outcome("classification", truth, special.softmax(logits, axis=1))


def of_binary(seed: int = 0, examples: int = 300) -> Outcome:
    random = np.random.default_rng(seed)
    logits = random.normal(-0.8, 1.6, examples)
    truth = (random.random(examples) < special.expit(logits)).astype("int64")
    return outcome("binary", truth, special.expit(logits).round(2))


def of_labels(seed: int = 0, examples: int = 120) -> Outcome:
    random = np.random.default_rng(seed)
    truth = (random.random((examples, 3)) < 0.4).astype("float32")
    return outcome("multilabel", truth, special.expit(random.normal(size=(examples, 3)) + 2 * truth - 1))


def of_values(seed: int = 0, examples: int = 120, targets: int = 2) -> Outcome:
    random = np.random.default_rng(seed)
    truth = random.normal(5, 2, (examples, targets)).astype("float32")
    return outcome("regression", truth, truth + random.normal(0, 1, truth.shape))


CLASS_METRICS = [
    {"kind": "accuracy"},
    {"kind": "top_k", "k": 2},
    *({"kind": kind, "average": average} for kind in ("precision", "recall", "f1") for average in ("macro", "weighted")),
    {"kind": "auc"},
    {"kind": "auc", "curve": "pr"},
    *({"kind": kind} for kind in ("balanced_accuracy", "macro_f1", "mcc", "kappa", "hamming")),
]
BINARY_METRICS = [
    {"kind": kind} for kind in ("accuracy", "precision", "recall", "f1", "auc", "balanced_accuracy", "macro_f1", "mcc", "kappa")
]
LABEL_METRICS = [{"kind": kind} for kind in ("accuracy", "precision", "recall", "f1", "auc", "hamming")]
VALUE_METRICS = [{"kind": kind} for kind in ("mae", "mse", "rmse", "mape", "r2")]


EVERY_METRIC = [
    *((of_classes(), fields) for fields in CLASS_METRICS),
    *((of_binary(), fields) for fields in [*BINARY_METRICS, {"kind": "auc", "curve": "pr"}]),
    *((of_labels(), fields) for fields in LABEL_METRICS),
    *((of_values(), fields) for fields in VALUE_METRICS),
]


@pytest.mark.parametrize(("predictions", "fields"), EVERY_METRIC)
def test_influences_predict_how_the_score_changes_without_an_example(predictions: Outcome, fields: dict[str, Any]) -> None:
    metric_spec, places = metric(**fields), np.arange(len(predictions))
    assert predictions.scores is not None
    estimate = metric_spec.estimate(predictions.truth, predictions.scores, predictions.task)
    value = metric_spec.score(predictions.truth, predictions.scores, predictions.task)
    assert estimate.value == pytest.approx(value, rel=1e-6)
    assert estimate.influence.mean() == pytest.approx(0, abs=0.01 * estimate.influence.std())
    selections = [places != place for place in range(0, len(predictions), 3)]
    changes = [
        metric_spec.score(predictions.truth[selection], predictions.scores[selection], predictions.task) - value
        for selection in selections
    ]
    expected = -estimate.influence[::3] / (len(predictions) - 1)
    slope, _, correlation, *_ = stats.linregress(expected, changes)
    assert correlation > 0.99
    assert slope == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("predictions", "fields"), EVERY_METRIC)
def test_an_interval_contains_the_score_and_follows_its_standard_error(predictions: Outcome, fields: dict[str, Any]) -> None:
    metric_spec = metric(**fields)
    assert predictions.scores is not None
    estimate = metric_spec.estimate(predictions.truth, predictions.scores, predictions.task)
    low, high = estimate.interval or (0, 0)
    assert low < estimate.value < high
    error = estimate.influence.std() / np.sqrt(len(predictions))
    assert 0.9 < (high - low) / (2 * 1.96 * error) < 1.6


@pytest.mark.parametrize("examples", [100, 400])
def test_intervals_of_accuracy_have_their_nominal_coverage(examples: int) -> None:
    """200 models with a known accuracy: their answers are correct with that probability."""
    random = np.random.default_rng(examples)
    covered = 0
    for accuracy in random.uniform(0.55, 0.99, 200):
        is_correct = random.random(examples) < accuracy
        truth = random.integers(0, 2, examples)
        scores = np.where(is_correct, truth, 1 - truth).astype("float32")
        low, high = metric_interval(metric(kind="accuracy"), truth, binary_scores(scores), TASKS["binary"]) or (0, 0)
        covered += low <= accuracy <= high
    assert 0.92 <= covered / 200 <= 0.98


def test_intervals_of_mean_error_and_area_have_their_nominal_coverage() -> None:
    random = np.random.default_rng(5)
    errors = areas = 0
    known_error, known_area = np.sqrt(2 / np.pi), float(stats.norm.cdf(1 / np.sqrt(2)))
    for _ in range(200):
        truth = random.normal(size=(150, 1)).astype("float32")
        predicted = (truth + random.normal(size=truth.shape)).astype("float32")
        low, high = metric_interval(metric(kind="mae"), truth, predicted, TASKS["regression"]) or (0, 0)
        errors += low <= known_error <= high
        labels = np.repeat([0, 1], 75)
        scores = special.expit(random.normal(size=150) + labels).astype("float32")
        low, high = metric_interval(metric(kind="auc"), labels, binary_scores(scores), TASKS["binary"]) or (0, 0)
        areas += low <= known_area <= high
    assert 0.92 <= errors / 200 <= 0.98
    assert 0.92 <= areas / 200 <= 0.98


def test_the_interval_of_a_share_is_wilsons_interval() -> None:
    truth, scores = np.ones(360, dtype="int64"), np.ones(360, dtype="float32")
    interval = metric_interval(metric(kind="accuracy"), truth, binary_scores(scores), TASKS["binary"])
    expected = stats.binomtest(360, 360).proportion_ci(0.95, method="wilson")
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-12)
    scores[:50] = 0
    expected = stats.binomtest(310, 360).proportion_ci(0.95, method="wilson")
    assert metric_interval(metric(kind="accuracy"), truth, binary_scores(scores), TASKS["binary"]) == pytest.approx(
        (expected.low, expected.high)
    )


def test_one_example_has_no_interval() -> None:
    assert mean_interval(np.array([1.0])) is None
    assert metric_interval(metric(kind="accuracy"), np.array([1]), np.array([[0.1, 0.9]]), TASKS["binary"]) is None


@pytest.mark.parametrize(
    ("area", "positives", "negatives", "spread"),
    [(0.6, 2, 50, 1), (0.9, 2, 50, 1), (0.8, 3, 100, 1), (0.9, 5, 50, 2), (0.97, 10, 100, 1), (0.9, 100, 1000, 1)],
)
def test_intervals_of_an_area_cover_the_true_area_with_few_positives(
    area: float, positives: int, negatives: int, spread: float
) -> None:
    """Normal scores, of which the area under the ROC curve is known."""
    random = np.random.default_rng(positives)
    shift, covered = stats.norm.ppf(area) * np.sqrt(1 + spread**2), 0
    truth = np.repeat([1, 0], [positives, negatives])
    for _ in range(300):
        scores = random.normal(size=len(truth)) * np.where(truth == 1, spread, 1) + shift * truth
        low, high = metric_interval(metric(kind="auc"), truth, binary_scores(special.expit(scores)), TASKS["binary"]) or (0, 0)
        covered += low <= area <= high
    assert covered / 300 >= 0.92


def test_a_perfect_area_has_an_interval_below_one() -> None:
    truth, scores = np.array([0] * 50 + [1] * 5), np.arange(55) / 55
    low, high = metric_interval(metric(kind="auc"), truth, binary_scores(scores), TASKS["binary"]) or (0, 0)
    assert high == 1
    assert 0.7 < low < 0.9


def test_few_positives_give_a_reason_in_place_of_an_interval_of_the_average_precision() -> None:
    truth, scores = np.array([0] * 50 + [1] * 7), np.arange(57) / 57
    estimate = metric_estimate(metric(kind="auc", curve="pr"), truth, binary_scores(scores), TASKS["binary"])
    assert (estimate.interval, estimate.reason) == (None, "7 positive examples; an interval needs 20")
    truth = np.array([0] * 50 + [1] * 20)
    assert (
        metric_interval(metric(kind="auc", curve="pr"), truth, binary_scores(np.arange(70) / 70), TASKS["binary"]) is not None
    )


def test_few_values_give_a_reason_in_place_of_an_interval() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=(15, 1))
    errors, squares = (metric_estimate(metric(kind=kind), truth, truth * 0.9, TASKS["regression"]) for kind in ("mae", "r2"))
    assert errors.interval is not None
    assert (squares.interval, squares.reason) == (None, "fewer than 20 examples")


def test_losses_with_a_long_tail_have_an_asymmetric_interval() -> None:
    """300 means of 40 log-normal losses; the percentile bootstrap covers the true mean in 87 % of the cases."""
    random, covered = np.random.default_rng(8), 0
    for _ in range(300):
        losses = np.exp(random.normal(size=40))
        low, high = mean_interval(losses) or (0, 0)
        covered += low <= np.exp(0.5) <= high
        assert high - losses.mean() > losses.mean() - low
    assert covered / 300 >= 0.92


def test_the_interval_of_a_difference_uses_the_correlation_of_the_models() -> None:
    predictions = of_classes(examples=400)
    assert predictions.scores is not None
    similar_scores = special.softmax(
        np.log(predictions.scores) + np.random.default_rng(1).normal(0, 0.1, predictions.scores.shape), axis=1
    )
    for metric_spec in (metric(**fields) for fields in CLASS_METRICS):
        ours, theirs = (
            metric_estimate(metric_spec, predictions.truth, scores, predictions.task)
            for scores in (predictions.scores, similar_scores)
        )
        low, high = difference_interval(ours, theirs) or (0, 0)
        width = (ours.interval or (0, 0))[1] - (ours.interval or (0, 0))[0]
        assert low <= theirs.value - ours.value <= high
        assert high - low < 0.75 * width, metric_spec.name


def test_a_perfect_score_with_one_example_per_class_has_an_interval_below_one() -> None:
    truth = np.arange(120)
    scores = np.eye(120, dtype="float32") * 0.5 + 0.5 / 120
    f1 = metric(kind="f1")
    assert f1.score(truth, scores, TASKS["classification"]) == 1.0
    low, high = metric_interval(f1, truth, scores, TASKS["classification"]) or (0, 0)
    assert high == 1
    assert 0.95 < low < 0.99


def test_intervals_of_macro_recall_over_many_small_classes_cover_the_true_recall() -> None:
    random = np.random.default_rng(11)
    covered = 0
    for _ in range(60):
        truth = np.repeat(np.arange(30), 5)
        is_correct = random.random(len(truth)) < 0.85
        predicted = np.where(is_correct, truth, (truth + 1) % 30)
        scores = np.eye(30, dtype="float32")[predicted]
        low, high = metric_interval(metric(kind="recall"), truth, scores, TASKS["classification"]) or (0, 0)
        covered += low <= 0.85 <= high
    assert covered >= 54


def test_classes_without_labels_and_predictions_do_not_count() -> None:
    truth = np.zeros(6, dtype="int64")
    scores = np.tile(np.array([0.9, 0.05, 0.05], dtype="float32"), (6, 1))
    assert metric(kind="f1").score(truth, scores, TASKS["classification"]) == 1.0


def test_top_k_breaks_ties_like_scikit_learn_and_counts_nan_as_wrong() -> None:
    random = np.random.default_rng(2)
    truth = random.integers(0, 6, 200)
    scores = random.integers(0, 3, (200, 6)).astype("float32")
    for k in (1, 2, 5):
        expected = sklearn_metrics.top_k_accuracy_score(truth, scores, k=k, labels=range(6))
        assert metric(kind="top_k", k=k).score(truth, scores, TASKS["classification"]) == pytest.approx(expected)
    nothing = np.full((200, 6), np.nan, dtype="float32")
    assert metric(kind="top_k", k=5).score(truth, nothing, TASKS["classification"]) == 0.0


def test_the_interval_of_a_mean_of_many_values_agrees_with_scipys_bootstrap() -> None:
    values = np.random.default_rng(1).exponential(size=200)
    low, high = mean_interval(values) or (0, 0)
    expected = stats.bootstrap((values,), np.mean, n_resamples=5000, method="BCa", rng=1).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.02)


@pytest.mark.parametrize("predictions", [of_classes(), of_binary(), of_labels()])
def test_curves_and_areas_equal_scikit_learns(predictions: Outcome) -> None:
    roc, pr = curves(predictions)
    assert predictions.scores is not None
    assert len(roc) == len(pr) == (1 if predictions.task.name == "binary" else predictions.scores.shape[1])
    for at, (roc_curve, pr_curve) in enumerate(zip(roc, pr, strict=True)):
        scores = predictions.scores[:, 1 if predictions.task.name == "binary" else at]
        members = (
            predictions.truth == (1 if predictions.task.name == "binary" else at)
            if predictions.truth.ndim == 1
            else predictions.truth[:, at] == 1
        )
        assert roc_curve.area == pytest.approx(sklearn_metrics.roc_auc_score(members, scores), abs=1e-9)
        assert pr_curve.area == pytest.approx(sklearn_metrics.average_precision_score(members, scores), abs=1e-9)
        x, y, cuts = sklearn_metrics.roc_curve(members, scores, drop_intermediate=False)
        assert (roc_curve.x, roc_curve.y) == (pytest.approx(x), pytest.approx(y))
        assert roc_curve.thresholds[1:] == pytest.approx(cuts[1:])
        precision, recall, _ = sklearn_metrics.precision_recall_curve(members, scores)
        assert pr_curve.y == pytest.approx(precision[::-1][: len(pr_curve.y)])
        assert pr_curve.x == pytest.approx(recall[::-1][: len(pr_curve.x)])


def test_a_class_without_others_has_no_curve() -> None:
    roc, pr = curves(outcome("binary", np.ones(5, dtype="int64"), np.linspace(0, 1, 5)))
    assert not roc
    assert not pr


def test_the_best_thresholds_are_the_best_of_all_candidates() -> None:
    predictions = of_binary()
    assert predictions.scores is not None
    rows = {row.best_by: row for row in thresholds(predictions, (1.0, 5.0))}
    yes = predictions.truth == 1
    for criterion, row in rows.items():
        is_positive = predictions.scores[:, 1] > row.threshold
        assert row.f1 == pytest.approx(sklearn_metrics.f1_score(yes, is_positive)), criterion
        assert row.precision == pytest.approx(sklearn_metrics.precision_score(yes, is_positive))
        assert row.recall == pytest.approx(sklearn_metrics.recall_score(yes, is_positive))
        assert row.cost == pytest.approx((is_positive & ~yes).sum() + 5 * (~is_positive & yes).sum())
    candidates = np.linspace(-0.01, 1.01, 2000)
    assert rows["f1"].f1 == pytest.approx(
        max(sklearn_metrics.f1_score(yes, predictions.scores[:, 1] > cut) for cut in candidates)
    )
    costs = [
        ((predictions.scores[:, 1] > cut) & ~yes).sum() + 5 * ((predictions.scores[:, 1] <= cut) & yes).sum()
        for cut in candidates
    ]
    assert rows["cost"].cost == min(costs)
    assert rows["default"].threshold == 0.5
    assert {row.best_by for row in thresholds(predictions)} == {"default", "f1"}


def test_a_threshold_has_the_same_fields_where_it_is_computed_stored_and_read() -> None:
    """There are three classes, since JSON contains None for infinite values, and CSV contains text."""
    stored = get_args(get_args(MetricsFile.model_fields["thresholds"].annotation)[0])[0]
    assert (
        [field.name for field in dataclasses.fields(Threshold)] == list(stored.model_fields) == list(ThresholdRow.model_fields)
    )


@pytest.mark.parametrize("predictions", [of_classes(), of_binary()])
def test_the_brier_score_equals_scikit_learns(predictions: Outcome) -> None:
    assert predictions.scores is not None
    shares = predictions.scores.astype("float64")
    shares = shares if shares.ndim == 1 else shares / shares.sum(axis=1, keepdims=True)  # scikit-learn warns of a float32's sum
    expected = sklearn_metrics.brier_score_loss(predictions.truth, shares, labels=np.unique(predictions.truth))
    assert brier(predictions) == pytest.approx(expected, abs=1e-6)


def test_the_calibration_error_is_small_for_calibrated_probabilities_and_else_the_gap() -> None:
    random = np.random.default_rng(3)
    probabilities = random.uniform(0, 1, 200_000)
    came_true = random.random(len(probabilities)) < probabilities
    assert calibration_error(reliability(probabilities, came_true)) < 0.01
    bins = reliability(np.full(1000, 0.9), np.arange(1000) < 600)
    assert calibration_error(bins) == pytest.approx(0.3)
    assert [row.examples for row in bins] == [1000]
    assert (bins[0].low, bins[0].high) == pytest.approx((13 / 15, 14 / 15))


def test_bins_include_the_probabilities_zero_and_one() -> None:
    assert [row.examples for row in reliability(np.array([0.0, 1.0]), np.array([False, True]))] == [1, 1]


@pytest.mark.parametrize("predictions", [of_classes(examples=4000), of_binary(examples=4000), of_labels(examples=4000)])
def test_fit_temperature_recovers_a_known_temperature_and_changes_no_prediction(predictions: Outcome) -> None:
    assert predictions.scores is not None
    fair_scores = calibrated(predictions.scores, fit_temperature(predictions), predictions.task)
    miscalibrated = Outcome(**{**vars(predictions), "scores": calibrated(fair_scores, 1 / 3, predictions.task)})
    temperature = fit_temperature(miscalibrated)
    assert temperature == pytest.approx(3, rel=0.03)
    assert miscalibrated.scores is not None
    recalibrated = Outcome(**{**vars(predictions), "scores": calibrated(miscalibrated.scores, temperature, predictions.task)})
    assert calibration_error(reliability(*claims(recalibrated))) < calibration_error(reliability(*claims(miscalibrated))) / 2
    assert (recalibrated.predicted == miscalibrated.predicted).all()


def test_calibrated_probabilities_of_certain_predictions_are_finite() -> None:
    scores = np.array([[1.0, 0.0], [0.0, 1.0]], dtype="float32")
    assert np.isfinite(calibrated(scores, 2.0, TASKS["classification"])).all()
    assert np.isfinite(calibrated(scores, 2.0, TASKS["binary"])).all()


def test_notable_examples_are_the_most_confident_errors_and_the_closest_decisions() -> None:
    predictions = of_classes(examples=400)
    examples = notable_examples(predictions)
    errors = [example for example in examples if example.kind == "confident_error"]
    error_places = np.flatnonzero(predictions.predicted != predictions.truth)
    confidence = predictions.scores.max(axis=1)
    assert [example.place for example in errors] == sorted(error_places, key=lambda at: -confidence[at])[:24]
    assert all(example.label != example.predicted for example in examples if example.kind in ("confusion", "confident_error"))
    uncertain = [example.place for example in examples if example.kind == "uncertain"]
    top_two = np.sort(predictions.scores, axis=1)[:, -2:]
    assert uncertain[0] == int((top_two[:, 1] - top_two[:, 0]).argmin())
    pairs = [(example.label, example.predicted) for example in examples if example.kind == "confusion"]
    assert max(pairs.count(pair) for pair in set(pairs)) <= 5


def test_a_model_without_errors_has_only_uncertain_examples() -> None:
    truth = np.array([0, 1, 0])
    kinds = {example.kind for example in notable_examples(outcome("binary", truth, truth * 0.8 + 0.1))}
    assert kinds == {"uncertain"}


def test_the_largest_errors_of_a_regression_come_first() -> None:
    predictions = of_values(targets=1)
    assert predictions.scores is not None
    examples = notable_examples(predictions)
    assert examples[0].kind == "largest_error"
    assert examples[0].place == int(np.abs(predictions.scores - predictions.truth)[:, 0].argmax())


def test_deciles_contain_every_example_once_and_average_to_the_total_error() -> None:
    predictions = of_values(examples=105)
    assert predictions.scores is not None
    for at, name in enumerate(predictions.classes):
        rows = [row for row in deciles(predictions) if row.target == name]
        assert len(rows) == 10
        assert sum(row.examples for row in rows) == 105
        assert all(row.high <= next_row.low for row, next_row in pairwise(rows))
        mae = sum(row.mae * row.examples for row in rows) / 105
        assert mae == pytest.approx(float(np.abs(predictions.scores - predictions.truth)[:, at].mean()), rel=1e-5)
    assert len(deciles(of_values(examples=4, targets=1))) == 4


def test_slices_are_scored_on_their_own_examples() -> None:
    predictions = of_classes(examples=200)
    assert predictions.scores is not None
    side = ["left" if at % 3 else "right" for at in range(200)]
    rows = slices(predictions, {"side": side}, [metric(kind="accuracy")])
    on_right = np.array(side) == "right"
    expected = float((predictions.predicted == predictions.truth)[on_right].mean())
    assert {row.value: row.examples for row in rows} == {"left": 133, "right": 67}
    assert next(row.score for row in rows if row.value == "right") == pytest.approx(expected)


def test_slices_of_many_numbers_are_quarters_and_of_many_texts_the_most_common() -> None:
    predictions = of_classes(examples=200)
    ages = [str(at) for at in range(199)] + [""]
    rows = slices(predictions, {"age": ages}, [metric(kind="accuracy")])
    assert [row.value for row in rows] == ["0 to 49.5", "49.5 to 99", "99 to 148.5", "148.5 to 198", "(none)"]
    assert sum(row.examples for row in rows) == 200
    days = [str(20240101 + at % 30) for at in range(200)]
    assert len({row.value for row in slices(predictions, {"day": days}, [metric(kind="accuracy")])}) == 4
    names = [f"name{at % 40 if at > 100 else 0}" for at in range(200)]
    values = {row.value for row in slices(predictions, {"name": names}, [metric(kind="accuracy")])}
    assert len(values) == 21
    assert {"name0", "(others)"} <= values
