"""scikit-learn: what fitted estimators keep under private names alone, and its bundled files; see
`tests/upstream/test_sklearn.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcli.upstream.start import hidden

if TYPE_CHECKING:
    from dlcli.arrays import Array

_TABLES = {"digits": "digits.csv.gz", "iris": "iris.csv", "wine": "wine_data.csv", "breast_cancer": "breast_cancer.csv"}


def import_sklearn() -> None:
    """Imports scikit-learn without pandas, which it imports wherever it is installed, and uses for data frames alone."""
    if "sklearn" not in sys.modules:
        with hidden("pandas"):
            import sklearn.utils  # noqa: F401


@contextmanager
def single_threaded() -> Iterator[None]:
    """Lets scikit-learn compute in one thread inside the block, so that its results have the same bits each time.

    The threads of `KMeans` add their sums in the order in which they finish (github.com/scikit-learn/scikit-learn
    `sklearn/cluster/_k_means_lloyd.pyx`). threadpoolctl is a requirement of scikit-learn.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def bundled_table(name: str) -> tuple[Array, Array]:
    """Returns the rows float64 `(n, columns)` and the class numbers int64 `(n,)` of a set that comes with scikit-learn.

    They are those of `sklearn.datasets.load_digits` and its like. The files are read without scikit-learn, whose import takes
    most of a second: it imports SciPy's statistics and pandas (github.com/scikit-learn/scikit-learn
    `sklearn/datasets/_base.py`, `sklearn/utils/fixes.py`).

    Args:
        name: digits, iris, wine or breast_cancer.
    """
    import numpy as np

    package = find_spec("sklearn")
    places = [] if package is None else package.submodule_search_locations or []
    path = next((path for place in places if (path := Path(place, "datasets", "data", _TABLES[name])).is_file()), None)
    if path is None:
        from sklearn import datasets

        rows, numbers = getattr(datasets, f"load_{name}")(return_X_y=True)
        return rows, numbers.astype("int64")
    table = np.loadtxt(path, delimiter=",", skiprows=0 if name == "digits" else 1)  # the others begin with a line of names
    return table[:, :-1], table[:, -1].astype("int64")


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


def read_arff(lines: Iterator[str]) -> tuple[list[tuple[str, bool]], Iterator[list[Any]]]:
    """Returns the columns of an ARFF file with dense rows, by name and whether they are numbers, and its rows.

    Cells are numbers, texts or None. scikit-learn comes with a copy of the package liac-arff, which its `fetch_openml` uses
    (github.com/scikit-learn/scikit-learn `sklearn/externals/_arff.py`).

    Raises:
        ValueError: the file cannot be understood, at once or while rows are read.
    """
    import_sklearn()
    from sklearn.externals import _arff

    try:
        content = _arff.load(lines, return_type=_arff.DENSE_GEN, encode_nominal=False)
    except _arff.ArffException as error:
        raise ValueError(str(error)) from None
    return [(name, kind in ("NUMERIC", "REAL", "INTEGER")) for name, kind in content["attributes"]], _rows(
        content["data"], _arff.ArffException
    )


def _rows(rows: Iterator[list[Any]], fault: type[Exception]) -> Iterator[list[Any]]:
    try:
        yield from rows
    except fault as error:
        raise ValueError(str(error)) from None
