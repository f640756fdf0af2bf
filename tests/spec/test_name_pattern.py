"""Regular expressions on file names: those whose search may take very long are refused."""

from __future__ import annotations

import re
import time

import pytest

from dlcli.spec.data.name_pattern import unbounded


@pytest.mark.parametrize(
    "pattern",
    ["^(.*)_", r"(\d+)$", "p[0-9]", "^(a|b)_", "x{3}", r"^([^_]+)_([^_]+)", "[*+]*a", r"\(a+\)+", "(?:ab)+", "(a.)*"],
)
def test_ordinary_expressions_are_taken(pattern: str) -> None:
    re.compile(pattern)
    assert unbounded(pattern) == ""


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "(a|aa)+$", "(a*)*b", "((a+))+$", "(?:a?)+$", "(x+x+)+y", "(a{1,9})*$", "((a+)b)+", "(a+){2,}", "(|a)+$"],
)
def test_nested_repetitions_are_refused(pattern: str) -> None:
    re.compile(pattern)
    assert unbounded(pattern) == "without a repeated group that contains a repetition or alternatives"


def test_the_slowest_expression_that_is_taken_is_fast_enough() -> None:
    assert unbounded(".*.*.*.*x") == "with at most 3 repetitions"
    assert unbounded(".*.*.*x") == ""
    started = time.process_time()
    assert re.search(".*.*.*x", "a" * 255) is None
    assert time.process_time() - started < 5
