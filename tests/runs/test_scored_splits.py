"""The text of scores and of the sizes of splits."""

from __future__ import annotations

import pytest

from dlcli.runs.scored_splits import score_text, sizes_in_words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8333, "0.8333"),
        (0.0, "0.0000"),
        (-0.2, "-0.2000"),
        (0.00042, "0.00042"),
        (-1.2345e-9, "-1.23e-09"),
        (4_000_055_744.1, "4,000,055,744.1"),
    ],
)
def test_a_score_of_any_size_keeps_its_digits(value: float, text: str) -> None:
    assert score_text(value) == text


def test_a_score_without_a_unit_does_not_show_rounding_errors() -> None:
    assert score_text(5.96e-8, "r2") == "0.0000"
    assert score_text(5.96e-8, "rmse") == "5.96e-08"


def test_a_change_of_a_score_has_a_sign() -> None:
    changes = [score_text(value, sign="+", digits=3) for value in (0.0123, -6_807_816_960.0, 0.00001)]
    assert changes == ["+0.012", "-6,807,816,960.0", "+1e-05"]


def test_the_size_of_a_test_split_that_is_the_validation_split_is_marked() -> None:
    examples = {"train": 1200, "validation": 30, "test": 30}
    assert sizes_in_words(examples, shared=True) == "1,200 train, 30 validation, 30 test (= validation)"
    assert sizes_in_words(examples, shared=False) == "1,200 train, 30 validation, 30 test"
