"""Each private name of scikit-learn that `upstream/sklearn.py` reads: these tests fail once it is gone."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from dlcli.upstream.sklearn import kernel_gamma, neighbor_classes, neighbor_rows

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
