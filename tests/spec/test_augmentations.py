"""Augmentations: all randomness comes from the seed, also inside a tf.data graph whose batch size is not known."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any
from zlib import crc32

import pytest
from conftest import REPOSITORY, run_process

from spec.members import UNIONS, sample

KINDS = [kind for kind, member in UNIONS["Augmentation"].kinds.items() if member.inputs == "images"]  # type: ignore[attr-defined]


def _images(count: int = 4) -> Any:
    import numpy as np

    return np.random.default_rng(0).uniform(0, 255, (count, 16, 16, 3)).astype("float32")


@pytest.fixture(scope="module")
def images() -> Any:
    return _images()


def _changed(kind: str, images: Any, seed: int, fields: str = "") -> Any:
    import keras
    import numpy as np

    return np.asarray(sample("Augmentation", kind, fields).augment(images, keras.random.SeedGenerator(seed)))


@cache
def _first(kind: str) -> Any:
    return _changed(kind, _images(), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_the_pictures(kind: str, images: Any) -> None:
    import numpy as np

    first = _first(kind)
    assert first.shape == images.shape
    assert first.dtype == "float32"
    assert first.min() >= 0
    assert first.max() <= 255
    np.testing.assert_array_equal(first, _changed(kind, images, 1))
    assert (first != images).any()


STEPS = (300, 0, 1)
"""The numbers of three batches; the last one is smaller."""


def _batches(steps: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Returns augmented batches by step and kind, from one `tf.data` pipeline that does not know the size of its batches."""
    import numpy as np
    import tensorflow as tf

    from dlcli.runtime.stream import augmented

    images = np.repeat(_images().astype("uint8"), 3, axis=0)  # three copies of each of four images

    def change(step: Any) -> Any:
        batch = tf.constant(images)[: tf.where(step == STEPS[-1], 7, 12)]
        return step, {kind: augmented(batch, [sample("Augmentation", kind)], 5, step) for kind in KINDS}

    options = tf.data.Options()
    options.autotune.enabled = False
    numbers = tf.data.Dataset.from_tensor_slices(np.array(steps, "int64")).with_options(options)
    mapped = numbers.map(tf.autograph.experimental.do_not_convert(change), num_parallel_calls=2).with_options(options)
    assert mapped.element_spec[1]["random_flip"].shape[0] is None
    return {int(step): {kind: np.asarray(values) for kind, values in batch.items()} for step, batch in mapped}


@pytest.fixture(scope="module")
def batches() -> dict[int, dict[str, Any]]:
    return _batches(STEPS)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_integers_become_changed_floats_in_a_graph(kind: str, batches: dict[int, dict[str, Any]]) -> None:
    for step, count in zip(STEPS, (12, 12, 7), strict=True):
        values = batches[step][kind]
        assert values.dtype == "float32"
        assert values.shape == (count, 16, 16, 3)
        assert values.min() >= 0
        assert values.max() <= 255
    assert (batches[300][kind] != batches[0][kind]).any()


FEW_RESULTS = {"random_flip": 2, "random_posterization": 2, "random_grayscale": 2, "equalization": 2, "auto_contrast": 2}
"""How many different images must be among the results of equal ones, of kinds that have few results."""


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_has_its_own_draws(kind: str, batches: dict[int, dict[str, Any]]) -> None:
    results = [{image.tobytes() for image in batches[0][kind][first : first + 3]} for first in range(0, 12, 3)]
    assert sum(len(result) - 1 for result in results) >= (FEW_RESULTS.get(kind, 4))


@pytest.mark.slow
def test_seed_and_step_alone_decide_in_every_process_and_order(batches: dict[int, dict[str, Any]]) -> None:
    code = "import sys; sys.path.insert(0, 'tests'); from spec.test_augmentations import _sums; print(_sums())"
    other = run_process([sys.executable, "-c", code], cwd=REPOSITORY)
    assert other.stdout.strip() == str(_checksums({step: batches[step] for step in sorted(STEPS)})), other.stderr


def _sums() -> dict[str, list[int]]:
    return _checksums(_batches(sorted(STEPS)))


def _checksums(batches: dict[int, dict[str, Any]]) -> dict[str, list[int]]:
    return {kind: [crc32(batches[step][kind].tobytes()) for step in batches] for kind in KINDS}


def test_random_crop_shows_a_part_of_the_picture(images: Any) -> None:
    import numpy as np

    same = _changed("random_crop", images, 1, "height: 16, width: 16")
    np.testing.assert_allclose(same, images, atol=1e-3)
    cropped = _changed("random_crop", np.full((4, 16, 16, 3), 7.0, "float32"), 1, "height: 5, width: 6")
    np.testing.assert_allclose(cropped, 7.0, rtol=1e-6)


def test_random_erasing_changes_its_share_of_the_images() -> None:
    import numpy as np

    grey = np.full((400, 16, 16, 3), 100.0, "float32")
    for factor in (0.0, 0.5, 1.0):
        fields = f"factor: {factor}, fill_value: 0.0, scale: [0.2, 0.3]"
        share = (_changed("random_erasing", grey, 5, fields) != grey).any(axis=(1, 2, 3)).mean()
        assert abs(share - factor) < 0.1


