"""Runs as backbones, from real trainings: plain runs, runs whose backbone is a run, and invalid choices."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import IRIS, outputs, save_images, trained, write_spec

from dlcli.errors import DataError
from dlcli.runs import RunFolder
from dlcli.runtime.engine import keras
from dlcli.spec.base import OneOf

pytestmark = pytest.mark.usefixtures("without_pictures")

IMAGES = "{kind: npz, path: images.npz}"
DATA = "batch_size: 16, split: {validation: 0.25, test: 0.25}"
CNN = (
    "{kind: cnn, layers: [{kind: conv2d, filters: 4, kernel_size: 3}, batch_normalization,"
    " {kind: activation, activation: relu}, flatten, {kind: dense, units: 6}]}"
)


def on(name: str) -> str:
    """Returns a model on the latest run of a name."""
    return f"{{kind: transfer, backbone: {{kind: run, run: runs/{name}}}, head: [{{kind: dense, units: 5}}]}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a run `low`, and a run `mid` with `low` as its backbone."""
    folder = tmp_path_factory.mktemp("run_backbones")
    save_images(folder / "images.npz", examples=96)
    trained(write_spec(folder, IMAGES, model=CNN, data=DATA, training="epochs: 1", name="low"))
    trained(write_spec(folder, IMAGES, model=on("low"), data=DATA, training="epochs: 1", name="mid"))
    return folder


def backbone(path: Path, until: str | None = None) -> Any:
    """Returns the spec of a run as backbone."""
    return OneOf.registry["Backbone"].validate({"kind": "run", "run": str(path), "until": until})


def saved(folder: Path, name: str) -> Path:
    """Returns the folder of the only run of a name."""
    (path,) = (folder / "runs" / name).glob("[!.]*")
    return path


def images() -> Any:
    """Returns images that are in no training data."""
    return np.random.default_rng(5).integers(0, 256, (4, 8, 8, 1)).astype("float32")


def layer_output(folder: Path, layer: str) -> Any:
    """Returns the output of a layer of the run `low` for the images, computed by plain Keras."""
    model = keras.saving.load_model(saved(folder, "low") / "model.keras", compile=False)
    return outputs(keras.Model(model.input, model.get_layer(layer).output), images())


@pytest.mark.parametrize("until", [None, "conv2d", "batch_normalization", "flatten", "dense"])
def test_a_run_as_backbone_computes_the_output_of_its_layer(folder: Path, until: str | None) -> None:
    keras.utils.clear_session()
    layer = next((name for name in _layers(folder) if until and name.startswith(until)), "")
    spec = backbone(saved(folder, "low"), layer or None)
    model = spec.build((8, 8, 1))
    assert list(spec.faults()) == []
    assert model.output_shape[1:] == spec.features((8, 8, 1))
    assert (outputs(model, images()) == layer_output(folder, layer or _layers(folder)[-2])).all()


def _layers(folder: Path) -> list[str]:
    model = keras.saving.load_model(saved(folder, "low") / "model.keras", compile=False)
    return [layer.name for layer in model.layers]


@pytest.mark.parametrize("until", [None, "backbone", "backbone/conv2d", "conv2d", "backbone/dense"])
def test_a_run_on_a_run_as_backbone_computes_the_output_of_the_first(folder: Path, until: str | None) -> None:
    keras.utils.clear_session()
    start = (until or "backbone").rpartition("/")[2]
    spec = backbone(saved(folder, "mid"), until)
    model = spec.build((8, 8, 1))
    layer = _layers(folder)[-2] if start == "backbone" else next(name for name in _layers(folder) if name.startswith(start))
    assert (outputs(model, images()) == layer_output(folder, layer)).all()
    assert spec.features((8, 8, 1)) in (None, model.output_shape[1:])
    blocks = spec.blocks(model)
    every = {id(weight) for _, layers in blocks for layer in layers for weight in layer.weights}
    assert every == {id(weight) for weight in model.weights}
    assert all(any(layer.weights for layer in layers) for _, layers in blocks)


def test_the_head_of_a_run_on_a_run_can_be_part_of_a_backbone(folder: Path) -> None:
    keras.utils.clear_session()
    spec = backbone(saved(folder, "mid"), "head/output")
    whole = keras.saving.load_model(saved(folder, "mid") / "model.keras", compile=False)
    assert (outputs(spec.build((8, 8, 1)), images()) == outputs(whole, images())).all()


