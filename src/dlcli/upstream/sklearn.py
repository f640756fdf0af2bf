"""scikit-learn: what fitted estimators keep under private names alone; see `tests/upstream/test_sklearn.py`."""

from __future__ import annotations

from typing import Any


def kernel_gamma(machine: Any) -> float:
    """Returns the number that `gamma` of a fitted `SVC` became: `scale` and `auto` depend on the training rows.

    github.com/scikit-learn/scikit-learn `sklearn/svm/_base.py`.
    """
    return float(machine._gamma)


def neighbor_rows(neighbors: Any) -> Any:
    """Returns the training rows of a fitted `KNeighborsClassifier`, `(rows, columns)`.

    github.com/scikit-learn/scikit-learn `sklearn/neighbors/_base.py`.
    """
    return neighbors._fit_X


def neighbor_classes(neighbors: Any) -> Any:
    """Returns the index in `classes_` of each training row of a fitted `KNeighborsClassifier`, `(rows,)`."""
    return neighbors._y
