"""Trainings with mixed examples, noise on columns and presets: what is learned, measured and written down."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from spec.members import sample
from trainings import column, save_images, save_rows, trained, write_spec

from dlcli.data.augmented_variants import ORIGINAL, TOGETHER, variants
from dlcli.data.splits import open_splits
from dlcli.errors import DataError
from dlcli.models.number_features import fitted_augmentations, number_features
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.inputs import Arrays, TableColumns
from dlcli.runtime.stream import StepSeed, TrainingStream
from dlcli.runtime.whole_labels import of_whole_labels
from dlcli.score.evaluate import evaluate
from dlcli.spec.base import OneOf
from dlcli.spec.data.augmentations.presets import PRESETS
from dlcli.spec.data.sources.column_kinds import CATEGORY, NUMBER
from dlcli.spec.load import load, to_flow, to_yaml

pytestmark = pytest.mark.usefixtures("without_pictures")
IMAGES = "{kind: npz, path: images.npz}"
ROWS = "{kind: npz, path: rows.npz, target: yes}"
MLP = "{kind: mlp, units: [16]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("augmentation")
    save_images(folder / "images.npz")
    save_rows(folder / "rows.npz")
    return folder


@pytest.mark.parametrize("kind", ["mix_up", "cut_mix"])
def test_labels_are_mixed_in_the_shares_of_the_pixels(kind: str) -> None:
    levels = np.array([0.0, 60.0, 120.0, 240.0], "float32")
    images = np.broadcast_to(levels[:, None, None, None], (4, 16, 16, 1)).repeat(8, axis=0)
    classes = np.eye(4, dtype="float32").repeat(8, axis=0)
    field = "alpha: 1.0" if kind == "mix_up" else ""
    mixed, labels = (np.asarray(value) for value in sample("Augmentation", kind, field).mix(images, classes, StepSeed(1, 0, 0)))
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), labels @ levels, atol=1e-3)
    assert ((labels > 0.01) & (labels < 0.99)).any()


def test_a_stream_gives_shares_as_labels_and_the_same_ones_at_every_call() -> None:
    images, classes = np.arange(40, dtype="float32").reshape(10, 2, 2, 1), np.eye(10, dtype="float32")
    stream = TrainingStream(
        Arrays(images),
        lambda indices: tf.gather(tf.constant(classes), indices),
        examples=10,
        batch_size=4,
        seed=3,
        augment=[sample("Augmentation", "random_flip"), sample("Augmentation", "mix_up", "alpha: 1.0")],
    )
    first, again = ([np.asarray(labels) for _, labels in stream.batches(epoch)] for epoch in (1, 1))
    assert [labels.shape for labels in first] == [(4, 10), (4, 10), (2, 10)]
    for labels, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(labels, same)
        np.testing.assert_allclose(labels.sum(axis=1), 1.0, rtol=1e-5)
    assert any(np.asarray(other != labels).any() for labels, (_, other) in zip(first, stream.batches(2), strict=True))


def test_the_loss_of_shares_is_their_cross_entropy() -> None:
    loss = OneOf.registry["Loss"].validate("sparse_categorical_crossentropy").of_shares()
    shares, outputs = np.array([[0.3, 0.7, 0.0]], "float32"), np.array([[0.2, 0.5, 0.3]], "float32")
    expected = -(0.3 * np.log(0.2) + 0.7 * np.log(0.5))
    assert float(loss.each(shares, outputs)[0]) == pytest.approx(expected, rel=1e-5)
    assert not loss.integer_labels


def test_metrics_of_a_training_on_shares_are_those_of_the_largest_share() -> None:
    precision = of_whole_labels(keras.metrics.Precision(), one_of_several=False)
    precision.update_state([[0.2], [0.9], [0.6]], [[0.8], [0.7], [0.1]])
    assert float(precision.result()) == 0.5
    f1 = of_whole_labels(keras.metrics.F1Score(average="macro"), one_of_several=True)
    f1.update_state(np.array([[0.7, 0.3], [0.4, 0.6]], "float32"), np.array([[0.6, 0.4], [0.1, 0.9]], "float32"))
    assert float(f1.result()) == pytest.approx(1.0)


def test_a_training_on_mixed_examples_keeps_its_columns_and_validates_on_whole_ones(folder: Path) -> None:
    data = "batch_size: 16, split: {validation: 0.3}, augment: [{kind: mix_up, alpha: 1.0}, cut_mix]"
    training = "epochs: 4, optimizer: {kind: adam, learning_rate: 0.02}, metrics: [accuracy, f1, {kind: top_k, k: 2}]"
    run = trained(write_spec(folder, IMAGES, model=MLP, data=data, training=training, name="mixed"))
    assert list(run.history()[0])[:6] == ["stage", "epoch", "loss", "accuracy", "f1", "top_2"]
    # Shares of two classes cannot be predicted without error: the loss of mixed examples stays higher than that of whole ones.
    assert column(run, "loss")[-1] > 1.2 * column(run, "val_loss")[-1]
    assert column(run, "accuracy")[-1] > 0.4
    scored = evaluate(run, split="validation").metrics["loss"]
    assert scored == pytest.approx(min(column(run, "val_loss")), rel=1e-5)


@pytest.mark.parametrize(
    "task", ["multilabel", pytest.param("binary", marks=pytest.mark.slow), pytest.param("regression", marks=pytest.mark.slow)]
)
def test_labels_of_other_tasks_are_mixed_too(tmp_path: Path, task: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (48, 6, 6, 1)).astype("uint8")
    bright = (images.mean(axis=(1, 2, 3)) > 127).astype("int64")
    targets = {"binary": bright, "multilabel": np.stack([bright, 1 - bright], 1), "regression": images.mean(axis=(1, 2, 3))}
    np.savez(tmp_path / "images.npz", x=images, y=targets[task])
    metrics = "[mae, r2]" if task == "regression" else "[accuracy, f1]"
    training = f"epochs: 5, optimizer: {{kind: adam, learning_rate: 0.02}}, metrics: {metrics}"
    run = trained(
        write_spec(tmp_path, IMAGES, task=task, model=MLP, data="batch_size: 8, augment: [mix_up]", training=training)
    )
    assert column(run, "loss")[-1] < column(run, "loss")[0]
    assert task == "regression" or column(run, "accuracy")[-1] > 0.5


def test_a_preset_is_written_out_in_the_resolved_spec(folder: Path) -> None:
    experiment = load(write_spec(folder, IMAGES, data="augment: standard", name="preset")).experiment
    written = yaml.safe_load(to_yaml(experiment))["data"]["augment"]
    assert [entry["kind"] for entry in written] == ["random_flip", "random_affine", "random_color_jitter"]
    for entry, preset in zip(written, PRESETS["standard"], strict=True):
        assert preset.items() <= entry.items()
    again = load(write_spec(folder, IMAGES, data=f"augment: {to_flow(written)}", name="preset")).experiment
    assert again == experiment


def test_images_that_are_grey_are_found_when_their_files_are_opened(folder: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (folder / "grey" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("L", (6, 6), number * 30).save(folder / "grey" / name / f"{number}.png")
    data = "image: {size: 6, channels: 1}, augment: [random_grayscale]"
    with pytest.raises(Exception, match="`random_grayscale` needs images in colour, but these are grey"):
        trained(write_spec(folder, "{kind: folder, path: grey}", data=data, model=MLP, name="grey"))


def test_noise_changes_columns_of_numbers_by_their_deviation_and_leaves_categories() -> None:
    draw = np.random.default_rng(0)
    heights = draw.normal(170, 8, 400).astype("float32")
    heights[:40] = np.nan
    columns = {
        "town": np.array(["a", "b"] * 200, dtype=object),
        "height": heights,
        "size": draw.normal(0, 3, 400).astype("float32"),
        "unit": np.full(400, 5.0, "float32"),
    }
    raw = TableColumns(columns, {"town": CATEGORY, "height": NUMBER, "size": NUMBER, "unit": NUMBER})
    filled = np.where(np.isnan(heights), np.nanmean(heights), heights)
    encoded = Arrays(
        np.stack([filled / 8, columns["size"] / 3, columns["unit"], np.isnan(heights), *np.eye(2)[[0, 1] * 200].T], 1).astype(
            "float32"
        )
    )
    places = number_features(raw, encoded)
    assert {name: place for name, (place, _) in places.items()} == {"height": 0, "size": 1, "unit": 2}
    assert places["unit"][1] == 0, "a column without deviation has no noise"
    assert places["height"][1] == pytest.approx(np.nanstd(heights) / 8, rel=1e-4)
    (noise,) = fitted_augmentations([sample("Augmentation", "column_noise", "stddev: 0.5")], raw, encoded)
    change = np.asarray(noise.augment(encoded.values, StepSeed(1, 0, 0))) - encoded.values
    np.testing.assert_allclose(change.std(axis=0)[:2], [0.5 * places["height"][1], 0.5 * places["size"][1]], rtol=0.1)
    assert (change[:, 2:] == 0).all()
    (one,) = fitted_augmentations([sample("Augmentation", "column_noise", "stddev: 0.5, columns: [size]")], raw, encoded)
    changed = np.asarray(one.augment(encoded.values, StepSeed(1, 0, 0))) != encoded.values
    assert changed[:, 1].all()
    assert not np.delete(changed, 1, axis=1).any()
    synthetic = Arrays(np.concatenate([encoded.values, np.full((400, encoded.values.shape[1]), 9.0, "float32")]))
    assert number_features(raw, synthetic) == places, "synthetic rows have no part in the deviation on the training split"
    wrong = sample("Augmentation", "column_noise", "stddev: 0.5, columns: [hight]")
    with pytest.raises(DataError, match=r"column_noise\.columns: `hight` is no column of numbers; did you mean `height`"):
        fitted_augmentations([wrong], raw, encoded)


def test_noise_on_a_table_is_not_applied_when_it_is_scored(folder: Path) -> None:
    rows = [f"{i % 7},{i % 5}.5,{'xyz'[i % 3]},{'no' if i % 7 < 3 else 'yes'}" for i in range(90)]
    (folder / "table.csv").write_text("\n".join(["a,b,town,y", *rows]) + "\n", "utf-8")
    source, data = "{kind: csv, path: table.csv, target: y}", "augment: [{kind: column_noise, stddev: 0.3}]"
    training = "epochs: 3, optimizer: {kind: adam, learning_rate: 0.02}, metrics: [accuracy]"
    run = trained(write_spec(folder, source, task="binary", data=data, training=training, name="noisy"))
    assert column(run, "loss")[-1] < column(run, "loss")[0]
    scored = evaluate(run, split="validation").metrics["loss"]
    assert scored == pytest.approx(min(column(run, "val_loss")), rel=1e-5)


def test_a_flip_of_digits_is_noted_when_the_data_is_opened(folder: Path) -> None:
    spec = write_spec(folder, "{kind: builtin, name: digits}", data="augment: light", training="epochs: 1", name="digits")
    notes = [note for note in open_splits(load(spec).experiment).notes if "random_flip" in note]
    assert notes == [
        "data.augment.0: `random_flip`: images of digits or letters are mirrored, which confuses 2 and 5 and makes others"
        " unreadable"
    ]


def test_variants_show_each_augmentation_and_all_together(folder: Path) -> None:
    augment = "[{kind: random_flip}, {kind: mix_up, alpha: 1.0}, {kind: gaussian_noise, stddev: 20.0}]"
    experiment = load(write_spec(folder, IMAGES, data=f"augment: {augment}", name="variants")).experiment
    examples = open_splits(experiment).train
    results = variants(experiment, examples, 8, place=2)
    assert [result.caption for result in results] == [ORIGINAL, "random_flip", "mix_up", "gaussian_noise", TOGETHER]
    original = np.asarray(examples.inputs.read(np.array([2])))
    np.testing.assert_array_equal(results[0].images, original)
    for result in results[1:]:
        assert result.images.shape == (8, *original.shape[1:])
        assert result.images.dtype == "uint8"
        assert Counter(image.tobytes() for image in result.images).most_common(1)[0][1] < 8
    again = variants(experiment, examples, 8, place=2)
    np.testing.assert_array_equal(results[-1].images, again[-1].images)


def test_equal_augmentations_draw_from_their_own_places_in_variants(folder: Path) -> None:
    """Two half turns that draw alike would always cancel out."""
    experiment = load(write_spec(folder, IMAGES, data="augment: [random_flip, random_flip]", name="flips")).experiment
    first, second, together = variants(experiment, open_splits(experiment).train, 12)[1:]
    assert any((one != other).any() for one, other in zip(first.images, second.images, strict=True))
    assert len({image.tobytes() for image in together.images}) == 2


def test_masks_of_variants_move_with_their_images(folder: Path) -> None:
    experiment = load(write_spec(folder, IMAGES, data="augment: [random_flip]", name="masks")).experiment
    examples = open_splits(experiment).train
    mask: Any = np.asarray(examples.inputs.read(np.array([0])))[0].astype("int32")
    flipped = variants(experiment, examples, 6, mask=mask)[1]
    assert flipped.masks is not None
    np.testing.assert_array_equal(flipped.images, flipped.masks)