def test_image_noise_has_the_deviation_asked_for() -> None:
    import numpy as np

    grey = np.full((4, 32, 32, 3), 128.0, "float32")
    assert abs((_changed("gaussian_noise", grey, 1, "stddev: 10.0") - grey).std() - 10) < 0.5


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_pictures_keep_their_bits_under_mixed_precision(policy: str, images: Any) -> None:
    import keras
    import numpy as np

    plain = [_first(kind) for kind in KINDS]
    keras.config.set_dtype_policy(policy)
    try:
        mixed = [_changed(kind, images, 1) for kind in KINDS]
    finally:
        keras.config.set_dtype_policy("float32")
    for one, other in zip(plain, mixed, strict=True):
        assert other.dtype == "float32"
        np.testing.assert_array_equal(one, other)


def test_colour_is_needed_only_where_it_is_changed() -> None:
    import numpy as np

    grey = np.random.default_rng(0).uniform(0, 255, (4, 12, 12, 1)).astype("float32")
    faults = {kind: sample("Augmentation", kind).fault((12, 12, 1)) for kind in KINDS}
    needing = {kind for kind, fault in faults.items() if fault}
    assert needing == {"random_hue", "random_saturation", "random_grayscale", "random_color_jitter"}
    assert faults["random_hue"] == "`random_hue` needs images in colour, but these are grey"
    assert not sample("Augmentation", "random_color_jitter", "contrast_factor: 0.3").fault((12, 12, 1))
    for kind in set(KINDS) - needing:
        assert _changed(kind, grey, 1).shape == grey.shape


def test_saturation_and_sharpness_of_a_half_change_nothing(images: Any) -> None:
    import numpy as np

    for kind in ("random_saturation", "random_sharpness"):
        np.testing.assert_allclose(_changed(kind, images, 1, "factor: [0.5, 0.5]"), images, atol=0.01)
    grey = _changed("random_saturation", images, 1, "factor: [0.0, 0.0]")
    np.testing.assert_allclose(grey, np.repeat(images.max(axis=3, keepdims=True), 3, axis=3), atol=0.01)


@pytest.mark.parametrize(("kind", "fields"), [("random_sharpness", "factor: 0.4"), ("random_gaussian_blur", "sigma: 1.0")])
def test_flat_images_stay_flat_up_to_their_border(kind: str, fields: str) -> None:
    import numpy as np

    flat = np.full((3, 8, 8, 3), 100.0, "float32")
    np.testing.assert_allclose(_changed(kind, flat, 1, fields), flat, rtol=1e-5)


def test_both_ends_of_a_range_are_reached() -> None:
    import numpy as np

    ramp = np.tile(np.arange(256, dtype="float32").reshape(1, 16, 16, 1), (200, 1, 1, 1))
    levels = {len(np.unique(image)) for image in _changed("random_posterization", ramp, 1, "factor: [2, 4]")}
    assert levels == {4, 8, 16}
    solarized = _changed("solarization", ramp, 1, "threshold_factor: [0.4, 0.6]")
    kept = (solarized == ramp).reshape(200, -1).sum(axis=1) / 256
    assert 0.39 < kept.min() < 0.43
    assert 0.57 < kept.max() < 0.61


def test_salt_and_pepper_changes_its_share_of_the_pixels() -> None:
    import numpy as np

    grey = np.full((4, 64, 64, 3), 100.0, "float32")
    changed = _changed("salt_and_pepper", grey, 1, "factor: 0.2")
    assert set(np.unique(changed)) == {0.0, 100.0, 255.0}
    assert abs((changed == 0).mean() - 0.1) < 0.01
    assert abs((changed == 255).mean() - 0.1) < 0.01
    assert (changed[..., 0] == changed[..., 2]).all()


def test_an_illumination_gradient_is_strongest_at_the_border() -> None:
    import numpy as np

    grey = np.full((50, 9, 9, 1), 100.0, "float32")
    changed = _changed("illumination_gradient", grey, 1, "factor: [0.5, 0.5]")[..., 0]
    np.testing.assert_allclose(changed[:, 4, 4], 100.0, rtol=1e-5)
    assert changed.min() == pytest.approx(50.0, abs=1e-3)
    np.testing.assert_allclose(changed.max(axis=(1, 2)), 150.0, rtol=1e-5)


def test_an_affine_map_is_the_rotation_or_scaling_that_it_says(images: Any) -> None:
    import numpy as np

    turned = _changed("random_affine", images, 1, "rotation_factor: [0.25, 0.25]")
    np.testing.assert_allclose(turned, np.rot90(images, axes=(1, 2)), atol=0.05)
    np.testing.assert_allclose(turned, _changed("random_rotation", images, 1, "factor: [0.25, 0.25]"), atol=0.05)
    shifted = _changed("random_affine", images, 1, "width_factor: [0.25, 0.25], height_factor: [0.125, 0.125]")
    np.testing.assert_allclose(shifted[:, 2:, 4:], images[:, :-2, :-4], atol=0.05)
    square = np.zeros((1, 17, 17, 1), "float32")
    square[:, 6:11, 6:11] = 200.0
    assert abs(_changed("random_rescale", square, 1, "scale: [2.0, 2.0]").mean() / square.mean() - 4) < 0.4
    assert abs(_changed("random_affine", square, 1, "scale: [2.0, 2.0]").mean() / square.mean() - 4) < 0.4
    padded = _changed("random_padding", np.full((64, 16, 16, 1), 90.0, "float32"), 1, "factor: 0.25, fill_value: 10.0")
    assert padded.min() == pytest.approx(10.0)
    assert abs((padded.mean() - 10) / 80 - 0.75**2) < 0.04  # each side leaves 1 - 2 * 0.125 of the image
