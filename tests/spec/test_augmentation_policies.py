"""Policies: their operations are those of Pillow, and each image gets its own."""

from __future__ import annotations

from time import process_time
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from dlcli.runtime.engine import keras, tf
from dlcli.runtime.stream import augmented
from dlcli.spec.data.augmentations.operations import GEOMETRIC, LARGEST_SHIFT, OPERATIONS, applied, number_of
from dlcli.spec.data.augmentations.published_policies import POLICIES
from spec.members import sample

Array = np.ndarray[Any, Any]
PHOTOS = np.random.default_rng(0).integers(20, 220, (4, 24, 20, 3)).astype("uint8")


def _applied(name: str, strength: float, images: Array = PHOTOS) -> Array:
    count = len(images)
    numbers, strengths = np.full(count, number_of(name), "int32"), np.full(count, strength, "float32")
    return np.asarray(applied(tf.constant(images, tf.float32), tf.constant(numbers), tf.constant(strengths)))


PILLOW: dict[str, Any] = {
    "brightness": lambda photo, strength: ImageEnhance.Brightness(photo).enhance(1 + 0.9 * strength),
    "color": lambda photo, strength: ImageEnhance.Color(photo).enhance(1 + 0.9 * strength),
    "contrast": lambda photo, strength: ImageEnhance.Contrast(photo).enhance(1 + 0.9 * strength),
    "posterize": lambda photo, strength: ImageOps.posterize(photo, 8 - round(4 * strength)),
    "solarize": lambda photo, strength: ImageOps.solarize(photo, 256 * (1 - strength)),
    "auto_contrast": lambda photo, strength: ImageOps.autocontrast(photo),
    "invert": lambda photo, strength: ImageOps.invert(photo),
}


@pytest.mark.parametrize("strength", [0.5, 1.0, -1.0])
@pytest.mark.parametrize("name", PILLOW)
def test_an_operation_changes_values_as_pillow_does(name: str, strength: float) -> None:
    if strength < 0 and name not in ("brightness", "color", "contrast"):
        return
    theirs = np.stack([np.asarray(PILLOW[name](Image.fromarray(photo), strength)) for photo in PHOTOS]).astype("float32")
    assert np.abs(_applied(name, strength) - theirs).max() <= 2.01  # Pillow rounds twice


def test_sharpness_changes_values_as_pillow_does_except_at_the_border_which_pillow_leaves() -> None:
    for strength in (-1.0, 0.5):
        theirs = np.stack(
            [np.asarray(ImageEnhance.Sharpness(Image.fromarray(photo)).enhance(1 + 0.9 * strength)) for photo in PHOTOS]
        )
        assert np.abs(_applied("sharpness", strength) - theirs)[:, 1:-1, 1:-1].max() <= 2.01


def test_equalised_channels_have_an_even_histogram() -> None:
    dark = np.random.default_rng(0).normal(60, 12, (2, 96, 96, 3)).clip(20, 100).astype("uint8")
    values = _applied("equalize", 0.0, dark)
    assert values.min() == 0
    assert values.max() == 255
    for photo, result in zip(dark, values, strict=True):
        theirs = np.asarray(ImageOps.equalize(Image.fromarray(photo)), "float32")
        assert np.abs(result - theirs).mean() < 8
    flat = np.full((1, 4, 4, 3), 50, "uint8")
    np.testing.assert_array_equal(_applied("equalize", 0.0, flat), flat)
    np.testing.assert_array_equal(_applied("auto_contrast", 0.0, flat), flat)


def test_geometric_operations_move_the_content_in_the_direction_of_their_sign() -> None:
    dot = np.zeros((1, 33, 33, 1), "uint8")
    dot[0, 8, 16] = 200  # above the centre

    def place(name: str, strength: float) -> tuple[float, float]:
        image = _applied(name, strength, dot)[0, ..., 0]
        rows, columns = np.mgrid[:33, :33]
        return float((image * rows).sum() / image.sum()), float((image * columns).sum() / image.sum())

    assert place("rotate", 1.0) == pytest.approx((16 - 8 * np.cos(np.pi / 6), 16 - 8 * np.sin(np.pi / 6)), abs=0.2)
    assert place("translate_x", -0.5) == pytest.approx((8, 16 - 0.5 * LARGEST_SHIFT * 33), abs=0.1)
    assert place("translate_y", 0.2) == pytest.approx((8 + 0.2 * LARGEST_SHIFT * 33, 16), abs=0.1)
    assert place("shear_x", 1.0) == pytest.approx((8, 16 + 0.3 * 8), abs=0.1)
    assert place("shear_y", 1.0) == pytest.approx((8, 16), abs=0.1)


