"""Classifiers as Keras models predict scikit-learn's classes, and load without dlcli and scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run_plain
from sklearn import datasets

from dlcli.errors import DataError
from dlcli.spec.model.heads import KNN, SVC, LinearSVC, LogisticRegression, RandomForest

CLASSIFIERS = [
    LogisticRegression(kind="logistic_regression", C=0.1),
    LinearSVC(kind="linear_svc", class_weight="balanced"),
    SVC(kind="svc"),
    SVC(kind="svc", kernel="linear", gamma=0.1),
    SVC(kind="svc", kernel="poly", degree=2, coef0=1.0),
    RandomForest(kind="random_forest", n_estimators=20, max_features=0.5, min_samples_leaf=2, standardize=True),
    KNN(kind="knn", n_neighbors=3),
    KNN(kind="knn", n_neighbors=4, weights="distance"),
]
UNSCALED = [
    RandomForest(kind="random_forest", n_estimators=20),
    SVC(kind="svc", standardize=False),
    KNN(kind="knn", standardize=False),
    KNN(kind="knn", standardize=False, weights="distance"),
]
PROBABLE = (LogisticRegression, RandomForest, KNN)


def name_of(spec: Any) -> str:
    words = (
        spec.kind,
        getattr(spec, "kernel", ""),
        getattr(spec, "weights", ""),
        "" if spec.standardize or spec.kind == "random_forest" else "unscaled",
    )
    return "-".join(word for word in words if word)


def rows(name: str) -> tuple[Any, Any, Any, Any]:
    """Returns the training and test rows and labels of a real data set; even places are for training."""
    data = getattr(datasets, f"load_{name}")()
    x, y = np.asarray(data.data, dtype="float32"), np.asarray(data.target, dtype="int64")
    return x[::2], y[::2], x[1::2], y[1::2]


def assert_same(spec: Any, fitted: Any, shares: Any, x: Any) -> None:
    """Asserts that the shares give the classes that scikit-learn predicts, and equal its probabilities if it has them."""
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    clear = one_set_of_neighbours(fitted, x) if spec.kind == "knn" else np.ones(len(x), dtype=bool)
    np.testing.assert_array_equal(fitted.classes_[shares.argmax(axis=1)][clear], fitted.predict(x)[clear])
    if isinstance(spec, PROBABLE):
        np.testing.assert_allclose(shares[clear], fitted.predict_proba(x)[clear], atol=1e-5)


def one_set_of_neighbours(fitted: Any, x: Any) -> Any:
    """Returns whether each row's last voting neighbour is nearer than the next; else either choice is right."""
    count = fitted[-1].n_neighbors
    distances = fitted[-1].kneighbors(fitted[0].transform(x), count + 1)[0]
    clear = distances[:, count] > distances[:, count - 1] * (1 + 1e-6)
    assert clear.mean() > 0.75  # iris, given in tenths, has as many as 15 equal distances in 75
    return clear


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "iris"])
@pytest.mark.parametrize("spec", CLASSIFIERS + UNSCALED, ids=name_of)
def test_the_keras_head_predicts_what_the_classifier_predicts(spec: Any, name: str) -> None:
    x, y, x_test, _ = rows(name)
    fitted, classes = spec.fit(x, y, 0), int(y.max()) + 1
    shares = np.asarray(spec.graph(fitted, classes=classes, binary=False)(x_test))
    assert shares.shape == (len(x_test), classes)
    assert shares.dtype == "float32"
    assert_same(spec, fitted, shares, x_test)


@pytest.mark.parametrize("spec", CLASSIFIERS, ids=name_of)
def test_a_head_of_two_classes_outputs_the_share_of_the_second(spec: Any) -> None:
    x, y, x_test, _ = rows("breast_cancer")
    fitted = spec.fit(x, y, 0)
    share = np.asarray(spec.graph(fitted, classes=2, binary=True)(x_test))
    assert share.shape == (len(x_test), 1)
    assert ((share[:, 0] > 0.5) == fitted.predict(x_test).astype(bool)).all()


@pytest.mark.parametrize("spec", CLASSIFIERS, ids=name_of)
def test_a_class_without_training_examples_has_a_share_of_zero(spec: Any) -> None:
    x, y, x_test, _ = rows("digits")
    fitted = spec.fit(x[y != 1], y[y != 1], 0)
    shares = np.asarray(spec.graph(fitted, classes=10, binary=False)(x_test))
    assert (shares[:, 1] == 0).all()
    assert (shares.argmax(axis=1) == fitted.predict(x_test)).all()


