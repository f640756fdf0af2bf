"""The simple model that judges labels: it is fitted on samples that have every class."""

from __future__ import annotations

import numpy as np
import pytest

from dlcli.data.doctor.label_model import FOLDS, _compared, out_of_fold


@pytest.mark.parametrize("seed", [1, 4])
def test_classes_with_a_dozen_examples_among_many_are_judged(seed: int) -> None:
    """With these seeds a random tenth of the 20,000 rows has one or none of the 12 positives, so no model could be fitted."""
    generator = np.random.default_rng(seed)
    labels = np.zeros(20_000, "int64")
    labels[generator.permutation(len(labels))[:12]] = 1
    features = generator.normal(size=(len(labels), 2)).astype("float32")
    features[labels == 1] += 8
    probabilities = out_of_fold(features, labels, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.999
    assert probabilities[labels == 1, 1].mean() > 0.9


def test_a_sample_has_each_class_by_its_share_and_rare_ones_in_every_fold() -> None:
    labels = np.repeat([0, 1, 2, 5], [14_000, 5_980, 15, 5])
    places = _compared(labels)
    assert np.bincount(labels[places]).tolist() == [1400, 598, FOLDS, 0, 0, FOLDS]
    assert len(set(places.tolist())) == len(places)


def test_all_examples_of_a_small_set_are_compared() -> None:
    assert sorted(_compared(np.repeat([0, 1], [1_990, 10]))) == list(range(2_000))
