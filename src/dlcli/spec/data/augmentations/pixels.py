"""Functions of whole images that several augmentations share. Images are float32 `(n, height, width, channels)`, 0 to 255.

Each image is changed by itself, and `n` may be 0.
"""

from __future__ import annotations

from typing import Any

_WEIGHTS = (0.299, 0.587, 0.114)
"""The shares of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""


def blended(images: Any, other: Any, factor: Any) -> Any:
    """Returns `other + factor * (images - other)`, kept within 0 to 255; `factor` is `(n,)`, and 1 changes nothing."""
    import tensorflow as tf

    return tf.clip_by_value(other + factor[:, None, None, None] * (images - other), 0.0, 255.0)


def grey(images: Any) -> Any:
    """Returns the brightness of each pixel, `(n, height, width, 1)`."""
    import tensorflow as tf

    return tf.tensordot(images, tf.constant(_WEIGHTS)[:, None], 1) if images.shape[-1] == 3 else images[..., :1]


def mean_grey(images: Any) -> Any:
    """Returns the mean brightness of each image, `(n, 1, 1, 1)`."""
    import tensorflow as tf

    return tf.reduce_mean(grey(images), [1, 2, 3], keepdims=True)


def smoothed(images: Any) -> Any:
    """Returns images whose pixels are weighted means with their neighbours; pixels of the border are repeated outside.

    The kernel is that of Pillow's `SMOOTH` filter: 5 for the pixel, 1 for each neighbour. It is a sum of shifted images, since
    a convolution of no image at all has a wrong shape in a graph (TensorFlow 2.21).
    """
    import tensorflow as tf

    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4.0 * images) / 13.0


def stretched(images: Any) -> Any:
    """Returns images whose channels have 0 as their smallest and 255 as their largest value; flat channels are kept."""
    import tensorflow as tf

    lowest = tf.reduce_min(images, [1, 2], keepdims=True)
    width = tf.reduce_max(images, [1, 2], keepdims=True) - lowest
    scaled = (images - lowest) * (255.0 / tf.where(width > 0, width, 1.0))
    return tf.where(width > 0, tf.clip_by_value(scaled, 0.0, 255.0), images)


def equalised(images: Any) -> Any:
    """Returns images whose channels have an even histogram of 256 levels; flat channels are kept.

    A value becomes the share of the channel's pixels with a value up to its own, without those of the smallest value.
    """
    import tensorflow as tf

    levels = tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.int32)
    count, channels = tf.shape(images)[0], images.shape[-1]
    first = 256 * tf.reshape(tf.range(count * channels), [count, 1, 1, channels])
    histogram = tf.math.bincount(tf.reshape(levels + first, [-1]), minlength=count * channels * 256, dtype=tf.float32)
    below = tf.cumsum(tf.reshape(histogram, [-1, 256]), axis=1)
    total = float(images.shape[1] * images.shape[2])
    # Of the smallest value: the first number of pixels above 0.
    smallest = tf.reduce_min(tf.where(below > 0, below, total), axis=1, keepdims=True)
    is_flat = smallest >= total
    table = tf.round((below - smallest) * 255.0 / tf.where(is_flat, 1.0, total - smallest))
    table = tf.where(is_flat, tf.range(256, dtype=tf.float32)[None], tf.maximum(table, 0.0))
    return tf.gather(tf.reshape(table, [-1]), levels + first)


def posterised(images: Any, bits: Any) -> Any:
    """Returns images whose values keep their upper bits, float32 `(n,)`."""
    import tensorflow as tf

    step = tf.pow(2.0, 8.0 - bits)[:, None, None, None]
    return tf.floor(images / step) * step


def solarised(images: Any, threshold: Any) -> Any:
    """Returns images whose values from a threshold `(n,)` on are inverted."""
    import tensorflow as tf

    return tf.where(images < threshold[:, None, None, None], images, 255.0 - images)


def blurred(images: Any, kernel_size: tuple[int, int], sigma: Any) -> Any:
    """Returns images blurred by a Gaussian kernel of `kernel_size` (rows, columns); `sigma` `(n,)` is each image's own."""
    return _blurred_along(_blurred_along(images, 1, kernel_size[0], sigma), 2, kernel_size[1], sigma)


def _blurred_along(images: Any, axis: int, size: int, sigma: Any) -> Any:
    """Returns images blurred along an axis; the image is reflected at its border."""
    import tensorflow as tf

    reach, length = size // 2, images.shape[axis]
    distance = tf.range(-reach, reach + 1, dtype=tf.float32)
    weights = tf.exp(-0.5 * tf.square(distance[None] / tf.maximum(sigma, 1e-6)[:, None]))
    weights = weights / tf.reduce_sum(weights, axis=1, keepdims=True)
    padded = tf.pad(images, [[reach, reach] if place == axis else [0, 0] for place in range(4)], "SYMMETRIC")
    parts = (padded[:, start : start + length] if axis == 1 else padded[:, :, start : start + length] for start in range(size))
    return tf.add_n([part * weights[:, start, None, None, None] for start, part in enumerate(parts)])
