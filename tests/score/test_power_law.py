"""The power law of the error over training examples: what it finds, and how often its intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from dlcli.score.power_law import fitted_law

EXAMPLES = np.array([100.0, 200.0, 400.0, 1000.0])


def test_a_law_without_noise_is_found_and_continued() -> None:
    errors = 2 * EXAMPLES**-0.4
    law = fitted_law(EXAMPLES, errors, np.diag((0.01 * errors) ** 2))
    assert law.exponent == pytest.approx(0.4)
    assert law.error(2000) == pytest.approx(2 * 2000**-0.4)
    low, high = law.interval(2000)
    assert low < law.error(2000) < high
    assert law.falls


def test_a_flat_curve_does_not_fall() -> None:
    law = fitted_law(EXAMPLES, np.full(4, 0.2), np.diag(np.full(4, 0.02**2)))
    assert not law.falls
    assert law.exponent == pytest.approx(0)


def test_noise_that_the_variances_do_not_explain_widens_the_interval() -> None:
    errors = 2 * EXAMPLES**-0.4 * np.array([1.0, 1.3, 0.8, 1.1])
    small = np.diag((0.001 * errors) ** 2)
    low, high = fitted_law(EXAMPLES, errors, small).exponent_interval
    assert high - low > 0.1


def test_equal_predictions_of_two_fractions_have_a_law() -> None:
    law = fitted_law(EXAMPLES, np.array([0.3, 0.2, 0.2, 0.1]), np.zeros((4, 4)))
    assert law.exponent > 0


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_the_interval_holds_the_true_error_of_twice_the_examples(shared: float) -> None:
    random = np.random.default_rng(0)
    truth = 2 * EXAMPLES**-0.4
    deviations = 0.08 * truth
    covariance = np.outer(deviations, deviations) * (shared + (1 - shared) * np.eye(4))
    held = 0
    for errors in random.multivariate_normal(truth, covariance, size=1000):
        low, high = fitted_law(EXAMPLES, errors, covariance).interval(2000)
        held += low <= 2 * 2000**-0.4 <= high
    assert 0.93 <= held / 1000 <= 1.0
