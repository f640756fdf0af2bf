"""Comparisons of two runs on the same examples, against SciPy and known true values; and which runs are not compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from dlcli.score.compare import Difference, accuracy_interval, compare, compare_losses, match, mcnemar, sentence
from dlcli.score.intervals import difference_interval, metric_estimate
from dlcli.score.outcome import Outcome
from dlcli.spec.training.metrics import AUC, Accuracy, Averaged, PlainMetric, TopK
from dlcli.tasks import TASKS

Array = np.ndarray[Any, Any]
MAE = PlainMetric(kind="mae")
ACCURACY = Accuracy(kind="accuracy")


def outcome(
    truth: list[int], scores: Any, *, task: str = "classification", classes: tuple[str, ...] = ("a", "b", "c")
) -> Outcome:
    ids = [f"{place}.png" for place in range(len(truth))]
    values = np.asarray(scores, dtype="float32")
    if values.ndim == 1:  # the probability of the second class
        values = np.stack([1 - values, values], axis=1)
    return Outcome(TASKS[task], "test", ids, classes, np.array(truth), values)


def probabilities(*classes: int, count: int = 3) -> Array:
    """Returns probabilities of examples; the largest one is that of each example's class."""
    return np.full((len(classes), count), 0.1) + 0.7 * np.eye(count)[list(classes)]


def test_mcnemar_is_the_exact_binomial_test() -> None:
    # By hand: of 10 pairs 1 on one side, 2 * (1 + 10) / 2^10; of 4 pairs none, 2 / 2^4.
    assert mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert mcnemar(4, 0) == pytest.approx(0.125)
    assert mcnemar(5, 5) == mcnemar(0, 0) == 1.0


def test_mcnemar_agrees_with_chi_squared_for_many_pairs() -> None:
    for only_first, only_other in ((5200, 5000), (5300, 5000)):
        corrected = (abs(only_first - only_other) - 1) ** 2 / (only_first + only_other)
        assert mcnemar(only_first, only_other) == pytest.approx(float(chi2.sf(corrected, 1)), rel=1e-2)


def test_the_interval_of_accuracies_covers_the_true_difference() -> None:
    """4,000 pairs of models with known accuracies; with 4 % discordant examples the interval is conservative."""
    random = np.random.default_rng(0)
    for only_first, only_other, examples, most in ((0.05, 0.1, 400, 0.97), (0.2, 0.3, 60, 0.97), (0.02, 0.02, 100, 1.0)):
        shares = (only_first, only_other, 1 - only_first - only_other)
        counts = random.multinomial(examples, shares, size=4000)
        intervals = np.array([accuracy_interval(int(first), int(second), examples) for first, second, _ in counts])
        covered = (intervals[:, 0] <= only_other - only_first) & (only_other - only_first <= intervals[:, 1])
        assert 0.93 <= covered.mean() <= most


def mae_difference_interval(truth: Array, ours: Array, theirs: Array) -> tuple[float, float] | None:
    """Returns the interval of the difference of two mean absolute errors."""
    return difference_interval(*(metric_estimate(MAE, truth, scores, TASKS["regression"]) for scores in (ours, theirs)))


def coverage(models: int, examples: int) -> float:
    """Returns how often the interval of two models' mean absolute errors covers the true difference."""
    random, covered = np.random.default_rng(1), 0
    true_difference = np.sqrt(2 / np.pi) * (1.0 - 1.2)  # the mean of |N(0, s)| is s * sqrt(2 / pi)
    for _ in range(models):
        truth, shared = random.normal(size=(examples, 1)), random.normal(size=(examples, 1))
        worse = truth + 1.2 * (0.8 * shared + 0.6 * random.normal(size=(examples, 1)))
        low, high = mae_difference_interval(truth, worse, truth + shared) or (0.0, 0.0)
        covered += low <= true_difference <= high
    return covered / models


def test_the_paired_interval_covers_the_true_difference() -> None:
    assert 0.9 <= coverage(150, 150) <= 0.99


@pytest.mark.slow
def test_the_paired_interval_covers_the_true_difference_of_many_models() -> None:
    assert 0.93 <= coverage(2000, 200) <= 0.97


def test_a_paired_interval_shows_a_difference_that_overlapping_intervals_hide() -> None:
    """Two models with correlated errors: their intervals overlap widely, but that of the difference excludes zero."""
    random = np.random.default_rng(2)
    truth = random.normal(size=(300, 1))
    error = random.normal(size=(300, 1))
    low, high = mae_difference_interval(truth, truth + error, truth + 0.95 * error) or (0, 0)
    assert low == pytest.approx(-0.05 * np.abs(error).mean(), abs=0.01)
    assert low < high < 0
    swapped = mae_difference_interval(truth, truth + 0.95 * error, truth + error)
    assert swapped == pytest.approx((-high, -low))


