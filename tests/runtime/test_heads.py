"""Classifiers as Keras models: the same classes as scikit-learn's, loaded where neither dlcli nor scikit-learn is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from dlcli.spec.heads import KNN, SVC, LinearSVC, LogisticRegression, RandomForest

CLASSIFIERS = [
    LogisticRegression(kind="logistic_regression", C=0.1),
    LinearSVC(kind="linear_svc"),
    SVC(kind="svc"),
    SVC(kind="svc", kernel="linear", gamma=0.1),
    RandomForest(kind="random_forest", n_estimators=20),
    KNN(kind="knn", n_neighbors=3),
]
PROBABLE = (LogisticRegression, RandomForest, KNN)


def rows(name: str) -> tuple[Any, Any, Any, Any]:
    """Returns a real set's training and test rows and labels; even places train."""
    data = getattr(datasets, f"load_{name}")()
    x, y = np.asarray(data.data, dtype="float32"), np.asarray(data.target, dtype="int64")
    return x[::2], y[::2], x[1::2], y[1::2]


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "iris"])
@pytest.mark.parametrize("spec", CLASSIFIERS, ids=lambda spec: f"{spec.kind}-{getattr(spec, 'kernel', '')}")
def test_the_keras_head_says_what_the_classifier_says(spec: Any, name: str) -> None:
    x, y, x_test, _ = rows(name)
    fitted, classes = spec.fit(x, y, 0), int(y.max()) + 1
    shares = np.asarray(spec.graph(fitted, classes=classes, binary=False)(x_test))
    assert shares.shape == (len(x_test), classes)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (shares.argmax(axis=1) == fitted.predict(x_test)).mean() == 1
    if isinstance(spec, PROBABLE):
        np.testing.assert_allclose(shares, fitted.predict_proba(x_test), atol=1e-5)


@pytest.mark.parametrize("spec", CLASSIFIERS, ids=lambda spec: spec.kind)
def test_two_classes_give_the_share_of_the_second(spec: Any) -> None:
    x, y, x_test, _ = rows("breast_cancer")
    fitted = spec.fit(x, y, 0)
    share = np.asarray(spec.graph(fitted, classes=2, binary=True)(x_test))
    assert share.shape == (len(x_test), 1)
    assert ((share[:, 0] > 0.5) == fitted.predict(x_test).astype(bool)).all()


def test_a_class_without_training_examples_has_a_share_of_zero() -> None:
    x, y, x_test, _ = rows("iris")
    spec = LogisticRegression(kind="logistic_regression")
    fitted = spec.fit(x[y != 1], y[y != 1], 0)
    shares = np.asarray(spec.graph(fitted, classes=3, binary=False)(x_test))
    assert (shares[:, 1] == 0).all()
    assert (shares.argmax(axis=1) == fitted.predict(x_test)).all()


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
        assert not head.trainable_weights
        head.save(tmp_path / f"{index}.keras")
        shares.append(np.asarray(head(x_test)))
    np.savez(tmp_path / "known.npz", *shares, x=x_test)
    code = (
        "import sys; sys.modules['dlcli'] = None; sys.modules['sklearn'] = None\n"
        "import keras, numpy as np\n"
        "known = np.load('known.npz')\n"
        f"for index in range({len(shares)}):\n"
        "    model = keras.saving.load_model(f'{index}.keras')\n"
        "    assert (np.asarray(model(known['x'])) == known[f'arr_{index}']).all(), index\n"
        "print('same')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "same", done.stderr[-2000:]


def test_a_head_goes_into_a_saved_model_format(tmp_path: Path) -> None:
    import tensorflow as tf

    x, y, x_test, _ = rows("iris")
    spec = RandomForest(kind="random_forest", n_estimators=5)
    head = spec.graph(spec.fit(x, y, 0), classes=3, binary=False)
    head.export(tmp_path / "out", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "out")
    served = loaded.serve(tf.constant(x_test))
    np.testing.assert_array_equal(served, np.asarray(head(x_test)))
