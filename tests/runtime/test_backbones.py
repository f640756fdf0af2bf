"""Every backbone against Keras: it can be built, its scaling is Keras's, and its BatchNorm layers and blocks are right."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run_plain

import dlcli.spec.load  # noqa: F401  (registers every union)
from dlcli.errors import DataError
from dlcli.runtime.engine import keras
from dlcli.runtime.layers import single_layers
from dlcli.spec.base import OneOf
from dlcli.spec.model.backbones.applications import ROWS

QUICK = ["mobilenet", "mobilenet_v3_small", "vgg16", "resnet50", "densenet121", "convnext_tiny"]


def backbone(kind: str, **fields: Any) -> Any:
    """Returns a backbone's spec."""
    return OneOf.registry["Backbone"].validate({"kind": kind, "weights": "none", **fields})


def weights_file() -> Path:
    """Returns the real weights of MobileNet at alpha 0.25."""
    data = os.environ.get("DLCLI_TEST_DATA")
    if not data:
        pytest.skip("DLCLI_TEST_DATA is not set: no pretrained weights")
    return Path(data, "weights", "mobilenet_2_5_224_tf_no_top.h5")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in ROWS])
def test_every_backbone_agrees_with_keras(kind: str) -> None:
    keras.utils.clear_session()
    row = ROWS[kind]
    shape = (row.smallest, row.smallest, 3)
    spec = backbone(kind, input_size=list(shape[:2]))
    model = spec.build(shape)
    assert spec.example_shape() == shape
    assert model.output_shape[1:] == spec.features(shape)
    _scales_as_keras(spec, row)
    _holds_every_layer_once_in_order(spec.blocks(model), model, row)
    assert backbone(kind).example_shape() == (row.size, row.size, 3)
    less = row.smallest - 1
    with pytest.raises(ValueError, match=r"(at least|smaller than) \d+"):
        backbone(kind).build((less, less, 3))


def _holds_every_layer_once_in_order(blocks: list[tuple[str, list[Any]]], model: Any, row: Any) -> None:
    layers = [layer for _, block in blocks for layer in block]
    assert list(map(id, layers)) == [id(layer) for layer in single_layers(model)]
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == row.batch_norms
    assert len(blocks) >= 5
    # Every block has trainable weights even if its BatchNorm layers are frozen.
    assert all(any(layer.trainable_weights for layer in block if layer not in norms) for _, block in blocks)


def _scales_as_keras(spec: Any, row: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    entry = keras.Input((8, 8, 3))
    scaled = np.asarray(keras.Model(entry, spec.preprocess(entry))(images))
    expected = import_module(f"keras.applications.{row.module}").preprocess_input(images.copy())
    np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=2e-5)
    assert (row.scaling == "inside") == bool((expected == images).all())


def test_the_default_input_size_is_that_of_the_weights() -> None:
    """Keras's constructors use their default size only if no shape is given."""
    for kind in ("mobilenet_v2", "efficientnet_b1", "inception_v3"):
        keras.utils.clear_session()
        model = getattr(keras.applications, ROWS[kind].name)(weights=None)
        assert model.input_shape[1:] == backbone(kind).example_shape()


@pytest.mark.parametrize(
    ("kind", "alpha"),
    [
        ("mobilenet", 0.25),
        ("mobilenet_v2", 0.35),
        ("mobilenet_v2", 1.4),
        ("mobilenet_v3_small", 0.75),
        ("mobilenet_v3_large", 0.75),
    ],
)
def test_alpha_scales_the_features_as_keras_does(kind: str, alpha: float) -> None:
    keras.utils.clear_session()
    spec = backbone(kind, alpha=alpha)
    assert spec.build((32, 32, 3)).output_shape[1:] == spec.features((32, 32, 3))


@pytest.mark.parametrize("kind", ["mobilenet", "resnet50", "densenet121"])
def test_scaling_is_exact_under_mixed_precision(kind: str) -> None:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        _scales_as_keras(backbone(kind), ROWS[kind])
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_every_scaling_of_pixels_loads_in_plain_keras(tmp_path: Path) -> None:
    for kind in ("mobilenet", "resnet50", "densenet121"):
        keras.utils.clear_session()
        entry = keras.Input((8, 8, 3))
        _save_with_output(keras.Model(entry, backbone(kind).preprocess(entry)), tmp_path / kind)
    _opens_without_dlcli(tmp_path)


@pytest.mark.parametrize(
    "kind",
    ["mobilenet", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("convnext_tiny", "inception_resnet_v2"))],
)
def test_a_model_with_its_scaling_loads_in_plain_keras(kind: str, tmp_path: Path) -> None:
    keras.utils.clear_session()
    spec, side = backbone(kind), ROWS[kind].smallest
    entry = keras.Input((side, side, 3))
    _save_with_output(keras.Model(entry, spec.build((side, side, 3))(spec.preprocess(entry))), tmp_path / kind)
    _opens_without_dlcli(tmp_path)


