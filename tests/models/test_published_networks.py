"""Networks of papers: their numbers of parameters, and small ones through training, saving, explanations and exports."""

from __future__ import annotations

import random
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.killing import assert_same_bits, train_with_kills
from conftest import run_plain
from trainings import bright_quarters, losses, outputs, save_series, trained, write_spec

from dlcli.explain import explain
from dlcli.export.export import export
from dlcli.export.formats import Format
from dlcli.models.describe import describe_spec
from dlcli.models.network import shape_model
from dlcli.runs import RunFolder
from dlcli.runtime.auxiliary_heads import WithAuxiliaryHeads
from dlcli.runtime.engine import keras, tf
from dlcli.spec.base import OneOf
from dlcli.spec.load import load

pytestmark = pytest.mark.usefixtures("without_pictures")

GREY, CIFAR, IMAGENET, ALEXNET = (28, 28, 1), (32, 32, 3), (224, 224, 3), (227, 227, 3)
slow = pytest.mark.slow
COUNTS = [
    # Of convolutions and biases as in LeCun et al. (1998), without weights in the poolings; of configs/lenet5.yaml.
    pytest.param("lenet", {}, GREY, 61_706, None),
    pytest.param("lenet", {}, (32, 32, 1), 61_706, None),
    pytest.param("lenet", {"variant": "course"}, GREY, 62_430, None),
    # He et al. (2016), table 6: 0.27, 0.46, 0.66, 0.85 and 1.7 million.
    pytest.param("resnet", {"variant": "resnet20"}, CIFAR, None, 269_722),
    pytest.param("resnet", {"variant": "resnet32"}, CIFAR, None, 464_154),
    pytest.param("resnet", {"variant": "resnet44"}, CIFAR, None, 658_586),
    pytest.param("resnet", {"variant": "resnet56"}, CIFAR, None, 853_018),
    pytest.param("resnet", {"variant": "resnet110"}, CIFAR, None, 1_727_962, marks=slow),
    # Huang et al. (2017), table 2: 1.0, 7.0, 0.8 and 25.6 million.
    pytest.param("densenet", {"variant": "densenet40"}, CIFAR, None, 1_019_722),
    pytest.param("densenet", {"variant": "densenet100"}, CIFAR, None, 6_979_642, marks=slow),
    pytest.param("densenet", {"variant": "densenet100_bc"}, CIFAR, None, 769_162, marks=slow),
    pytest.param("densenet", {"variant": "densenet190_bc"}, CIFAR, None, 25_624_430, marks=slow),
    pytest.param("googlenet", {}, IMAGENET, 6_998_552, None),
    pytest.param("alexnet", {}, ALEXNET, 62_378_344, None),
    pytest.param("alexnet", {"groups": 2}, ALEXNET, 60_965_224, None),
    pytest.param("zfnet", {}, IMAGENET, 62_357_608, None),
    # Those of torchvision and keras.applications.
    pytest.param("vgg", {"variant": "vgg11"}, IMAGENET, 132_863_336, None, marks=slow),
    pytest.param("vgg", {"variant": "vgg13"}, IMAGENET, 133_047_848, None, marks=slow),
    pytest.param("vgg", {"variant": "vgg16"}, IMAGENET, 138_357_544, None),
    pytest.param("vgg", {"variant": "vgg19"}, IMAGENET, 143_667_240, None, marks=slow),
    # 11,689,512 and 21,797,672 of torchvision, with a bias for each of 4,800 and 8,512 filters.
    pytest.param("resnet", {"variant": "resnet18"}, IMAGENET, None, 11_694_312),
    pytest.param("resnet", {"variant": "resnet34"}, IMAGENET, None, 21_806_184, marks=slow),
    pytest.param("resnet", {"variant": "resnet50"}, IMAGENET, 25_636_712, 25_583_592, marks=slow),
    pytest.param("resnet", {"variant": "resnet101"}, IMAGENET, 44_707_176, None, marks=slow),
    pytest.param("resnet", {"variant": "resnet152"}, IMAGENET, 60_419_944, None, marks=slow),
    pytest.param("densenet", {"variant": "densenet121"}, IMAGENET, 8_062_504, None, marks=slow),
    pytest.param("densenet", {"variant": "densenet169"}, IMAGENET, 14_307_880, None, marks=slow),
    pytest.param("densenet", {"variant": "densenet201"}, IMAGENET, 20_242_984, None, marks=slow),
]