def test_a_better_run_is_named_with_the_size_of_the_difference() -> None:
    truth = [0, 1, 2, 0] * 10
    ours = outcome(truth, probabilities(*[0] * 40))
    theirs = outcome(truth, probabilities(*truth))
    difference = compare(ACCURACY, ours, theirs)
    assert (difference.first, difference.other, difference.verdict) == (0.5, 1.0, "better")
    assert (difference.only_first_right, difference.only_other_right) == (0, 20)
    assert difference.p == pytest.approx(2 / 2**20)
    # By hand: 21/42 - 1/42 = 0.476, and 1.96 * sqrt((22/42 - 0.476^2) / 42) = 0.165.
    assert (
        sentence(difference, "A", "B")
        == "B is better by 50.0 points of accuracy; 95 % interval 31.1 to 64.1; McNemar p < 0.0001"
    )
    reversed_difference = compare(ACCURACY, theirs, ours)
    assert reversed_difference.verdict == "worse"
    assert sentence(reversed_difference, "A", "B") == sentence(difference, "B", "A")


def test_a_few_examples_show_no_significant_difference() -> None:
    ours, theirs = outcome([0, 1, 2, 0], probabilities(0, 1, 0, 1)), outcome([0, 1, 2, 0], probabilities(0, 1, 2, 0))
    difference = compare(ACCURACY, ours, theirs)
    assert difference.verdict == "none shown"
    assert sentence(difference, "A", "B").startswith(
        "no significant difference: accuracy of B is higher by 50.0 points; 95 % interval -"
    )
    assert sentence(difference, "A", "B").endswith("; McNemar p = 0.5")


@pytest.mark.parametrize(
    "metric", [ACCURACY, TopK(kind="top_k", k=2), Averaged(kind="f1"), AUC(kind="auc"), PlainMetric(kind="mcc")]
)
def test_equal_predictions_have_no_difference(metric: Any) -> None:
    predictions = outcome([0, 1, 2, 0, 1, 2], probabilities(0, 1, 2, 2, 1, 0))
    difference = compare(metric, predictions, predictions)
    assert (difference.difference, difference.verdict) == (0, "same")
    assert sentence(difference, "A", "B").startswith(f"no difference in {metric.name}: A and B ")


def test_a_lower_loss_is_better_and_its_difference_is_paired() -> None:
    random = np.random.default_rng(4)
    losses = np.exp(random.normal(size=200))
    ours = replace(outcome([0, 1] * 100, probabilities(*[0, 1] * 100)), losses=losses)
    difference = compare_losses(ours, replace(ours, losses=0.97 * losses + 0.005 * random.normal(size=200)))
    assert (difference.metric, difference.verdict, difference.higher_is_better) == ("loss", "better", False)
    assert sentence(difference, "A", "B").startswith("B is better: its loss is lower by 0.0")
    noisy = replace(ours, losses=losses + random.normal(size=200))
    assert sentence(compare_losses(ours, noisy), "A", "B").startswith("no significant difference: loss of ")
    assert sentence(compare_losses(ours, ours), "A", "B") == "no difference in loss: A and B give the same predictions"


def test_too_few_positives_give_no_interval_of_the_average_precision_with_the_reason() -> None:
    random = np.random.default_rng(5)
    truth = [0] * 50 + [1] * 6
    ours, theirs = (outcome(truth, random.random(56), task="binary", classes=("no", "yes")) for _ in range(2))
    difference = compare(AUC(kind="auc", curve="pr"), ours, theirs)
    assert (difference.interval, difference.verdict) == (None, "none shown")
    assert sentence(difference, "A", "B").endswith("; no interval: 6 positive examples; an interval needs 20")


def test_a_lower_error_is_better() -> None:
    random = np.random.default_rng(3)
    truth = random.normal(size=(200, 1))
    ours = replace(outcome([0] * 200, truth + random.normal(size=(200, 1)), task="regression", classes=("y",)), truth=truth)
    theirs = replace(ours, scores=truth + 0.1)
    difference = compare(MAE, ours, theirs)
    assert difference.verdict == "better"
    assert difference.difference == pytest.approx(np.abs(theirs.scores - truth).mean() - np.abs(ours.scores - truth).mean())
    assert sentence(difference, "A", "B").startswith("B is better: its mae is lower by 0.")


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (
            Difference("f1", 0.5, 0.508, (0.001, 0.015), "better"),
            "B is better by 0.8 points of f1; 95 % interval 0.1 to 1.5",
        ),
        (Difference("auc", 0.9, 0.88, (-0.03, -0.01), "worse"), "A is better by 0.02 in auc; 95 % interval 0.01 to 0.03"),
        (
            Difference("rmse", 1.0, 1234.5, (-3.0, 4000.0), "none shown", False),
            "no significant difference: rmse of B is higher by 1,233.5; 95 % interval -3 to 4,000.0",
        ),
        (
            Difference("auc", 0.9, 0.9, None, "none shown"),
            "no significant difference: auc is the same; no interval",
        ),
        (Difference("auc", 0.9, float("nan"), None, "none shown"), "auc is not defined on these examples"),
    ],
)
def test_differences_as_sentences(difference: Difference, expected: str) -> None:
    assert sentence(difference, "A", "B") == expected


