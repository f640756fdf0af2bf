"""Augmentations: all randomness comes from the seed, also inside a tf.data graph whose batch size is not known."""

from __future__ import annotations

from typing import Any

import pytest

from spec.members import UNIONS, sample

KINDS = list(UNIONS["Augmentation"].kinds)


@pytest.fixture(scope="module")
def images() -> Any:
    import numpy as np

    return np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype("float32")


def _changed(kind: str, images: Any, seed: int, fields: str = "") -> Any:
    import keras
    import numpy as np

    return np.asarray(sample("Augmentation", kind, fields).augment(images, keras.random.SeedGenerator(seed)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_the_pictures(kind: str, images: Any) -> None:
    import numpy as np

    first = _changed(kind, images, 1)
    assert first.shape == images.shape
    assert first.dtype == "float32"
    assert first.min() >= 0
    assert first.max() <= 255
    np.testing.assert_array_equal(first, _changed(kind, images, 1))
    assert (first != _changed(kind, images, 2)).any()
    assert (first != images).any()


@pytest.mark.parametrize("kind", KINDS)
def test_works_inside_a_tf_data_map_of_unknown_batch_size(kind: str, images: Any) -> None:
    import numpy as np
    import tensorflow as tf

    from dlcli.runtime.stream import StepSeed

    augmentation = sample("Augmentation", kind)

    def change(step: Any, batch: Any) -> Any:
        return augmentation.augment(batch, StepSeed(3, 0, step))

    options = tf.data.Options()
    options.autotune.enabled = False
    batches = tf.data.Dataset.from_tensor_slices(images).batch(3).enumerate()
    mapped = batches.map(tf.autograph.experimental.do_not_convert(change), num_parallel_calls=2).with_options(options)
    assert mapped.element_spec.shape[0] is None
    first, second = ([np.asarray(batch) for batch in mapped] for _ in range(2))
    assert [batch.shape for batch in first] == [(3, 16, 16, 3), (1, 16, 16, 3)]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


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

    plain = [_changed(kind, images, 1) for kind in KINDS]
    keras.config.set_dtype_policy(policy)
    try:
        mixed = [_changed(kind, images, 1) for kind in KINDS]
    finally:
        keras.config.set_dtype_policy("float32")
    for one, other in zip(plain, mixed, strict=True):
        assert other.dtype == "float32"
        np.testing.assert_array_equal(one, other)
