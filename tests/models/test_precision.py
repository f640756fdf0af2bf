"""`hardware.precision: auto` on processors with units for bfloat16: the flags of other processors are stand-ins."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from trainings import SMALL_CNN, Heard, column, save_images, save_rows, trained, write_spec

from dlcli.models.network import shape_model
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.runtime import precision
from dlcli.runtime.engine import keras
from dlcli.runtime.layers import single_layers
from dlcli.runtime.precision import half_layers, half_unit, half_work
from dlcli.spec.load import load

pytestmark = pytest.mark.usefixtures("without_pictures")

IMAGES = "{kind: npz, path: images.npz}"
CONVOLUTIONS = "{kind: conv2d, filters: 64, kernel_size: 3, activation: relu, padding: same}"
LARGE_CNN = f"{{kind: cnn, layers: [{CONVOLUTIONS}, {CONVOLUTIONS}, flatten, {{kind: dense, units: 32, activation: relu}}]}}"
"""On 8x8 images, 2.5 million multiply-adds for an example: 162 million in a batch of 64."""
BATCHES = "batch_size: 64"


@pytest.fixture
def with_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Makes this processor one that has AMX, or another unit by its flag, and returns the flag."""
    unit: str = getattr(request, "param", "amx_bf16")
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nmodel name\t: A\nflags\t\t: fpu sse2 {unit} avx2\nflags_of_others : amx_bf16\n")
    monkeypatch.setattr(precision, "_PROCESSOR_FILE", str(file))
    return unit


def write_large(folder: Path, model: str = LARGE_CNN, **sections: str) -> Path:
    """Writes a spec whose model is large enough for bfloat16, and its images."""
    save_images(folder / "images.npz", examples=120)
    return write_spec(folder, IMAGES, model=model, **({"data": BATCHES, "training": "epochs: 2"} | sections))


def decided(spec: Path, overrides: tuple[str, ...] = ()) -> tuple[RunFolder, str]:
    """Trains a spec; returns the run and the reason that was given for its precision, empty if none was."""
    heard = Heard()
    run = trained(spec, overrides, heard)
    return run, next((line.removeprefix("precision: ") for line in heard.lines if line.startswith("precision: ")), "")


