"""Each private name of scikit-learn that `upstream/sklearn.py` reads: these tests fail once it is gone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import datasets
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_info

from dlcli.upstream.sklearn import (
    bundled_table,
    kernel_gamma,
    neighbor_classes,
    neighbor_rows,
    read_arff,
    single_threaded,
)

ROWS = np.array([[0.0, 2.0], [1.0, 1.0], [4.0, 0.0]])
LABELS = ["b", "a", "b"]


def test_the_gamma_of_a_machine_is_a_number_once_it_is_fitted() -> None:
    machine = SVC(gamma="scale").fit(ROWS, LABELS)
    assert machine.gamma == "scale"
    assert kernel_gamma(machine) == 1 / (2 * ROWS.var())


def test_neighbors_keep_the_rows_they_were_fitted_on_and_their_classes() -> None:
    neighbors = KNeighborsClassifier(1, algorithm="brute").fit(ROWS, LABELS)
    assert np.array_equal(neighbor_rows(neighbors), ROWS)
    assert neighbor_classes(neighbors).tolist() == [1, 0, 1]


@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast_cancer"])
def test_bundled_files_hold_what_scikit_learn_reads_from_them(name: str) -> None:
    rows, numbers = bundled_table(name)
    expected_rows, expected_numbers = getattr(datasets, f"load_{name}")(return_X_y=True)
    assert rows.dtype == np.float64
    assert numbers.dtype == np.int64
    assert np.array_equal(rows, expected_rows)
    assert np.array_equal(numbers, expected_numbers)


def test_bundled_files_are_read_by_scikit_learn_where_it_keeps_them_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bundled_table("iris")
    monkeypatch.setattr("dlcli.upstream.sklearn._TABLES", {"iris": "no such file"})
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(bundled_table("iris"), expected, strict=True))


def test_arff_is_read_with_its_quotes_and_gaps() -> None:
    header = "@RELATION r\n@ATTRIBUTE 'a b' REAL\n@ATTRIBUTE c {'x y',z}\n@ATTRIBUTE d STRING\n@DATA\n"
    text = header + "1.5,'x y','it\\'s, so'\n?,z,?\n"
    columns, rows = read_arff(iter(text.splitlines()))
    assert columns == [("a b", True), ("c", False), ("d", False)]
    assert list(rows) == [[1.5, "x y", "it's, so"], [None, "z", None]]
    with pytest.raises(ValueError, match="Invalid layout of the ARFF file"):
        read_arff(iter(["@RELATION r"]))
    _, rows = read_arff(iter([*text.splitlines(), "2,unknown,d"]))
    with pytest.raises(ValueError, match="Data value unknown not found in nominal declaration"):
        list(rows)


def test_k_means_has_one_thread_where_its_results_must_be_the_same_each_time() -> None:
    def threads() -> list[int]:
        return [int(pool["num_threads"]) for pool in threadpool_info()]

    before = threads()
    with single_threaded():
        assert set(threads()) == {1}
    assert threads() == before
