"""Layers: the shape that `check` works out is the one Keras gives, and what they build needs nothing of dlcli."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import run_plain

from dlcli.runtime.precision import half_work
from dlcli.spec.model.layers import LayerSpec, ShapeError
from spec.members import UNIONS, sample

IMAGES = ((9, 8, 4), (12, 12, 3))
VOLUMES = ((5, 6, 4, 2),)
SERIES = ((10, 4), (7, 3))
ROWS = ((6,),)
_WINDOWS_2D = (
    "kernel_size: 3",
    "kernel_size: [2, 3], padding: same",
    "kernel_size: 2, strides: 2",
    "kernel_size: 3, strides: 3, padding: same",
    "kernel_size: 3, dilation_rate: 2",
    "kernel_size: [3, 1], dilation_rate: [2, 1], padding: same",
)
_WINDOWS_1D = (
    "kernel_size: 3",
    "kernel_size: 3, padding: same, strides: 2",
    "kernel_size: 2, strides: 3",
    "kernel_size: 3, dilation_rate: 2",
    "kernel_size: 3, padding: causal, dilation_rate: 2",
)
_POOLS = ("", "pool_size: 3, strides: 1", "pool_size: 3, padding: same", "pool_size: 2, strides: 3, padding: same")
_RESIDUAL = "{kind: conv2d, filters: 5, kernel_size: 3, padding: same, strides: %d}"
FIELDS: dict[str, tuple[str, ...]] = {
    "conv2d": tuple(f"filters: 4, {window}" for window in (*_WINDOWS_2D, "kernel_size: 1, activation: binary_step")),
    "depthwise_conv2d": tuple(f"{window}, depth_multiplier: 2" for window in (*_WINDOWS_2D, "kernel_size: 2, strides: [1, 2]")),
    "separable_conv2d": tuple(f"filters: 4, {window}" for window in _WINDOWS_2D),
    "conv1d": tuple(f"filters: 4, {window}" for window in _WINDOWS_1D),
    "conv3d": tuple(
        f"filters: 4, {window}"
        for window in (
            "kernel_size: 3",
            "kernel_size: [2, 3, 1], padding: same",
            "kernel_size: 2, strides: [1, 2, 3]",
            "kernel_size: 3, strides: 2, padding: same",
            "kernel_size: 2, dilation_rate: [2, 1, 1], groups: 2",
        )
    ),
    "max_pooling3d": ("", "pool_size: 3, strides: 1", "pool_size: [1, 2, 3], padding: same"),
    "global_average_pooling3d": ("", "keepdims: true"),
    "zero_padding2d": ("", "padding: [2, 1]"),
    "max_pooling2d": (*_POOLS, "pool_size: [1, 4]"),
    "average_pooling2d": _POOLS,
    "global_average_pooling2d": ("", "keepdims: true"),
    "global_max_pooling2d": ("", "keepdims: true"),
    "max_pooling1d": _POOLS,
    "average_pooling1d": _POOLS,
    "simple_rnn": ("units: 3", "units: 2, return_sequences: true, go_backwards: true"),
    "lstm": ("units: 3", "units: 2, return_sequences: true, unit_forget_bias: false"),
    "gru": ("units: 3", "units: 2, return_sequences: true, activation: relu"),
    "bidirectional": (
        "layer: {kind: lstm, units: 3}",
        "layer: {kind: gru, units: 2, return_sequences: true}, merge_mode: sum",
    ),
    "multi_head_attention": ("num_heads: 2, key_dim: 3",),
    "attention": ("", "dropout: 0.2"),
    "attention_pooling": ("", "units: 5"),
    "transformer_encoder": (
        "intermediate_dim: 5, num_heads: 1, dropout: 0.1",
        "intermediate_dim: 5, num_heads: 1, normalize_first: true, activation: gelu",
    ),
    "batch_normalization": ("", "axis: 1"),
    "layer_normalization": ("", "axis: 1"),
    "prelu": ("", "shared_axes: [1]"),
    "reshape": ("target_shape: [-1]", "target_shape: [1, -1]"),
    "dense": ("units: 3", "units: 2, activation: softmax, kernel_regularizer: l2, bias_constraint: non_neg"),
    "maxout": ("units: 3", "units: 2, pieces: 4"),
    "residual": (f"layers: [{_RESIDUAL % 1}]", f"layers: [{_RESIDUAL % 2}], activation: relu"),
    "squeeze_excite": ("", "ratio: 2"),
}


def _cases() -> list[tuple[str, str, tuple[int, ...]]]:
    layers = UNIONS["Layer"].kinds
    cases = []
    for kind, member in layers.items():
        rank = 3 if kind in ("residual", "branches") else getattr(member, "rank", 0)
        shapes = {4: VOLUMES, 3: IMAGES, 2: SERIES, 1: ROWS, 0: (*IMAGES, *SERIES, *ROWS)}[rank]
        shapes = tuple(shape for shape in shapes if not (kind == "dense" and len(shape) == 3))
        cases += [(kind, fields, shape) for fields in FIELDS.get(kind, ("",)) for shape in shapes]
    return cases


def _model(layer: Any, shape: tuple[int, ...]) -> Any:
    import keras

    inputs = keras.Input(shape)
    return keras.Model(inputs, layer.apply(inputs))


@pytest.mark.parametrize(("kind", "fields", "shape"), _cases(), ids=str)
def test_output_shape_is_the_one_keras_gives(kind: str, fields: str, shape: tuple[int, ...]) -> None:
    import keras

    layer = sample("Layer", kind, fields)
    assert tuple(layer.apply(keras.Input(shape)).shape[1:]) == layer.output_shape(shape)


@pytest.mark.parametrize(("kind", "fields", "shape"), _cases(), ids=str)
def test_multiply_adds_are_at_least_those_of_the_layers_that_keras_builds(
    kind: str, fields: str, shape: tuple[int, ...]
) -> None:
    layer = sample("Layer", kind, fields)
    model = _model(layer, shape)
    work = half_work(model, model.layers).multiply_adds
    count = layer.multiply_adds(shape)
    if kind in ("conv1d", "conv2d", "dense", "residual", "branches") and "groups" not in fields:
        assert count == work
    elif count is None:
        assert kind in ("maxout", "squeeze_excite", "prelu")
    else:
        assert count >= work


def test_residual_over_series_and_rows() -> None:
    import keras

    for shape, inner in (
        ((10, 4), "{kind: conv1d, filters: 6, kernel_size: 3, padding: same}"),
        ((6,), "{kind: dense, units: 3}"),
    ):
        layer = sample("Layer", "residual", f"layers: [{inner}]")
        assert tuple(layer.apply(keras.Input(shape)).shape[1:]) == layer.output_shape(shape)


REFUSED = [
    ("conv2d", "filters: 4, kernel_size: 10", (9, 8, 3)),
    ("conv2d", "filters: 4, kernel_size: 4, dilation_rate: 3", (9, 9, 3)),
    ("conv2d", "filters: 4, kernel_size: 3, strides: 2, dilation_rate: 2", (9, 9, 3)),
    ("conv2d", "filters: 4, kernel_size: 3, groups: 2", (9, 9, 3)),
    ("conv1d", "filters: 4, kernel_size: 3, strides: 2, dilation_rate: 2", (9, 3)),
    ("conv1d", "filters: 4, kernel_size: 12", (9, 3)),
    ("max_pooling2d", "pool_size: 10", (9, 9, 3)),
    ("average_pooling1d", "pool_size: 10", (9, 3)),
    ("reshape", "target_shape: [4, 2]", (6,)),
    ("reshape", "target_shape: [4, -1]", (6,)),
    ("batch_normalization", "axis: 3", (6,)),
    ("layer_normalization", "axis: 2", (6,)),
    ("prelu", "shared_axes: [2]", (6,)),
]


@pytest.mark.parametrize(("kind", "fields", "shape"), REFUSED, ids=str)
def test_what_keras_cannot_build_is_refused_without_keras(kind: str, fields: str, shape: tuple[int, ...]) -> None:
    import keras

    layer = sample("Layer", kind, fields)
    with pytest.raises(ShapeError):
        layer.output_shape(shape)
    with pytest.raises((ValueError, IndexError)):
        layer.apply(keras.Input(shape))


def test_a_layer_that_wants_an_image_says_what_it_gets_and_what_to_do() -> None:
    with pytest.raises(ShapeError, match="put `flatten` or `global_average_pooling2d` before it"):
        sample("Layer", "maxout", "units: 3").output_shape((3, 3, 2))


def test_a_residual_fits_volumes_by_a_projection() -> None:
    import keras

    for strides in (1, 2):
        inner = f"layers: [{{kind: conv3d, filters: 5, kernel_size: 3, padding: same, strides: {strides}}}]"
        layer = sample("Layer", "residual", inner)
        assert tuple(layer.apply(keras.Input(VOLUMES[0])).shape[1:]) == layer.output_shape(VOLUMES[0])


WRONG_RANKS = [
    ("conv3d", (6,), "needs a volume `(depth, height, width, channels)`, but gets shape (6,); put a `reshape` before it, or"
     " move it before the `flatten`"),
    ("conv3d", (6, 6, 1), "needs a volume `(depth, height, width, channels)`, but gets shape (6, 6, 1)"),
    ("conv2d", (6, 6, 6, 1), "needs an image `(height, width, channels)`, but gets shape (6, 6, 6, 1); the three-dimensional"
     " kind is `conv3d` or `...pooling3d`"),
    ("conv1d", (6, 6, 1), "needs a series `(steps, channels)`, but gets shape (6, 6, 1); the two-dimensional kind is `conv2d`"
     " or `...pooling2d`"),
    ("conv2d", (2, 3, 4, 5, 1), "needs an image `(height, width, channels)`, but gets shape (2, 3, 4, 5, 1)"),
    ("maxout", (6, 6, 6, 1), "needs a row of features `(features,)`, but gets shape (6, 6, 6, 1); put `flatten` or"
     " `global_average_pooling3d` before it"),
    ("maxout", (2, 3, 4, 5, 1), "needs a row of features `(features,)`, but gets shape (2, 3, 4, 5, 1); put `flatten` before"
     " it"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "shape", "words"), WRONG_RANKS, ids=str)
def test_an_example_of_another_rank_is_refused_in_words(kind: str, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ShapeError) as raised:
        sample("Layer", kind).output_shape(shape)
    assert str(raised.value) == words


def test_a_layer_of_a_rank_that_has_no_name_is_refused_in_words() -> None:
    class Rank5(LayerSpec):
        rank: ClassVar[int] = 5

    with pytest.raises(ShapeError, match=r"^needs an example of 5 dimensions, but gets shape \(3, 3, 1\)$"):
        Rank5().output_shape((3, 3, 1))


LOAD = """
import sys
import keras
import numpy as np
data = np.load(sys.argv[2])
model = keras.saving.load_model(sys.argv[1])
np.testing.assert_array_equal(model.predict(data["x"], verbose=0), data["y"])
assert not any(name.split(".")[0] == "dlcli" for name in sys.modules)
"""


def test_composites_load_with_plain_keras_and_give_the_same_output(tmp_path: Path) -> None:
    import keras
    import numpy as np

    tensor = inputs = keras.Input((8, 8, 3))
    for kind, fields in (
        ("residual", f"layers: [{_RESIDUAL % 2}, batch_normalization], activation: relu"),
        ("branches", "branches: [[], [{kind: conv2d, filters: 2, kernel_size: 1}]]"),
        ("squeeze_excite", "ratio: 2"),
        ("flatten", ""),
        ("maxout", "units: 6, pieces: 3"),
        ("dense", "units: 4, activation: binary_step"),
    ):
        tensor = sample("Layer", kind, fields).apply(tensor)
    model = keras.Model(inputs, tensor)
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, y=model.predict(x, verbose=0))
    done = run_plain(LOAD, tmp_path / "model.keras", tmp_path / "data.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_maxout_is_the_largest_of_its_linear_pieces() -> None:
    import numpy as np

    model = _model(sample("Layer", "maxout", "units: 2, pieces: 3"), (4,))
    x = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")
    kernel, bias = model.get_weights()
    pieces = (x @ kernel + bias).reshape(5, 2, 3)
    np.testing.assert_allclose(model.predict(x, verbose=0), pieces.max(axis=2), rtol=1e-5, atol=1e-6)


def test_squeeze_excite_weighs_channels_between_nothing_and_all() -> None:
    import numpy as np

    model = _model(sample("Layer", "squeeze_excite", "ratio: 2"), (4, 4, 6))
    x = np.ones((1, 4, 4, 6), "float32")
    weights = model.predict(x, verbose=0)
    assert ((weights > 0) & (weights < 1)).all()
    assert (weights == weights[:, :1, :1]).all()