@pytest.mark.parametrize("spec", CLASSIFIERS, ids=name_of)
def test_features_of_tiny_variance_have_the_same_weight_as_in_scikit_learn(spec: Any) -> None:
    """Backbones have channels that are 0 for most images, which Keras's Normalization would scale differently."""
    x, y, x_test, _ = rows("breast_cancer")
    faint = np.repeat(np.float32([[1, 1e-9, 0]]), 10, axis=0).reshape(1, -1)
    fitted = spec.fit(x * faint, y, 0)
    assert_same(spec, fitted, np.asarray(spec.graph(fitted, classes=2, binary=False)(x_test * faint)), x_test * faint)


def test_neighbours_are_found_far_from_zero() -> None:
    """In float32, squares of large numbers lose the digits that distinguish neighbours."""
    x, y, x_test, _ = rows("iris")
    x, x_test = x + 1000, x_test + 1000
    for spec in (SVC(kind="svc", standardize=False), KNN(kind="knn", standardize=False)):
        fitted = spec.fit(x, y, 0)
        assert_same(spec, fitted, np.asarray(spec.graph(fitted, classes=3, binary=False)(x_test)), x_test)


def test_a_head_computes_in_float32_under_mixed_precision() -> None:
    import keras

    x, y, x_test, _ = rows("wine")
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        for spec in CLASSIFIERS:
            fitted = spec.fit(x, y, 0)
            assert_same(spec, fitted, np.asarray(spec.graph(fitted, classes=3, binary=False)(x_test)), x_test)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


def test_the_same_seed_grows_the_same_forest() -> None:
    x, y, x_test, _ = rows("digits")
    spec = RandomForest(kind="random_forest", n_estimators=5)
    first, again, other = (np.asarray(spec.graph(spec.fit(x, y, seed), classes=10, binary=False)(x_test)) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_a_saved_head_needs_neither_dlcli_nor_scikit_learn(tmp_path: Path) -> None:
    x, y, x_test, _ = rows("digits")
    shares = []
    for index, spec in enumerate(CLASSIFIERS):
        head = spec.graph(spec.fit(x, y, 0), classes=10, binary=False)
        assert head.name == "head"
        assert not head.trainable_weights
        head.save(tmp_path / f"{index}.keras")
        shares.append(np.asarray(head(x_test)))
    np.savez(tmp_path / "expected.npz", *shares, x=x_test)
    code = (
        "import sys; sys.modules['dlcli'] = None; sys.modules['sklearn'] = None\n"
        "import keras, numpy as np\n"
        "expected = np.load('expected.npz')\n"
        f"for index in range({len(shares)}):\n"
        "    model = keras.saving.load_model(f'{index}.keras')\n"
        "    assert (np.asarray(model(expected['x'])) == expected[f'arr_{index}']).all(), index\n"
        "print('same')"
    )
    done = run_plain(code, cwd=tmp_path)
    assert done.stdout.strip() == "same", done.stderr[-2000:]


@pytest.mark.parametrize("spec", CLASSIFIERS, ids=name_of)
def test_a_head_can_be_exported_as_a_saved_model(spec: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    x, y, x_test, _ = rows("iris")
    fitted = spec.fit(x, y, 0)
    spec.graph(fitted, classes=3, binary=False).export(tmp_path / "out", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "out")
    assert_same(spec, fitted, np.asarray(loaded.serve(tf.constant(x_test))), x_test)


@pytest.mark.parametrize("spec", CLASSIFIERS, ids=name_of)
def test_a_classifier_of_a_single_class_is_refused(spec: Any) -> None:
    x, _, _, _ = rows("iris")
    with pytest.raises(DataError) as refused:
        spec.fit(x, np.full(len(x), 2), 0)
    expected = f"`{spec.kind}` is a classifier, but the training split has only one class"
    assert str(refused.value) == expected


def test_features_that_are_not_finite_are_refused() -> None:
    x, y, _, _ = rows("iris")
    x[3, 1] = np.nan
    with pytest.raises(DataError) as refused:
        KNN(kind="knn").fit(x, y, 0)
    assert str(refused.value).startswith("`knn` needs finite features")


def test_more_neighbours_than_examples_are_refused() -> None:
    x, y, _, _ = rows("iris")
    with pytest.raises(DataError) as refused:
        KNN(kind="knn", n_neighbors=100).fit(x, y, 0)
    assert str(refused.value) == "`n_neighbors` is 100, but the training split has 75 examples"
