"""The tokenizer of exports does exactly what Keras's layer does, for every text and every setting."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlcli.export.readme import write_tokenizer
from dlcli.runtime import text_tokens
from dlcli.runtime.engine import tf
from dlcli.runtime.text_tokens import Tokenizer
from dlcli.runtime.tokens import tokenizer as layer_of
from dlcli.spec.data.text import TextSettings

Split = Any
ODD = (
    "",
    " \t\n\v\f\r",
    "a\x1cb c\x85d\xa0e\u3000f\vg\fh\ri\0j",
    "Größe ÄÖ İı ǅ ΑΣ ſ K",
    "it's a \"test\", isn't-it? [UNK] {|}~`^_\\",
    "電影好看。 e\u0301 \ufeff\ufffe\uffff\U0010ffff\u2028 👩‍👩‍👧",
    "the the The THE film Film. a-b a_b 3.5",
)
WORDS = ("the", "film", "größe", "a", "b", "電", "影", "isnt", "it's", "the film", "film the", "a b c", "\u00a0", "İ", "!", " ")


def _pair(standardize: str, split: str, ngrams: int | None, length: int) -> tuple[Tokenizer, Any]:
    """Returns the tokenizer of exports and Keras's layer for the same settings."""
    spec = TextSettings(standardize=cast("Any", standardize), split=cast("Split", split), ngrams=ngrams, max_length=length)
    vocabulary = ("", "[UNK]", *WORDS)
    plain = Tokenizer(vocabulary, length, standardize, split, ngrams or 1)
    return plain, layer_of(vocabulary, spec.token_settings())


SETTINGS = list(itertools.product(text_tokens.STANDARDIZE, text_tokens.SPLITS, (None, 1, 3), (1, 7)))
PAIRS = {setting: _pair(*setting) for setting in SETTINGS[::5]}


@pytest.mark.parametrize("setting", SETTINGS)
def test_odd_texts_have_the_tokens_of_the_layer(setting: tuple[str, str, int | None, int]) -> None:
    plain, layer = PAIRS.get(setting) or _pair(*setting)
    np.testing.assert_array_equal(plain.numbers(ODD), layer(tf.constant([[text] for text in ODD])))


TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.lists(st.sampled_from([*WORDS, *" \t\n,.!Aa\0\x85\u3000"]), max_size=12).map("".join),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=20), st.sampled_from(list(PAIRS)))
def test_any_text_has_the_tokens_of_the_layer(texts: list[str], setting: tuple[str, str, int | None, int]) -> None:
    plain, layer = PAIRS[setting]
    np.testing.assert_array_equal(plain.numbers(texts), layer(tf.constant([[text] for text in texts])))


def test_the_program_needs_python_alone_and_prints_the_tokens(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, {"review": Tokenizer(("", "[UNK]", "film", "größe"), 4)})
    assert json.loads((tmp_path / "tokens.json").read_text())["settings"] == {
        "max_length": 4, "standardize": "lower_and_strip_punctuation", "split": "whitespace", "ngrams": 1,
    }  # fmt: skip
    program, tokens = str(tmp_path / "tokenizer.py"), str(tmp_path / "tokens.json")
    command = [sys.executable, "-I", "-S", program, tokens, "A Film, größe", ""]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env={"PYTHONIOENCODING": "utf-8"})
    assert done.stdout == "review ['a', 'film', 'größe'] [1, 2, 3, 0]\nreview [] [0, 0, 0, 0]\n"