def test_classes_in_another_order_are_matched_by_name() -> None:
    ours = outcome([0, 1, 2], probabilities(0, 1, 1))
    order = [2, 0, 1]  # class 0 of the second outcome is class 2 of the first
    theirs = outcome([order.index(number) for number in (0, 1, 2)], probabilities(0, 1, 1)[:, order], classes=("c", "a", "b"))
    matched = match(ours, theirs)
    assert not matched.doubt
    assert matched.theirs.truth.tolist() == [0, 1, 2]
    assert compare(AUC(kind="auc"), matched.ours, matched.theirs).verdict == "same"
    assert matched.notes == ["their classes are in a different order and were matched by name"]


def test_swapped_binary_classes_are_matched_by_name() -> None:
    ours = outcome([0, 1, 1], [0.25, 0.75, 0.25], task="binary", classes=("no", "yes"))
    theirs = outcome([1, 0, 0], [0.75, 0.25, 0.75], task="binary", classes=("yes", "no"))
    matched = match(ours, theirs)
    assert np.array_equal(matched.ours.scores, matched.theirs.scores)
    assert np.array_equal(matched.ours.truth, matched.theirs.truth)


def test_examples_in_another_order_are_matched_by_id() -> None:
    ours = outcome([0, 1, 2], probabilities(0, 1, 1))
    reversed_outcome = replace(ours, ids=ours.ids[::-1], truth=ours.truth[::-1], scores=ours.scores[::-1])
    matched = match(ours, reversed_outcome)
    assert not matched.doubt
    assert compare(ACCURACY, matched.ours, matched.theirs).verdict == "same"


def test_only_common_examples_are_paired() -> None:
    ours, theirs = outcome([0, 1, 2] * 4, probabilities(*[0] * 12)), outcome([0, 1, 2] * 2, probabilities(*[1] * 6))
    matched = match(ours, theirs)
    assert matched.doubt == "of 12 and 6 examples 6 have the same id"
    assert matched.ours.ids == matched.theirs.ids == theirs.ids


def test_a_few_examples_with_changed_labels_are_omitted() -> None:
    ours = outcome([0, 1] * 20, probabilities(*[0] * 40))
    theirs = replace(ours, truth=np.array([2, *ours.truth[1:]]))
    matched = match(ours, theirs)
    assert matched.doubt == "1 of 40 examples with the same id have different labels"
    assert len(matched.ours) == 39


def test_different_data_with_the_same_ids_are_not_paired() -> None:
    ours = outcome([0, 1] * 20, probabilities(*[0] * 40))
    matched = match(ours, replace(ours, truth=np.array([0, 0, 1, 1] * 10)))
    assert matched.doubt == "20 of 40 examples with the same id have different labels"
    assert len(matched.ours) == 0


def test_repeated_ids_are_not_paired() -> None:
    ours = replace(outcome([0, 1], probabilities(0, 1)), ids=["x", "x"])
    matched = match(ours, ours)
    assert matched.doubt == "ids are not unique, so examples cannot be matched"
    assert len(matched.ours) == 0


def test_runs_with_different_classes_are_compared_by_predicted_class() -> None:
    ours = outcome([0, 1, 0, 1], probabilities(0, 1, 0, 0))
    theirs = outcome([0, 1, 0, 1], probabilities(0, 1, 0, 1, count=4), classes=("a", "b", "d", "e"))
    matched = match(ours, theirs)
    assert matched.ours.scores is None
    difference = compare(ACCURACY, matched.ours, matched.theirs)
    assert (difference.first, difference.other) == (0.75, 1.0)
    assert matched.notes == ["their classes differ: only one of them has c; only one of them has d, e"]


def test_values_of_different_targets_are_not_compared() -> None:
    ours = replace(outcome([0], [[1.0]], task="regression", classes=("price",)), truth=np.array([[1.0]]))
    matched = match(ours, replace(ours, classes=("size",)))
    assert matched.doubt == "their targets differ: only one of them has price; only one of them has size"
    assert len(matched.ours) == 0


def test_thousands_of_classes_are_compared_by_predicted_class() -> None:
    ours = replace(outcome([0, 1, 2], probabilities(0, 1, 1)), scores=None, predicted_numbers=np.array([0, 1, 1]))
    difference = compare(ACCURACY, match(ours, ours).ours, match(ours, ours).theirs)
    assert (difference.first, difference.verdict) == (pytest.approx(2 / 3), "same")
