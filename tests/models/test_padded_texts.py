"""Whole saved models on texts: padding, the size of a batch and the order of texts never change a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import write_spec

from dlcli.data.splits import open_splits
from dlcli.models.network import build_model
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.keras_file import load_keras_file, save_keras_file
from dlcli.spec.load import load

Array = np.ndarray[Any, Any]
WORDS = ("lovely", "awful", "film", "größe", "電影", "by", "someone")
LENGTHS = (0, 1, 2, 5, 9, 12)
ROWS, SHORT, LONG = 8, 12, 20
"""The rows that are predicted, and the padded lengths: all texts fit into both."""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two columns of texts of different lengths, and numbers."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("padding")
    lines = ["title,body,stars,label"]
    for number in range(48):
        title, body = (" ".join(random.choice(WORDS, random.choice(LENGTHS))) for _ in range(2))
        lines.append(f"{title},{body},{random.integers(5)},{number % 2}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _saved_model(folder: Path, layers: str, length: int) -> tuple[Any, dict[str, Array]]:
    """Returns a saved model with random weights, and the texts and numbers that it takes."""
    source = "{kind: csv, path: rows.csv, target: label, text: [title, body]}"
    model = f"{{kind: sequence, embedding: {{kind: trained, output_dim: 16}}, layers: {layers}}}"
    data = f"normalize: standard, text: {{max_length: {length}}}"
    spec = write_spec(folder, source, task="binary", model=model, data=data, name=f"{layers}-{length}")
    experiment = load(spec).experiment
    splits = open_splits(experiment, offline=True)
    keras.utils.set_random_seed(0)
    path = folder / f"{layers}-{length}.keras"
    save_keras_file(build_model(experiment, splits).whole, path)
    inputs = splits.train.inputs
    return load_keras_file(path), inputs.layout.arrays(inputs.columns)


def _answers(model: Any, rows: dict[str, Array], size: int) -> Array:
    """Returns a model's output for rows in batches of a size."""
    count = len(rows["title"])
    batches = [{name: tf.constant(values[at : at + size]) for name, values in rows.items()} for at in range(0, count, size)]
    return np.concatenate([np.asarray(model(batch, training=False)) for batch in batches])


@pytest.mark.parametrize("layers", ["kim_cnn", "bilstm", "transformer"])
def test_padding_batch_size_and_order_never_change_a_prediction(texts: Path, layers: str) -> None:
    model, rows = _saved_model(texts, layers, SHORT)
    rows = {name: values[:ROWS] for name, values in rows.items()}
    expected = _answers(model, rows, ROWS)
    assert np.ptp(expected) > 1e-3
    for size in (1, 3):
        np.testing.assert_allclose(_answers(model, rows, size), expected, rtol=0, atol=1e-6)
    order = np.random.default_rng(1).permutation(ROWS)
    shuffled = {name: values[order] for name, values in rows.items()}
    np.testing.assert_allclose(_answers(model, shuffled, 5), expected[order], rtol=0, atol=1e-6)
    longer, _ = _saved_model(texts, layers, LONG)
    longer.set_weights(model.get_weights())
    np.testing.assert_allclose(_answers(longer, rows, 3), expected, rtol=0, atol=1e-6)