def test_each_image_of_a_batch_gets_its_own_operation_also_where_some_operations_have_none() -> None:
    photos = np.repeat(PHOTOS[:1], len(OPERATIONS), axis=0)
    numbers = np.random.default_rng(1).permutation(len(OPERATIONS)).astype("int32")
    strengths = np.full(len(OPERATIONS), 0.7, "float32")

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def together(images: Any, numbers: Any, strengths: Any) -> Any:
        return applied(images, numbers, strengths)

    values = np.asarray(together(tf.constant(photos, tf.float32), numbers, strengths))
    for image, number in zip(values, numbers, strict=True):
        np.testing.assert_allclose(image, _applied(OPERATIONS[number], 0.7, PHOTOS[:1])[0], atol=1e-3)
    few = np.asarray(together(tf.constant(photos[:2], tf.float32), numbers[:2], strengths[:2]))
    np.testing.assert_array_equal(few, values[:2])


def test_published_policies_have_25_pairs_of_known_operations() -> None:
    for policy in POLICIES.values():
        assert len(policy) == 25
        for name, probability, magnitude in (step for steps in policy for step in steps):
            assert name in OPERATIONS
            assert 0 <= probability <= 1
            assert magnitude in range(10)


def test_auto_augment_draws_each_sub_policy_with_its_probabilities() -> None:
    steps = sample("Augmentation", "auto_augment", "policy: svhn").steps(20_000, keras.random.SeedGenerator(1))
    shares = [np.bincount(np.asarray(numbers), minlength=len(OPERATIONS)) / 20_000 for numbers, _ in steps]
    for place, share in enumerate(shares):
        expected = np.zeros(len(OPERATIONS))
        for sub_policy in POLICIES["svhn"]:
            name, probability, _ = sub_policy[place]
            expected[number_of(name)] += probability / 25
            expected[0] += (1 - probability) / 25
        assert np.abs(share - expected).max() < 0.012
    numbers, strengths = (np.asarray(values) for values in steps[0])
    assert abs((strengths[np.isin(numbers, [number_of(name) for name in GEOMETRIC])] > 0).mean() - 0.5) < 0.02


def test_rand_augment_draws_its_operations_evenly_and_strengths_up_to_its_factor() -> None:
    steps = sample("Augmentation", "rand_augment", "num_ops: 3, factor: [0.2, 0.6]").steps(
        20_000, keras.random.SeedGenerator(1)
    )
    assert len(steps) == 3
    for numbers, strengths in steps:
        counts = np.bincount(np.asarray(numbers), minlength=len(OPERATIONS))
        assert counts[number_of("invert")] == 0
        assert np.abs(counts[:-1] / 20_000 - 1 / 14).max() < 0.01
        sizes = np.abs(np.asarray(strengths))
        assert 0.2 <= sizes.min() < 0.21
        assert 0.59 < sizes.max() <= 0.6


def test_aug_mix_without_enhancements_keeps_images_that_its_operations_keep() -> None:
    flat = np.full((8, 12, 12, 3), 64.0, "float32")  # posterised to four bits, 64 is 64
    seed = keras.random.SeedGenerator(1)
    kept = sample("Augmentation", "aug_mix", "all_ops: false, factor: 0.5").augment(flat, seed)
    np.testing.assert_allclose(kept, flat, atol=0.01)
    assert np.abs(np.asarray(sample("Augmentation", "aug_mix", "factor: 1.0").augment(flat, seed)) - flat).max() > 1


@pytest.mark.slow
def test_rand_augment_costs_at_most_three_times_a_rotation() -> None:
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3)).astype("uint8"))
    costs = {}
    for kind in ("random_rotation", "rand_augment"):
        spec = sample("Augmentation", kind)
        function = tf.function(lambda images, step, spec=spec: augmented(images, [spec], 0, step), autograph=False)
        function(images, tf.constant(0, tf.int64))
        costs[kind] = function
    best = dict.fromkeys(costs, float("inf"))
    for step in range(1, 8):
        for kind, function in costs.items():
            began = process_time()
            function(images, tf.constant(step, tf.int64))
            best[kind] = min(best[kind], process_time() - began)
    assert best["rand_augment"] < 3 * best["random_rotation"]
