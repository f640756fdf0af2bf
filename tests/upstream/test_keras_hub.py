"""Workarounds for KerasHub: a test fails once its defect is fixed there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from presets import VOCABULARY, needs_text

from dlcli.runtime.keras_file import save_keras_file
from dlcli.upstream.keras_hub import import_tokenizers, saved_vocabularies

pytestmark = needs_text


@pytest.fixture
def model() -> Any:
    """A model from texts to numbers of tokens."""
    from dlcli.runtime.engine import keras

    models = import_tokenizers().models
    preprocessor = models.BertTextClassifierPreprocessor(models.BertTokenizer(list(VOCABULARY)), sequence_length=6)
    texts = keras.Input((), dtype="string", name="texts")
    return keras.Model(texts, preprocessor(texts)["token_ids"])


def test_keras_hub_cannot_load_a_model_with_a_tokenizer_inside(model: Any, tmp_path: Path) -> None:
    from dlcli.runtime.engine import keras

    model.save(tmp_path / "plain.keras")
    with pytest.raises(ValueError, match="No vocabulary has been set"):
        keras.saving.load_model(tmp_path / "plain.keras")
    save_keras_file(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    texts = keras.ops.convert_to_tensor(["the film was superb"])
    assert loaded(texts).numpy().tolist() == model(texts).numpy().tolist()


@pytest.mark.parametrize("kind", ["byte_pairs", "sentence_pieces"])
def test_other_tokenizers_are_saved_with_their_vocabulary_too(kind: str) -> None:
    tokenizers = import_tokenizers().tokenizers
    if kind == "byte_pairs":
        tokenizer = tokenizers.BytePairTokenizer(vocabulary={"a": 0, "b": 1, "ab": 2}, merges=["a b"])
    else:
        tokenizer = tokenizers.SentencePieceTokenizer(proto=_sentence_pieces())
    with saved_vocabularies():
        config = tokenizer.get_config()
    again = type(tokenizer).from_config(config)
    assert again.get_vocabulary() == tokenizer.get_vocabulary()
    assert "vocabulary" not in tokenizer.get_config() or tokenizer.get_config()["vocabulary"] is None


def _sentence_pieces() -> bytes:
    """Returns a small model of SentencePiece."""
    import io

    import sentencepiece

    content = io.BytesIO()
    words = [f"the film was {word}" for word in ("lovely", "superb", "awful", "dull", "long")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words), model_writer=content, vocab_size=28, hard_vocab_limit=False, minloglevel=2
    )
    return content.getvalue()