def _save_with_output(model: Any, path: Path) -> None:
    model.save(path.with_suffix(".keras"))
    images = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:])).astype("float32")
    np.savez(path.with_suffix(".npz"), images=images, output=np.asarray(model(images, training=False)))


def _opens_without_dlcli(folder: Path) -> None:
    """Loads every model of a folder in a process without dlcli, and compares its output."""
    code = (
        "import sys; sys.modules['dlcli'] = None\n"
        "import glob, keras, numpy as np\n"
        "for path in glob.glob('*.keras'):\n"
        "    expected = np.load(path.replace('.keras', '.npz'))\n"
        "    output = keras.saving.load_model(path)(expected['images'], training=False)\n"
        "    assert (np.asarray(output) == expected['output']).all()\n"
        "    print(path)"
    )
    done = run_plain(code, cwd=folder)
    assert sorted(done.stdout.split()) == sorted(path.name for path in folder.glob("*.keras")), done.stderr[-2000:]


def test_weights_from_a_file_equal_those_that_keras_loads() -> None:
    path = weights_file()
    ours = backbone("mobilenet", alpha=0.25, weights=str(path)).build((224, 224, 3))
    theirs = keras.applications.MobileNet(weights=str(path), include_top=False, alpha=0.25, input_shape=(224, 224, 3))
    assert all((weight.numpy() == other.numpy()).all() for weight, other in zip(ours.weights, theirs.weights, strict=True))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 224, 224, 3)).astype("float32")
    pooled = np.asarray(theirs(images, training=False)).mean(axis=(1, 2))
    np.testing.assert_allclose(np.asarray(ours(images, training=False)), pooled, rtol=1e-4, atol=1e-5)


def test_weights_of_another_alpha_are_refused_with_the_shapes() -> None:
    with pytest.raises(DataError, match=r"does not fit mobilenet .*\(3, 3, 3, 16\).*\(3, 3, 3, 8\)"):
        backbone("mobilenet", alpha=0.5, weights=str(weights_file())).build((32, 32, 3))


def test_weights_with_a_top_load_without_it(tmp_path: Path) -> None:
    source = keras.applications.MobileNet(alpha=0.25, weights=None, input_shape=(32, 32, 3), classes=7)
    source.save_weights(tmp_path / "top.weights.h5")
    loaded = backbone("mobilenet", alpha=0.25, weights=str(tmp_path / "top.weights.h5")).build((32, 32, 3))
    below = source.weights[: len(loaded.weights)]
    assert all((weight.numpy() == other.numpy()).all() for weight, other in zip(loaded.weights, below, strict=True))


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_weights_are_read_from_files_of_keras_3(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"own{ending}"
    source = backbone("mobilenet", alpha=0.25).build((32, 32, 3))
    source.save_weights(path) if ending == ".weights.h5" else source.save(path)
    loaded = backbone("mobilenet", alpha=0.25, weights=str(path)).build((32, 32, 3))
    assert all((weight.numpy() == other.numpy()).all() for weight, other in zip(loaded.weights, source.weights, strict=True))


@pytest.mark.parametrize("ending", [".weights.h5", ".keras", ".h5"])
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"other{ending}"
    if ending == ".h5":
        path.write_bytes(b"not an HDF5 file")
    else:
        source = backbone("mobilenet", alpha=0.5).build((32, 32, 3))
        source.save_weights(path) if ending == ".weights.h5" else source.save(path)
    with pytest.raises(DataError, match=r"does not fit mobilenet") as raised:
        backbone("mobilenet", alpha=0.25, weights=str(path)).build((32, 32, 3))
    assert str(path) in str(raised.value)


def test_missing_weights_are_an_error_with_their_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(DataError, match="--offline forbids it") as raised:
        backbone("mobilenet_v2", weights="imagenet").build((224, 224, 3), offline=True)
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5" in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_failed_download_of_weights_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="could not be downloaded"):
        backbone("vgg16", weights="imagenet").build((32, 32, 3))


def test_efficientnet_rescales_twice_only_with_imagenet_weights(tmp_path: Path) -> None:
    """With ImageNet's weights Keras rescales once more, by a layer without weights that checks of shapes do not notice."""

    def scalings(spec: Any, **options: Any) -> int:
        model = spec.build((32, 32, 3), **options)
        return sum(isinstance(layer, keras.layers.Rescaling) for layer in model.layers)

    path = tmp_path / "own.weights.h5"
    backbone("efficientnet_b0").build((32, 32, 3)).save_weights(path)
    assert scalings(backbone("efficientnet_b0")) == 1
    assert scalings(backbone("efficientnet_b0", weights="imagenet"), load_weights=False) == 2
    assert scalings(backbone("efficientnet_b0", weights=str(path))) == 2
