"""Small presets of KerasHub and folders of Hugging Face, written by KerasHub itself or in the form of `transformers`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HAS_TEXT = find_spec("keras_hub") is not None and find_spec("tensorflow_text") is not None
needs_text = pytest.mark.skipif(not HAS_TEXT, reason="the extra `text` is not installed: no keras_hub or tensorflow_text")

WORDS = ("the", "film", "was", "one", "lovely", "superb", "awful", "dull", "##ly", "by", ".", "a")
VOCABULARY = ("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
"""Padding is not the first token, as in many presets."""
SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16, "max_sequence_length": 24, "dropout": 0.1}


def save_bert(folder: Path) -> Path:
    """Writes a preset of a small BERT with random weights, and returns its folder."""
    from dlcli.upstream.keras_hub import import_tokenizers

    models = import_tokenizers().models
    tokenizer = models.BertTokenizer(vocabulary=list(VOCABULARY), lowercase=True)
    backbone = models.BertBackbone(vocabulary_size=len(VOCABULARY), **SIZES)
    draw = np.random.default_rng(0)
    for weight in backbone.weights:
        if weight.path.endswith(("embeddings", "kernel")):
            weight.assign(0.5 * draw.normal(size=weight.shape))
    backbone.save_to_preset(str(folder))
    models.BertTextClassifierPreprocessor(tokenizer, sequence_length=12).save_to_preset(str(folder))
    return folder


def save_hugging_face_bert(preset: Path, folder: Path) -> Path:
    """Writes a preset of BERT as a folder of Hugging Face, with the names and shapes that `transformers` gives weights."""
    from safetensors.numpy import save_file

    from dlcli.upstream.keras_hub import import_tokenizers

    hub = import_tokenizers()
    network = hub.models.Backbone.from_preset(str(preset))
    settings = network.get_config()
    folder.mkdir()
    tokens = hub.models.Tokenizer.from_preset(str(preset)).get_vocabulary()
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}), encoding="utf-8")
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "vocab_size": settings["vocabulary_size"],
        "num_hidden_layers": settings["num_layers"], "num_attention_heads": settings["num_heads"],
        "hidden_size": settings["hidden_dim"], "intermediate_size": settings["intermediate_dim"],
        "hidden_dropout_prob": settings["dropout"], "max_position_embeddings": settings["max_sequence_length"],
        "type_vocab_size": settings["num_segments"],
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(_weights(network, settings["num_layers"], settings["hidden_dim"]), folder / "model.safetensors")
    return folder


def _weights(network: Any, layers: int, size: int) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the weights of a BERT of KerasHub by the names of `transformers`."""
    values = {weight.path: np.asarray(weight.numpy(), "float32") for weight in network.weights}

    def of(*parts: str) -> np.ndarray[Any, Any]:
        (path,) = (path for path in values if all(f"/{part}/" in f"/{path}/" for part in parts))
        return values[path]

    tensors = {
        "embeddings.word_embeddings.weight": of("token_embedding", "embeddings"),
        "embeddings.position_embeddings.weight": of("position_embedding", "embeddings"),
        "embeddings.token_type_embeddings.weight": of("segment_embedding", "embeddings"),
        "embeddings.LayerNorm.weight": of("embeddings_layer_norm", "gamma"),
        "embeddings.LayerNorm.bias": of("embeddings_layer_norm", "beta"),
        "pooler.dense.weight": of("pooled_dense", "kernel").T,
        "pooler.dense.bias": of("pooled_dense", "bias"),
    }
    for number in range(layers):
        layer, start = f"transformer_layer_{number}", f"encoder.layer.{number}."
        for name in ("query", "key", "value"):
            tensors[f"{start}attention.self.{name}.weight"] = of(layer, name, "kernel").reshape(size, size).T
            tensors[f"{start}attention.self.{name}.bias"] = of(layer, name, "bias").reshape(size)
        tensors[f"{start}attention.output.dense.weight"] = of(layer, "attention_output", "kernel").reshape(size, size).T
        tensors[f"{start}attention.output.dense.bias"] = of(layer, "attention_output", "bias")
        norms = {"attention.output": "self_attention_layer_norm", "output": "feedforward_layer_norm"}
        for theirs, ours in norms.items():
            tensors[f"{start}{theirs}.LayerNorm.weight"] = of(layer, ours, "gamma")
            tensors[f"{start}{theirs}.LayerNorm.bias"] = of(layer, ours, "beta")
        dense = {"intermediate": "feedforward_intermediate_dense", "output": "feedforward_output_dense"}
        for theirs, ours in dense.items():
            tensors[f"{start}{theirs}.dense.weight"] = of(layer, ours, "kernel").T
            tensors[f"{start}{theirs}.dense.bias"] = of(layer, ours, "bias")
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}