@pytest.mark.parametrize("with_unit", ["amx_bf16", "avx512_bf16", "amx_int8"], indirect=True)
def test_the_processor_says_whether_it_has_a_unit_for_bfloat16(with_unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert half_unit() == ("" if with_unit == "amx_int8" else with_unit)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert half_unit() == ""


def test_a_machine_without_a_file_of_its_processors_has_no_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_PROCESSOR_FILE", str(tmp_path / "none"))
    assert half_unit() == ""


@pytest.mark.usefixtures("with_unit")
def test_a_large_network_trains_in_bfloat16_and_its_saved_model_is_float32(tmp_path: Path) -> None:
    run, reason = decided(write_large(tmp_path))
    assert reason.startswith("mixed_bfloat16: convolutions and dense layers compute in bfloat16 (amx_bf16; 162 million")
    assert run.experiment().hardware.precision == run.environment()["precision"] == "mixed_bfloat16"
    with zipfile.ZipFile(run.model_path) as archive:
        assert b"bfloat16" not in archive.read("config.json")
    model = keras.saving.load_model(run.model_path, compile=False)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    table = read_table(run.evaluation("test") / "predictions.csv")
    with np.load(tmp_path / "images.npz") as data:
        images = data["x"][[int(str(row["id"]).rpartition("/")[2]) for row in table]]
    written = [[float(row[f"p_{label}"]) for label in range(4)] for row in table]
    assert np.abs(model.predict(images, verbose=0) - written).max() < 1e-6
    in_float32, reason = decided(write_large(tmp_path), ("hardware.precision=float32",))
    assert not reason
    assert in_float32.experiment().hardware.precision == "float32"
    difference = np.abs(np.array(column(run, "loss")) - np.array(column(in_float32, "loss")))
    assert 1e-6 < difference.max() < 0.05  # it was trained in another precision, to a similar loss


@pytest.mark.usefixtures("with_unit")
def test_the_resolved_spec_gives_the_same_bits_again(tmp_path: Path) -> None:
    run, _ = decided(write_large(tmp_path))
    again, reason = decided(run.spec_path)
    assert not reason
    assert column(again, "loss") == column(run, "loss")
    models = [keras.saving.load_model(each.model_path, compile=False) for each in (run, again)]
    first, second = (model.get_weights() for model in models)
    assert all(np.array_equal(left, right) for left, right in zip(first, second, strict=True))


FROM_A_RUN = "{{kind: transfer, backbone: {{kind: run, run: {run}}}}}"


@pytest.mark.usefixtures("with_unit")
@pytest.mark.parametrize(
    ("model", "sections", "reason"),
    [
        pytest.param(SMALL_CNN, {}, "pays from 50,000,000 multiply-adds a step; this model has 82,944", id="small"),
        pytest.param(
            f"{{kind: cnn, layers: [{', '.join([CONVOLUTIONS, '{kind: batch_normalization}'] * 3)}, flatten]}}",
            {},
            "pays from 300 multiply-adds per number that is converted between layers; this model has 1",
            id="many conversions",
        ),
        pytest.param(LARGE_CNN, {"more": "hardware: {xla: true}"}, "XLA compiles the steps", id="xla"),
        pytest.param(LARGE_CNN, {"task": "regression"}, "values need more digits than bfloat16 has", id="values"),
    ],
)
def test_a_model_for_which_it_does_not_pay_stays_in_float32(
    tmp_path: Path, model: str, sections: dict[str, str], reason: str
) -> None:
    run, words = decided(write_large(tmp_path, model, **({"training": "epochs: 1"} | sections)))
    assert words.startswith("float32: ")
    assert reason in words
    assert run.experiment().hardware.precision == run.environment()["precision"] == "float32"


@pytest.mark.usefixtures("with_unit")
def test_rows_that_are_not_scaled_stay_in_float32(tmp_path: Path) -> None:
    save_rows(tmp_path / "rows.npz")
    data, training = "normalize: none, batch_size: 64", "epochs: 1"
    spec = write_spec(tmp_path, "{kind: npz, path: rows.npz}", model="{kind: mlp, units: [8]}", data=data, training=training)
    assert decided(spec)[1] == "float32: the inputs are not scaled"


@pytest.mark.usefixtures("with_unit")
def test_a_frozen_backbone_stays_in_float32_and_an_unfrozen_one_does_not(tmp_path: Path) -> None:
    backbone, _ = decided(write_large(tmp_path))
    model = FROM_A_RUN.format(run=backbone.path)
    frozen = "stages: [{name: head, train: head, epochs: 1}]"
    assert decided(write_large(tmp_path, model, training=frozen, name="frozen"))[1] == "float32: the backbone is frozen"
    unfrozen = "stages: [{name: head, train: head, epochs: 1}, {name: all, train: all, epochs: 1}]"
    run, words = decided(write_large(tmp_path, model, training=unfrozen, name="unfrozen"))
    assert words.startswith("mixed_bfloat16: ")
    proofs = [stage["proof"] for stage in run.stages()]
    assert [proof["moved"] for proof in proofs] == [2, 8]


@pytest.mark.usefixtures("with_unit")
def test_several_devices_stay_in_float32(tmp_path: Path) -> None:
    from dlcli.runtime.device import _precision

    assert _precision("auto", [], shared=True) == "float32"
    assert _precision("auto", [], shared=False) == "auto"
    assert _precision("float32", [], shared=False) == "float32"


def test_multiply_adds_are_those_of_the_layers(tmp_path: Path) -> None:
    """LeNet-5: 117,600 and 240,000 in convolutions, 48,000 and 10,080 in dense layers; its softmax is not in bfloat16."""
    layers = (
        "{kind: conv2d, filters: 6, kernel_size: 5, activation: relu}, {kind: max_pooling2d, pool_size: 2},"
        "{kind: conv2d, filters: 16, kernel_size: 5, activation: relu}, {kind: max_pooling2d, pool_size: 2}, flatten,"
        "{kind: dense, units: 120, activation: relu}, {kind: dense, units: 84, activation: relu}"
    )
    save_images(tmp_path / "images.npz", side=32)
    experiment = load(write_spec(tmp_path, IMAGES, model=f"{{kind: cnn, layers: [{layers}]}}")).experiment
    network = shape_model(experiment, (32, 32, 1), 10)
    work = half_work(network.functional, half_layers(single_layers(network.functional)))
    assert work.multiply_adds == 117_600 + 240_000 + 48_000 + 10_080
    assert work.conversions == 32 * 32 + 84  # the image, and what the output layer takes


def test_layers_that_need_digits_stay_in_float32() -> None:
    layers = keras.layers
    float32 = [layers.BatchNormalization(), layers.Activation("softmax"), layers.DepthwiseConv2D(3), layers.Add()]
    half = [layers.Conv2D(4, 3), layers.Dense(4), layers.ReLU(), layers.MaxPooling2D(), layers.Conv2DTranspose(4, 3)]
    assert half_layers([*float32, *half]) == half
    assert half_layers([layers.Dense(4, activation="softmax"), layers.Dense(4, activation="log_softmax")]) == []
