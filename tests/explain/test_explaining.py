"""Explanations show what a model relies on, on data where this is known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trainings import trained, write_spec

from dlcli.errors import DamagedFile, DataError, UsageError
from dlcli.explain import Explanation, explain, explanations
from dlcli.explain import heat as heats
from dlcli.explain.network import last_map
from dlcli.models.raw_output import before_squashing
from dlcli.predict.predict import prepare
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.loading import load_model
from dlcli.tasks import TASKS

pytestmark = pytest.mark.usefixtures("without_pictures")

Array = np.ndarray[Any, Any]
SIDE, PATCH = 16, 4


def _patches(count: int, seed: int) -> tuple[Array, Array, Array]:
    """Returns dark noise `(n, 16, 16, 1)`, half of it with a bright 4x4 square; labels; and masks of the square."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 80, (count, SIDE, SIDE, 1)).astype("uint8")
    labels, inside = np.arange(count) % 2, np.zeros((count, SIDE, SIDE), dtype=bool)
    for at in np.flatnonzero(labels):
        top, left = random.integers(0, SIDE - PATCH, 2)
        inside[at, top : top + PATCH, left : left + PATCH] = True
        images[at][inside[at]] += 170
    return images, labels, inside


@pytest.fixture(scope="module")
def patch_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A CNN that classifies images with and without a bright square."""
    folder = tmp_path_factory.mktemp("patches")
    images, labels, _ = _patches(320, 0)
    labels[::10] = 1 - labels[::10]  # so that some predictions are wrong
    np.savez(folder / "images.npz", x=images, y=labels)
    layers = "[{kind: conv2d, filters: 8, kernel_size: 3, padding: same, activation: relu},"
    layers += " {kind: conv2d, filters: 8, kernel_size: 3, padding: same, activation: relu}, global_average_pooling2d]"
    source = "{kind: npz, path: images.npz, features: x, target: y}"
    training = "epochs: 12, optimizer: {kind: adam, learning_rate: 1e-2}"
    run = trained(write_spec(folder, source, model=f"{{kind: cnn, layers: {layers}}}", training=training))
    assert run.metrics("test")["metrics"]["accuracy"]["value"] > 0.85
    return run


def _share_inside(heat: Array, inside: Array) -> Array:
    """Returns the share of each map's positive part inside the square."""
    positive = np.maximum(heat, 0)
    return (positive * inside).sum(axis=(1, 2)) / positive.sum(axis=(1, 2))


def test_grad_cam_highlights_the_decisive_region(patch_run: RunFolder) -> None:
    model = load_model(patch_run.model_path)
    images, labels, inside = _patches(40, 1)
    has_square = labels == 1
    heat = heats.grad_cam(model, last_map(model), images[has_square], np.ones(has_square.sum(), int), TASKS["classification"])
    assert heat.shape == (20, SIDE, SIDE)
    assert _share_inside(heat, inside[has_square]).mean() > 0.5  # the square is 6 % of the image
    assert _share_inside(heat, np.roll(inside[has_square], SIDE // 2, axis=1)).mean() < 0.2


def test_occlusion_highlights_the_decisive_region(patch_run: RunFolder) -> None:
    model = load_model(patch_run.model_path)
    images, labels, inside = _patches(12, 2)
    with_square = np.flatnonzero(labels)
    heat = np.stack([heats.occlusion(model, images[at], 1, TASKS["classification"])[0] for at in with_square])
    assert _share_inside(heat, inside[with_square]).mean() > 0.4
    assert heat.shape == (6, SIDE, SIDE)
    assert np.abs(heat).max() == 1


def _small_cnn(nested: bool) -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), name="image")
    convolution = keras.layers.Conv2D(6, 3, activation="relu")
    relu, pool, output = keras.layers.ReLU(), keras.layers.Flatten(), keras.layers.Dense(3, "softmax", name="output")
    scaled = keras.layers.Rescaling(1 / 255)(image)
    if not nested:
        return keras.Model(image, output(pool(relu(convolution(scaled)))))
    pixels, row = keras.Input((12, 12, 3)), keras.Input((10, 10, 6))
    backbone, head = keras.Model(pixels, relu(convolution(pixels))), keras.Model(row, output(pool(row)))
    return keras.Model(image, head(backbone(scaled)))