def _built(kind: str, fields: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """Returns the built graph before the output; weights of zeros are made in a moment."""
    model: Any = OneOf.registry["Model"].validate({"kind": kind, "kernel_initializer": "zeros", **fields})
    entry = keras.Input(shape)
    return keras.Model(entry, model.apply(entry))


@pytest.mark.parametrize(("kind", "fields", "shape", "total", "trainable"), COUNTS)
def test_the_numbers_of_parameters_are_those_of_the_papers(
    kind: str, fields: dict[str, Any], shape: tuple[int, ...], total: int | None, trainable: int | None
) -> None:
    network = _built(kind, fields, shape)
    classes = 1000 if shape in (IMAGENET, ALEXNET) else 10
    output = (network.output.shape[-1] + 1) * classes
    if total is not None:
        assert sum(prod(weight.shape) for weight in network.weights) + output == total
    if trainable is not None:
        assert sum(prod(weight.shape) for weight in network.trainable_weights) + output == trainable


@slow
def test_googlenet_has_13_378_280_parameters_with_both_auxiliary_heads(tmp_path: Path) -> None:
    np.savez(tmp_path / "blank.npz", x=np.zeros((40, 224, 224, 3), "uint8"), y=np.arange(40) % 2)
    model = "{kind: googlenet, auxiliary_heads: true}"
    experiment = load(write_spec(tmp_path, "{kind: npz, path: blank.npz}", model=model)).experiment
    network = shape_model(experiment, IMAGENET, 1000)
    assert sum(prod(weight.shape) for weight in network.learner().weights) == 13_378_280
    assert network.whole.count_params() == 6_998_552


SMALL = {
    "lenet": (28, "alpha: 0.5"),
    "alexnet": (16, "variant: small, alpha: 0.05, groups: 2, units: [16], dropout: 0.1"),
    "zfnet": (12, "variant: small, alpha: 0.05, units: [16], dropout: 0.1"),
    "vgg": (28, "variant: vgg11, alpha: 0.05, units: [16], dropout: 0.1"),
    "googlenet": (12, "variant: small, alpha: 0.05, dropout: 0.1, auxiliary_heads: true"),
    "resnet": (8, "variant: resnet20, alpha: 0.25"),
    "densenet": (8, "variant: densenet40, growth_rate: 2, alpha: 0.5"),
}
"""A small network of each kind, with the side of its images."""
QUICK = ("lenet", "alexnet")
"""Kinds of few layers; the graphs of the others take ten seconds or more to make."""
each_kind = pytest.mark.parametrize("kind", [pytest.param(kind, marks=[] if kind in QUICK else [slow]) for kind in SMALL])


PLAIN_PREDICTION = """
import sys, keras, numpy as np
assert not [name for name in sys.modules if name.startswith("dlcli")]
np.save("answers.npy", keras.saving.load_model(sys.argv[1])(np.load("images.npy")))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("published")


def _spec(folder: Path, kind: str, epochs: int = 4) -> Path:
    side, fields = SMALL[kind]
    images, labels = bright_quarters(96, side=side)
    np.savez(folder / f"{kind}.npz", x=images, y=labels)
    training = f"epochs: {epochs}, checkpoint_minutes: 0.001, optimizer: {{kind: adam, learning_rate: 0.003}}"
    return write_spec(
        folder,
        f"{{kind: npz, path: {kind}.npz}}",
        model=f"{{kind: {kind}, {fields}, kernel_regularizer: {{kind: l2, l2: 1e-4}}}}",
        data="batch_size: 16",
        training=training,
        name=kind,
    )


@cache
def _run(folder: Path, kind: str) -> RunFolder:
    return trained(_spec(folder, kind))


@each_kind
def test_every_network_learns_and_its_saved_model_is_plain_keras(folder: Path, kind: str, tmp_path: Path) -> None:
    run = _run(folder, kind)
    assert losses(run)[-1] < losses(run)[0]
    images = np.load(folder / f"{kind}.npz")["x"][:3].astype("float32")
    np.save(tmp_path / "images.npy", images)
    process = run_plain(PLAIN_PREDICTION, run.model_path, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    model = keras.saving.load_model(run.model_path)
    assert np.load(tmp_path / "answers.npy") == pytest.approx(outputs(model, images), abs=1e-6)
    assert not [layer.name for layer in model.layers if "auxiliary" in layer.name]


@each_kind
def test_grad_cam_shows_the_last_maps_of_every_network(folder: Path, kind: str) -> None:
    created = explain(_run(folder, kind))
    assert {explanation.kind for explanation in created} == {"grad_cam"}


@each_kind
@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_every_network_is_exported_with_the_same_decisions(folder: Path, kind: str, form: Format, tmp_path: Path) -> None:
    agreement = export(_run(folder, kind), form, to=tmp_path / "exported").agreement
    assert agreement.agrees
    assert agreement.same_decisions == 1.0


@slow
@pytest.mark.parametrize("kind", ["resnet", "googlenet"])
def test_a_killed_training_ends_with_the_same_bits(folder: Path, kind: str, tmp_path: Path) -> None:
    """Batch statistics, and auxiliary heads that only checkpoints hold."""
    resumed, words = train_with_kills(_spec(tmp_path, kind), tmp_path / "runs", 1, random.Random(0))
    assert len(words) == 1
    assert_same_bits(_run(folder, kind), resumed)


def test_describe_counts_the_multiply_adds_of_convolutions_and_dense_layers(folder: Path) -> None:
    experiment = load(_spec(folder, "lenet"), ["model.alpha=1.0"]).experiment
    by_hand = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 25 * 6 + 400 * 120 + 120 * 84 + 84 * 4
    assert describe_spec(experiment).multiply_adds == by_hand
    recurrent = "{kind: sequence, layers: [{kind: gru, units: 3}]}"
    save_series(folder / "series.npz")
    spec = write_spec(folder, "{kind: npz, path: series.npz}", model=recurrent, name="recurrent")
    assert describe_spec(load(spec).experiment).multiply_adds is None


def test_auxiliary_heads_add_a_share_of_their_losses_to_the_trained_loss_alone() -> None:
    entry = keras.Input((3,))
    hidden = keras.layers.Dense(4)(entry)
    network = keras.Model(entry, keras.layers.Dense(2, activation="softmax", kernel_regularizer="l2")(hidden))
    heads = [keras.layers.Dense(2, activation="softmax")(hidden) for _ in range(2)]
    learner = WithAuxiliaryHeads(network, heads, 0.3)
    learner.compile(loss=keras.losses.CategoricalCrossentropy())
    rows, labels = np.random.default_rng(0).normal(size=(8, 3)).astype("float32"), np.eye(2, dtype="float32")[[0, 1] * 4]
    entropies = [float(keras.losses.CategoricalCrossentropy()(labels, output)) for output in learner.joint(rows)]
    penalty = float(sum(network.losses))
    output = learner(rows)
    trained_loss, validation_loss = (
        float(learner.compute_loss(rows, labels, output, training=training)) for training in (True, False)
    )
    assert validation_loss == pytest.approx(entropies[0] + penalty, rel=1e-6)
    assert trained_loss == pytest.approx(entropies[0] + penalty + 0.3 * sum(entropies[1:]), rel=1e-6)


@pytest.mark.parametrize(
    "settings", [{}, {"depth_radius": 3, "bias": 1.5, "alpha": 0.3, "beta": 0.5}], ids=["alexnet", "other"]
)
def test_local_response_normalization_is_that_of_tensorflow(settings: dict[str, Any], tmp_path: Path) -> None:
    layer: Any = OneOf.registry["Layer"].validate({"kind": "local_response_normalization", **settings})
    entry = keras.Input((5, 4, 8))
    keras.Model(entry, layer.apply(entry)).save(tmp_path / "model.keras")
    images = 5 * np.random.default_rng(0).normal(size=(2, 5, 4, 8)).astype("float32")
    arguments = {"depth_radius": layer.depth_radius, "bias": layer.bias, "alpha": layer.alpha, "beta": layer.beta}
    expected = tf.nn.local_response_normalization(images, **arguments).numpy()
    assert outputs(keras.saving.load_model(tmp_path / "model.keras"), images) == pytest.approx(expected, rel=1e-5, abs=1e-6)
