"""`benchmarks/coverage.py` measures the intervals of every task; it is not part of the package."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
from conftest import REPOSITORY


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    module_spec = importlib.util.spec_from_file_location("coverage_benchmark", REPOSITORY / "benchmarks" / "coverage.py")
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    module_spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("kind", "population"),
    [
        ("auc", lambda benchmark: benchmark.two_classes(0.8, 20, 40)),
        ("accuracy", lambda benchmark: benchmark.many_classes([20] * 5, 3.0)),
        ("f1", lambda benchmark: benchmark.many_labels(150, (20, 50, 100), 2.0)),
        ("mape", lambda benchmark: benchmark.values(50, 0.5, "proportional")),
    ],
)
def test_most_intervals_of_every_task_contain_the_true_score(benchmark: ModuleType, kind: str, population: object) -> None:
    measured = benchmark.of_metric(benchmark.metric(kind), population(benchmark), 40)  # type: ignore[operator]
    assert measured.none == 0
    assert 0.8 <= measured.held <= 1


def test_most_intervals_of_a_difference_contain_the_true_difference(benchmark: ModuleType) -> None:
    pair = benchmark.two_models(benchmark.two_classes(0.8, 30, 70), 0.5)
    assert 0.8 <= benchmark.of_pair(benchmark.metric("accuracy"), pair, 40).held <= 1
    assert 0.8 <= benchmark.of_pair(None, pair, 40).held <= 1