def test_a_third_run_on_the_second_loads_in_plain_keras(folder: Path) -> None:
    run = trained(write_spec(folder, IMAGES, model=on("mid"), data=DATA, training="epochs: 1", name="top"))
    model = keras.saving.load_model(run.model_path, compile=False)
    (convolution, own) = (
        next(layer for layer in inner.layers if isinstance(layer, keras.layers.Conv2D))
        for inner in (_opened(model), keras.saving.load_model(saved(folder, "low") / "model.keras", compile=False))
    )
    assert (convolution.kernel.numpy() == own.kernel.numpy()).all()


def _opened(model: Any) -> Any:
    """Returns the innermost backbone."""
    inner = next((layer for layer in model.layers if layer.name == "backbone"), None)
    return model if inner is None else _opened(inner)


def test_a_run_with_a_fitted_classifier_serves_as_a_backbone(folder: Path) -> None:
    model = on("low").replace("[{kind: dense, units: 5}]", "{kind: logistic_regression}")
    run = trained(write_spec(folder, IMAGES, model=model, data=DATA, training="epochs: 1", name="fitted"))
    model = backbone(run.path).build((8, 8, 1))
    assert (outputs(model, images()) == layer_output(folder, _layers(folder)[-2])).all()


def test_a_run_on_rows_serves_as_a_backbone_for_rows(folder: Path) -> None:
    run = trained(write_spec(folder, IRIS, training="epochs: 1", name="rows"))
    spec = backbone(run.path)
    assert (spec.takes_images, spec.example_shape(), spec.features((4,))) == (False, (4,), (8,))
    assert spec.build((4,)).output_shape == (None, 8)


def test_runs_on_a_moved_run_still_load(folder: Path, tmp_path: Path) -> None:
    keras.utils.clear_session()
    shutil.copytree(folder / "runs", tmp_path / "runs")
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    (tmp_path / "runs" / "low").rename(moved)
    assert (outputs(backbone(moved).build((8, 8, 1)), images()) == layer_output(folder, _layers(folder)[-2])).all()
    there, here = (RunFolder(saved(root, "mid")).model_path for root in (tmp_path, folder))
    after, before = (outputs(keras.saving.load_model(path, compile=False), images()) for path in (there, here))
    assert (after == before).all()
    ((field, message),) = backbone(tmp_path / "runs" / "low").faults()
    assert (field, "there is no such folder" in message) == ("run", True)


def test_an_unknown_layer_is_an_error_with_a_suggestion(folder: Path) -> None:
    spec = backbone(saved(folder, "mid"), "con2d")
    ((field, message),) = spec.faults()
    assert field == "until"
    assert "did you mean backbone/conv2d" in message
    with pytest.raises(DataError, match=r"model\.backbone\.until: the run's model has no layer 'con2d'"):
        spec.build((8, 8, 1))


def test_an_ambiguous_layer_name_is_an_error_with_the_candidates(folder: Path) -> None:
    spec = backbone(saved(folder, "mid"), "dense")
    names = [message for field, message in spec.faults() if field == "until"]
    assert all("backbone/dense" in message and "head/dense" in message for message in names)
    assert len(names) == 1


def test_a_damaged_model_is_refused_with_its_path(folder: Path, tmp_path: Path) -> None:
    keras.utils.clear_session()
    with (
        zipfile.ZipFile(saved(folder, "low") / "model.keras") as archive,
        zipfile.ZipFile(tmp_path / "model.keras", "w") as damaged,
    ):
        for name in archive.namelist():
            damaged.writestr(name, b"damaged" if name.endswith(".h5") else archive.read(name))
    with pytest.raises(DataError, match="it is not loaded") as raised:
        backbone(tmp_path).build((8, 8, 1))
    assert str(tmp_path) in str(raised.value)


def test_code_in_a_model_is_not_run(tmp_path: Path) -> None:
    keras.utils.clear_session()
    entry = keras.Input((4,), name="features")
    lambda_layer = keras.layers.Lambda(lambda values: values + 1, name="code")
    keras.Model(entry, keras.layers.Dense(2, name="output")(lambda_layer(entry))).save(tmp_path / "model.keras")
    with pytest.raises(DataError, match=r"'Lambda'.* it is not loaded"):
        backbone(tmp_path).build((4,))