def test_grad_cam_follows_the_paper_also_in_nested_models() -> None:
    flat, nested = _small_cnn(nested=False), _small_cnn(nested=True)
    nested.set_weights(flat.get_weights())
    images = np.random.default_rng(0).integers(0, 255, (5, 12, 12, 3)).astype("uint8")
    places = np.array([0, 1, 2, 1, 0])
    expected = _reference_maps(flat, images, places)
    for model in (flat, nested):
        maps = heats.grad_cam(model, last_map(model), images, places, TASKS["classification"])
        np.testing.assert_allclose(maps, expected, atol=1e-5)


def _reference_maps(model: Any, images: Array, places: Array) -> Array:
    """Returns the maps from a separate model of map and logits; scaled to a largest value of 1."""
    relu, flatten, output = model.layers[-3:]
    kernel, bias = output.weights
    map_and_row = keras.Model(model.input, [relu.output, flatten.output])
    with tf.GradientTape() as tape:
        maps, row = map_and_row(tf.constant(images))
        tape.watch(maps)
        logits = tf.reshape(maps, row.shape) @ tf.convert_to_tensor(kernel) + tf.convert_to_tensor(bias)
        score = tf.reduce_sum(tf.gather(logits, places, batch_dims=1))
    alpha = np.asarray(tape.gradient(score, maps)).mean(axis=(1, 2), keepdims=True)
    raw = np.maximum((alpha * np.asarray(maps)).sum(axis=-1), 0)
    return raw / np.maximum(raw.max(axis=(1, 2), keepdims=True), 1e-12)


def test_explaining_does_not_change_the_model() -> None:
    model = _small_cnn(nested=True)
    images = np.random.default_rng(0).integers(0, 255, (2, 12, 12, 3)).astype("uint8")
    outputs = np.asarray(model(images))
    layer = last_map(model)
    heats.grad_cam(model, layer, images, np.array([0, 1]), TASKS["classification"])
    with before_squashing(model) as plain:
        assert plain
        assert np.asarray(model(images)).sum(axis=1) != pytest.approx(1)
    assert "call" not in vars(layer)
    np.testing.assert_array_equal(np.asarray(model(images)), outputs)


def test_models_without_a_convolutional_map_have_none() -> None:
    row = keras.Input((4,))
    assert last_map(keras.Model(row, keras.layers.Dense(2)(row))) is None
    image = keras.Input((3, 3, 1))
    one_pixel = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(image))
    assert last_map(keras.Model(image, keras.layers.Dense(2)(one_pixel))) is None


@pytest.mark.usefixtures("with_pictures")
def test_without_files_test_examples_are_explained_wrong_predictions_first(patch_run: RunFolder) -> None:
    created = explain(patch_run)
    assert len(created) == 8
    assert {explanation.kind for explanation in created} == {"grad_cam"}
    matches = [re.match(r"predicted (.) 0?1?\.\d+, label (.);", explanation.text) for explanation in created]
    assert [explanation is not None and explanation[1] != explanation[2] for explanation in matches] == [True] * 4 + [False] * 4
    for explanation in created:
        with Image.open(patch_run.path / "explanations" / explanation.file) as picture:
            assert picture.size > (300, 200)
        table = read_table((patch_run.path / "explanations" / explanation.file).with_suffix(".csv"))
        assert len(table) == SIDE * SIDE
    assert [explanation for explanation in explanations(patch_run) if explanation.kind == "grad_cam"] == created


