"""Why augmentations do not use Keras's layer: each test fails once its defect is fixed (Keras 3.15.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlcli.runtime.engine import keras

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype("float32")
FLAT = np.full((4, 12, 12, 3), 100.0, "float32")


def _changed(layer: Any, images: Any, seed: int = 1) -> Any:
    transformation = layer.get_random_transformation(images, training=True, seed=keras.random.SeedGenerator(seed))
    return np.asarray(layer.transform_images(images, transformation, training=True))


def test_random_saturation_gives_values_outside_of_its_range() -> None:
    assert _changed(keras.layers.RandomSaturation((0.9, 0.9)), IMAGES).min() < 0


@pytest.mark.parametrize("layer", ["RandomSharpness", "RandomGaussianBlur"])
def test_smoothing_darkens_the_border(layer: str) -> None:
    options = {"factor": (0.0, 0.0)} if layer == "RandomSharpness" else {"factor": (1.0, 1.0), "sigma": (1.0, 1.0)}
    assert _changed(getattr(keras.layers, layer)(**options), FLAT)[0, 0, 0, 0] < 90


def test_random_gaussian_blur_draws_one_sigma_for_a_batch() -> None:
    layer = keras.layers.RandomGaussianBlur(factor=(1.0, 1.0), sigma=(0.1, 1.0))
    transformation = layer.get_random_transformation(IMAGES, training=True, seed=keras.random.SeedGenerator(1))
    assert transformation["blur_factor"].shape == (2,)


def test_equalization_uses_one_histogram_for_a_batch() -> None:
    layer = keras.layers.Equalization()
    alone = np.asarray(layer(IMAGES[:1] / 4, training=True))
    together = np.asarray(layer(np.concatenate([IMAGES[:1] / 4, IMAGES[1:]]), training=True))[:1]
    assert np.abs(alone - together).max() > 50


def test_solarization_does_not_scale_the_lower_end_of_a_range() -> None:
    layer = keras.layers.Solarization(threshold_factor=(0.5, 0.5))
    thresholds = layer.get_random_transformation(IMAGES, training=True, seed=keras.random.SeedGenerator(1))["thresholds"]
    assert float(np.min(thresholds)) < 120


def test_a_flip_in_both_directions_is_half_a_turn_or_nothing() -> None:
    numbered = np.repeat(np.arange(4, dtype="float32").reshape(1, 2, 2, 1), 64, axis=0)
    corners = _changed(keras.layers.RandomFlip("horizontal_and_vertical"), numbered)[:, 0, 0, 0]
    assert set(corners) == {0.0, 3.0}


def test_random_posterization_never_draws_the_highest_number() -> None:
    ramp = np.tile(np.arange(256, dtype="float32").reshape(1, 16, 16, 1), (64, 1, 1, 1))
    assert {len(np.unique(image)) for image in _changed(keras.layers.RandomPosterization((2, 4)), ramp)} == {4, 8}


def test_the_probability_of_random_perspective_is_half_of_its_factor() -> None:
    layer = keras.layers.RandomPerspective(factor=1.0, scale=0.5)
    transformation = layer.get_random_transformation(np.tile(IMAGES, (50, 1, 1, 1)), seed=keras.random.SeedGenerator(1))
    assert 0.4 < float(np.mean(transformation["apply_perspective"])) < 0.6


@pytest.mark.parametrize("layer", ["RandomColorJitter", "RandAugment"])
def test_a_composed_layer_ignores_the_seed_that_it_is_given(layer: str) -> None:
    options = {"brightness_factor": 0.5} if layer == "RandomColorJitter" else {}
    first, second = (_changed(getattr(keras.layers, layer)(**options), IMAGES, seed=5) for _ in range(2))
    assert not np.array_equal(first, second)


def test_the_share_of_labels_of_cut_mix_is_not_that_of_the_pixels() -> None:
    layer = keras.layers.CutMix(factor=(1.0, 1.0))
    transformation = layer.get_random_transformation(IMAGES, training=True, seed=keras.random.SeedGenerator(1))
    covered = np.asarray(transformation["batch_masks"]).mean(axis=(1, 2, 3))
    assert np.abs(1 - covered - np.asarray(transformation["mix_weight"])).max() > 1e-3


def test_masks_outside_of_the_image_get_the_fill_value_of_the_image() -> None:
    layer = keras.layers.RandomTranslation((0.5, 0.5), (0.0, 0.0), fill_mode="constant", fill_value=77.0)
    masks = np.ones((8, 16, 16, 1), "uint8")
    transformation = layer.get_random_transformation(IMAGES, training=True, seed=keras.random.SeedGenerator(1))
    assert set(np.unique(layer.transform_segmentation_masks(masks, transformation, training=True))) == {1, 77}
