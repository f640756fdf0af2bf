"""Tokenizers of saved models: they keep every token, also those with line ends."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from dlcli.runtime.keras_file import load_keras_file
from dlcli.runtime.tokens import TokenSettings, fitted_vocabulary, tokenizer
from dlcli.upstream.keras import import_keras

SEPARATORS = "\n\r\x0b\x0c\x1c\x85\u2028\u2029"


@pytest.mark.parametrize("split", ["whitespace", "character"])
def test_a_saved_tokenizer_keeps_tokens_with_separators_of_lines(
    tmp_path: Path, split: Literal["whitespace", "character"]
) -> None:
    keras = import_keras()
    texts = np.array([f"a{mark}b c{mark} d" for mark in SEPARATORS], dtype=object)
    settings = TokenSettings(100, 8, standardize=None, split=split)
    vocabulary = fitted_vocabulary(texts, settings)
    entry = keras.Input((1,), dtype="string")
    model = keras.Model(entry, tokenizer(vocabulary, settings)(entry))
    model.save(tmp_path / "model.keras")
    loaded = load_keras_file(tmp_path / "model.keras")
    expected = keras.ops.convert_to_numpy(model(texts[:, None]))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(loaded(texts[:, None])), expected)
    assert expected.max() == len(vocabulary) - 1
