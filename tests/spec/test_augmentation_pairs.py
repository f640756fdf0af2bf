"""Pairs of images and masks: masks move with their images, and no two classes are blended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlcli.runtime.engine import keras, tf
from dlcli.runtime.stream import augmented, augmented_pairs
from dlcli.spec.data.augmentations.operations import GEOMETRIC, applied, moved_with, number_of
from spec.members import UNIONS, sample

KINDS: dict[str, Any] = {kind: member for kind, member in UNIONS["Augmentation"].kinds.items() if member.inputs == "images"}  # type: ignore[attr-defined]
WITHOUT_MASKS = ("aug_mix", "mix_up", "cut_mix")
PAIRED = [kind for kind in KINDS if kind not in WITHOUT_MASKS]
MASKS = np.random.default_rng(0).choice([0, 3, 7, 11], (6, 18, 24, 1)).astype("uint8")
IMAGES = np.repeat(MASKS, 3, axis=3).astype("float32") * 20
NEAREST = {
    "random_rotation": "factor: 0.3",
    "random_translation": "height_factor: 0.3, width_factor: 0.3",
    "random_zoom": "height_factor: 0.4",
    "random_shear": "x_factor: 0.5, y_factor: 0.5",
    "random_perspective": "scale: 0.4",
    "random_affine": "rotation_factor: 0.2, width_factor: 0.2, shear_factor: 0.2, scale: [0.7, 1.3]",
    "random_rescale": "scale: [0.5, 2.0]",
    "random_padding": "factor: 0.3",
}
"""Kinds that take nearest pixels if they are told to."""


def _pair(kind: str, fields: str = "", **options: Any) -> tuple[Any, Any]:
    augmentation = sample("Augmentation", kind, fields)
    images, masks = augmentation.augment_pair(tf.constant(IMAGES), tf.constant(MASKS), keras.random.SeedGenerator(3), **options)
    return np.asarray(images), np.asarray(masks)


@pytest.mark.parametrize("kind", PAIRED)
def test_images_are_those_without_masks_and_masks_keep_their_classes(kind: str) -> None:
    fields = "policy: svhn" if kind == "auto_augment" else ""  # the others seldom move pixels
    images, masks = _pair(kind, fields, ignored=255)
    np.testing.assert_array_equal(images, sample("Augmentation", kind, fields).augment(IMAGES, keras.random.SeedGenerator(3)))
    assert masks.dtype == MASKS.dtype
    assert masks.shape == MASKS.shape
    assert set(np.unique(masks)) <= {0, 3, 7, 11, 255}
    is_moved = (masks != MASKS).any()
    assert is_moved == KINDS[kind].moves_pixels


@pytest.mark.parametrize("kind", NEAREST)
def test_masks_move_exactly_as_their_images(kind: str) -> None:
    images, masks = _pair(kind, f"{NEAREST[kind]}, interpolation: nearest", ignored=0)
    assert (masks != MASKS).any()
    np.testing.assert_allclose(images, np.repeat(masks, 3, axis=3) * 20.0, atol=1e-3)


def test_flipped_masks_are_those_of_flipped_images() -> None:
    images, masks = _pair("random_flip")
    np.testing.assert_array_equal(images, np.repeat(masks, 3, axis=3) * 20.0)


def test_the_window_of_a_mask_is_that_of_its_image() -> None:
    slope = np.tile(np.add.outer(np.arange(18), np.arange(24))[None, :, :, None], (6, 1, 1, 1)).astype("int32")
    crop = sample("Augmentation", "random_crop", "height: 9, width: 12")
    images, masks = crop.augment_pair(tf.constant(slope * 5.0, tf.float32), tf.constant(slope), keras.random.SeedGenerator(3))
    assert len({int(mask[0, 0, 0]) for mask in np.asarray(masks)}) > 2
    assert np.abs(np.asarray(images) / 5 - np.asarray(masks)).max() <= 0.51  # a slope is interpolated exactly, by half a pixel


def test_pixels_from_outside_have_the_ignored_class_and_not_the_colour_of_the_image() -> None:
    fields = "fill_mode: constant, fill_value: 240.0, interpolation: nearest"
    for kind, factors in NEAREST.items():
        chosen = fields.removeprefix("fill_mode: constant, ") if kind == "random_perspective" else fields
        images, masks = _pair(kind, f"{factors}, {chosen}", ignored=255)
        outside = masks == 255
        assert outside.any(), kind
        np.testing.assert_array_equal(images[..., :1] == 240, outside)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_masks_follow_the_operations_of_policies(name: str) -> None:
    numbers, strengths = np.full(6, number_of(name), "int32"), np.linspace(-1, 1, 6).astype("float32")
    images = np.asarray(applied(tf.constant(IMAGES), numbers, strengths, interpolation="nearest"))
    masks = np.asarray(moved_with(tf.constant(MASKS), numbers, strengths))
    np.testing.assert_allclose(images, np.repeat(masks, 3, axis=3) * 20.0, atol=1e-3)
    unmoved = np.asarray(moved_with(tf.constant(MASKS), np.full(6, number_of("invert"), "int32"), strengths))
    np.testing.assert_array_equal(unmoved, MASKS)


@pytest.mark.parametrize("kind", WITHOUT_MASKS)
def test_kinds_that_blend_pixels_refuse_masks(kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} (mixes|blends)"):
        _pair(kind)


def test_the_stream_augments_pairs_as_it_augments_images() -> None:
    augment = [sample("Augmentation", kind) for kind in ("random_flip", "random_affine", "rand_augment", "gaussian_noise")]
    step = tf.constant(7, tf.int64)
    images, masks = augmented_pairs(IMAGES.astype("uint8"), tf.constant(MASKS), augment, 5, step, ignored=255)
    np.testing.assert_array_equal(images, augmented(IMAGES.astype("uint8"), augment, 5, step))
    assert masks.dtype == "uint8"
    assert set(np.unique(masks)) <= {0, 3, 7, 11, 255}