def test_a_repeated_explanation_replaces_only_itself(patch_run: RunFolder, tmp_path: Path) -> None:
    path = tmp_path / "square.png"
    Image.fromarray(_patches(2, 3)[0][1, ..., 0]).save(path)
    first = explain(patch_run, [str(path)])
    count = len(explanations(patch_run))
    assert explain(patch_run, [str(path)]) == first
    assert len(explanations(patch_run)) == count
    of_other_class = explain(patch_run, [str(path)], class_name="0")
    assert len(explanations(patch_run)) == count + 1
    assert of_other_class[0].title == f"Grad-CAM for 0: {path}"
    assert (
        re.fullmatch(r"predicted 1 0\.\d+, 0 0\.\d+; .*", of_other_class[0].text)
        or "predicted 1 1.000" in of_other_class[0].text
    )
    by_occlusion = explain(patch_run, [str(path)], method="occlusion")
    assert by_occlusion[0].kind == "occlusion"
    assert len(explanations(patch_run)) == count + 2


def test_hostile_names_are_harmless(patch_run: RunFolder, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    path = folder / "a..\x1b[31m<script>$x$\n.png"
    Image.fromarray(_patches(2, 4)[0][0, ..., 0]).save(path, format="png")
    (folder / "broken.png").write_bytes(b"no image")
    skipped: list[tuple[str, str]] = []
    created = explain(patch_run, [str(folder)], skip=lambda *words: skipped.append(words))
    assert [Path(name).name for name, _ in skipped] == ["broken.png"]
    assert re.fullmatch(r"grad_cam-[A-Za-z0-9_]+-[0-9a-f]{8}\.png", created[0].file)
    assert "\x1b" not in created[0].title + created[0].text
    assert (patch_run.path / "explanations" / created[0].file).is_file()
    assert created[0] in explanations(patch_run)


def test_methods_classes_and_files_that_do_not_fit_are_refused(patch_run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    for method, message in (("permutation", "these do: grad_cam, occlusion, filters"), ("boundary", "does not fit")):
        with pytest.raises(UsageError, match=message):
            explain(patch_run, method=method)
    with pytest.raises(UsageError, match="the run has no 'cat'; it has 0, 1"):
        explain(patch_run, class_name="cat")
    with pytest.raises(UsageError, match="omit FILE"):
        explain(patch_run, [str(tmp_path / "broken.png")], method="filters")
    with pytest.raises(UsageError, match="no such file"):
        explain(patch_run, [str(tmp_path / "none.png")])
    with pytest.raises(DataError, match="no image could be read"):
        explain(patch_run, [str(tmp_path / "broken.png")])


def test_filters_are_the_first_convolutions_weights(patch_run: RunFolder) -> None:
    (explanation,) = explain(patch_run, method="filters")
    table = read_table((patch_run.path / "explanations" / explanation.file).with_suffix(".csv"))
    weights = np.asarray(load_model(patch_run.model_path).get_layer("conv2d").kernel)
    assert len(table) == weights.size
    cell = table[17]
    place = (int(cell["row"]), int(cell["column"]), int(cell["channel"]), int(cell["filter"]))
    assert float(cell["weight"]) == pytest.approx(float(weights[place]), rel=1e-6)


def test_the_only_informative_column_has_the_largest_importance(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = ["age,colour,size,fate"]
    for _ in range(240):
        label = int(random.integers(2))
        rows.append(f"{random.normal():.3f},{('red', 'blue')[label]},{random.normal():.3f},{('lost', 'saved')[label]}")
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    training = "epochs: 8, optimizer: {kind: adam, learning_rate: 2e-2}, metrics: [accuracy]"
    run = trained(write_spec(tmp_path, "{kind: csv, path: rows.csv, target: fate}", task="binary", training=training))
    (explanation,) = explain(run)
    assert explanation.kind == "permutation"
    table = read_table((run.path / "explanations" / explanation.file).with_suffix(".csv"))
    assert table[0]["column"] == "colour"
    assert float(table[0]["importance"]) > 0.3
    assert all(abs(float(row["importance"])) < 0.1 for row in table[1:])
    assert all(float(row["deviation"]) >= 0 for row in table)


@pytest.mark.usefixtures("with_pictures")
def test_the_boundary_is_where_predictions_change(tmp_path: Path) -> None:
    source = "{kind: playground, name: circles, examples: 200}"
    training = "epochs: 12, optimizer: {kind: adam, learning_rate: 3e-2}"
    run = trained(write_spec(tmp_path, source, task="binary", training=training))
    (explanation,) = explain(run)
    assert explanation.kind == "boundary"
    path = run.path / "explanations" / explanation.file
    table = read_table(path.with_suffix(".csv"))
    np.save(tmp_path / "points.npy", np.array([[row["feature 0"], row["feature 1"]] for row in table], dtype="float32"))
    predicted = [
        name for answer in prepare(run, [str(tmp_path / "points.npy")]).answers(lambda *_: None)
        for name in np.array(answer.classes)[answer.scores.argmax(axis=1)]
    ]  # fmt: skip
    assert [row["predicted"] for row in table] == predicted
    assert len(set(predicted)) == 2
    # In the picture each class's colour fills its share of the plane.
    red, _, blue = (channel.astype(int) for channel in np.moveaxis(np.asarray(Image.open(path).convert("RGB")), -1, 0))
    share = (blue > red + 15).sum() / (abs(blue - red) > 15).sum()
    assert share == pytest.approx(predicted.count("blue") / len(predicted), abs=0.03)


def test_predicted_values_are_drawn_as_a_surface(tmp_path: Path) -> None:
    source = "{kind: playground, name: plane, examples: 100}"
    run = trained(write_spec(tmp_path, source, task="regression", model="{kind: mlp, units: []}", training="epochs: 1"))
    (explanation,) = explain(run)
    assert explanation.title == "Predicted target with the test split"
    assert (run.path / "explanations" / explanation.file).is_file()
    (of_columns,) = explain(run, method="permutation")
    assert of_columns.kind == "permutation"
    assert len(explanations(run)) == 2


def test_a_link_in_place_of_the_explanations_folder_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (run.path / "explanations").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedFile, match="not a folder inside the run"):
        explanations(run)


@pytest.mark.parametrize("file", ["../../model.keras", "/etc/passwd", "a.svg", ".hidden.png", 3])
def test_a_manipulated_list_of_explanations_is_refused(tmp_path: Path, file: Any) -> None:
    folder = tmp_path / "run" / "explanations"
    folder.mkdir(parents=True)
    entry = {"file": file, "kind": "filters", "title": "t", "text": "t"}
    (folder / "explanations.json").write_text(json.dumps([entry]))
    with pytest.raises(DamagedFile, match=r"explanations\.json"):
        explanations(RunFolder(tmp_path / "run"))
    (folder / "explanations.json").write_text(json.dumps([entry | {"file": "a-1.png"}]))
    assert explanations(RunFolder(tmp_path / "run")) == [Explanation("a-1.png", "filters", "t", "t")]


HEADS = ("random_forest", "knn", "logistic_regression", "linear_svc", "svc", "dense")
WITHOUT_GRADIENT = ("random_forest", "knn")


@pytest.mark.parametrize(
    "head", [pytest.param(head, marks=[] if head in WITHOUT_GRADIENT else [pytest.mark.slow]) for head in HEADS]
)
def test_every_head_has_an_explanation(patch_run: RunFolder, head: str, tmp_path: Path) -> None:
    images, labels, _ = _patches(24, 1)
    np.savez(tmp_path / "images.npz", x=images, y=labels)
    layers = "[{kind: dense, units: 3}]" if head == "dense" else head
    model = f"{{kind: transfer, backbone: {{kind: run, run: {patch_run.path}}}, head: {layers}}}"
    epochs = "epochs: 1" if head == "dense" else "epochs: 0"
    run = trained(write_spec(tmp_path, "{kind: npz, path: images.npz}", model=model, training=epochs))
    (kind,) = {explanation.kind for explanation in explain(run)}
    assert kind == ("occlusion" if head in WITHOUT_GRADIENT else "grad_cam")
    for method in ("occlusion", "filters"):
        assert explain(run, method=method)
    if head in WITHOUT_GRADIENT:
        with pytest.raises(UsageError, match="its head has no gradient; these do: occlusion, filters"):
            explain(run, method="grad_cam")
    for method in ("permutation", "boundary"):
        with pytest.raises(UsageError, match="does not fit this run's model"):
            explain(run, method=method)
