"""Padded sequences: what follows the last token of a text never changes an answer, in any layer that takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlcli.runtime.engine import keras
from dlcli.spec.model.layers import ShapeError
from dlcli.spec.model.layers.composite import masked_chain
from spec.members import UNIONS, sample

CHANNELS = 4
LENGTHS = (6, 5, 3, 1)
SETTINGS: dict[str, tuple[str, ...]] = {
    "dense": ("units: 3, activation: tanh",),
    "conv1d": (
        "filters: 3, kernel_size: 3",
        "filters: 3, kernel_size: 3, padding: same",
        "filters: 3, kernel_size: 2, strides: 2",
        "filters: 3, kernel_size: 2, padding: causal, dilation_rate: 2",
    ),
    "max_pooling1d": ("", "pool_size: 3, strides: 1", "pool_size: 2, padding: same"),
    "average_pooling1d": ("", "pool_size: 3, strides: 1", "pool_size: 2, padding: same"),
    "lstm": ("units: 3", "units: 3, return_sequences: true", "units: 3, go_backwards: true"),
    "bidirectional": ("layer: {kind: lstm, units: 3}", "layer: {kind: gru, units: 2, return_sequences: true}"),
    "transformer_encoder": (
        "intermediate_dim: 5, num_heads: 2",
        "intermediate_dim: 5, num_heads: 2, normalize_first: true",
    ),
    "batch_normalization": ("",),
    "layer_normalization": ("",),
    "residual": ("layers: [{kind: conv1d, filters: 4, kernel_size: 3, padding: same}]",),
    "branches": (
        "branches: [[{kind: conv1d, filters: 2, kernel_size: 2}, global_max_pooling1d],"
        " [{kind: conv1d, filters: 2, kernel_size: 3}, global_max_pooling1d]]",
        "branches: [[], [{kind: conv1d, filters: 2, kernel_size: 3, padding: same}]]",
    ),
    "rescaling": ("scale: 2.0, offset: 1.0",),
    "activation": ("activation: tanh",),
}
SAME_LENGTH = {"flatten", "position_embedding"}
"""Layers whose weights depend on the number of steps, so that only the content of the padding can change."""


def _takers() -> list[tuple[str, str]]:
    layers = [kind for kind in UNIONS["Layer"].kinds if kind in SETTINGS or not sample("Layer", kind).fault_of_padding()]
    return [(kind, fields) for kind in layers for fields in SETTINGS.get(kind, ("",))]


def _model(layers: list[Any], steps: int) -> Any:
    keras.utils.set_random_seed(0)
    entry, lengths = keras.Input((steps, CHANNELS)), keras.Input((), dtype="int32")
    mask = keras.ops.less(keras.ops.arange(steps)[None, :], lengths[:, None])
    tensor, mask = masked_chain(layers, entry, mask)
    if mask is not None:
        tensor, _ = sample("Layer", "global_average_pooling1d").apply_masked(tensor, mask)
    return keras.Model([entry, lengths], tensor)


@pytest.mark.parametrize(("kind", "fields"), _takers())
def test_padding_never_changes_an_answer(kind: str, fields: str) -> None:
    layer, random = sample("Layer", kind, fields), np.random.default_rng(0)
    values = random.normal(size=(len(LENGTHS), 12, CHANNELS)).astype("float32")
    lengths = np.array(LENGTHS)
    model = _model([layer], 12)
    expected = np.asarray(model([values, lengths]))
    is_padding = np.arange(12)[None, :] >= lengths[:, None]
    other = np.where(is_padding[..., None], random.normal(size=values.shape) * 100, values).astype("float32")
    np.testing.assert_allclose(np.asarray(model([other, lengths])), expected, atol=1e-6)
    assert np.isfinite(expected).all()
    if kind not in SAME_LENGTH:
        shorter = _model([layer], 8)
        shorter.set_weights(model.get_weights())
        np.testing.assert_allclose(np.asarray(shorter([values[:, :8], lengths])), expected, atol=1e-6)
    one = np.concatenate([np.asarray(model([values[at : at + 1], lengths[at : at + 1]])) for at in range(len(LENGTHS))])
    np.testing.assert_allclose(one, expected, atol=1e-6)


def test_the_content_of_a_text_does_change_its_answer() -> None:
    """The test above would pass for layers that ignore their inputs."""
    random = np.random.default_rng(0)
    values = random.normal(size=(2, 12, CHANNELS)).astype("float32")
    for kind, fields in _takers():
        if "dropout" in kind or kind == "gaussian_noise":
            continue
        model = _model([sample("Layer", kind, fields)], 12)
        first, second = np.asarray(model([values, np.array([5, 5])]))
        assert np.abs(first - second).max() > 1e-4, kind


def test_a_text_without_tokens_has_a_finite_answer() -> None:
    values = np.ones((2, 6, CHANNELS), "float32")
    for kind in ("global_max_pooling1d", "global_average_pooling1d", "attention_pooling", "lstm", "attention", "conv1d"):
        answers = np.asarray(_model([sample("Layer", kind)], 6)([values, np.array([0, 6])]))
        assert np.isfinite(answers).all(), kind


def test_layers_without_a_rule_name_themselves_and_axes_of_steps_are_refused() -> None:
    assert sample("Layer", "reshape").fault_of_padding() == "reshape"
    assert sample("Layer", "branches", "branches: [[], [{kind: reshape, target_shape: [-1]}]]").fault_of_padding() == "reshape"
    for kind in ("batch_normalization", "layer_normalization"):
        with pytest.raises(ShapeError, match="`axis: 1` is that of the steps"):
            _model([sample("Layer", kind, "axis: 1")], 6)
