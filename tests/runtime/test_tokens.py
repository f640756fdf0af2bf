"""Tokenizers of saved models: they keep every token, also those with line ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from dlcli.runtime.keras_file import load_keras_file
from dlcli.runtime.text_tokens import Tokenizer
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


MIXED = (
    "",
    "!?… \u3000",
    "The Größe, of GREAT things!! don't 電影OK好",
    "我爱iPhone15，真的",
    "カタカナとひらがなとABC",
    "สวัสดีครับ hello ฿5",
    "مرحبا، بالعالم می\u200cخواهم",
    "cafe\u0301 e\u0301! \u0301",
    "👨\u200d👩\u200d👧 ok❤\ufe0f👍good 🇩🇪",
    "नमस्ते दुनिया ශ්\u200dරී Ελλάδα–привет",
    "\U00020000電\U00020001 𝒳 a\0b \ufdd0 \u0378x",
    "ခင်ဗျား ສະບາຍດີ សួស្តី។",
    "片" * 3000 + " end",
    "longword" * 700 + " end",
)
PLAIN_KERAS = """
import json, sys, keras, numpy
texts = json.loads(sys.stdin.read())
model = keras.saving.load_model(sys.argv[1])
single = [model(numpy.array([[text]], dtype=object)).numpy()[0].tolist() for text in texts]
together = model(numpy.array(texts, dtype=object)[:, None]).numpy().tolist()
assert "dlcli" not in sys.modules
print(json.dumps([single, together, keras.ops.shape(model(numpy.array([[""], [""]], dtype=object)))]))
"""


def test_words_of_any_script_are_those_of_plain_python_when_plain_keras_loads_the_model(tmp_path: Path) -> None:
    keras = import_keras()
    settings = TokenSettings(500, 12, standardize="lower", split="unicode_words", ngrams=2)
    vocabulary = fitted_vocabulary(np.array(MIXED[::2], dtype=object), settings)
    entry = keras.Input((1,), dtype="string")
    keras.Model(entry, tokenizer(vocabulary, settings)(entry)).save(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < 1_000_000
    command = [sys.executable, "-I", "-c", PLAIN_KERAS, str(tmp_path / "model.keras")]
    done = subprocess.run(command, input=json.dumps(MIXED), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    expected = Tokenizer(vocabulary, 12, "lower", "unicode_words", 2).numbers(MIXED)
    assert json.loads(done.stdout) == [expected, expected, [2, 12]]
    assert any(1 in row for row in expected)
    assert any(max(row) > 1 and 1 not in row for row in expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't 電影OK好 3.5", ["don", "t", "電", "影", "OK", "好", "3", "5"]),
        ("ไทยABC ฿", ["ไ", "ท", "ย", "ABC"]),
        ("مرحبا، بالعالم", ["مرحبا", "بالعالم"]),
        ("👍 cafe\u0301 ❤\ufe0f so\u00adft", ["cafe\u0301", "soft"]),
        ("...", []),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert Tokenizer((), 9, "none", "unicode_words").tokens(text) == words
