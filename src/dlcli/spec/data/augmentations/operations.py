"""The operations of policies: each image gets its own one, and only the images that drew an operation pay for it.

A batch is divided by operation, each part is changed as a whole, and the parts are put back in order. So a step of a policy
costs two copies of the batch and, of each operation, the share of the images that drew it. All rotations, shears and shifts
are one part, which is resampled once, with a matrix for each image.

The strength of an operation is a number for each image, from 0 (no change) to 1 (the largest change of the policies of
AutoAugment); those of `SIGNED` have a direction too, from -1 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlcli.spec.data.augmentations import pixels
from dlcli.spec.data.augmentations.base import moved_masks
from dlcli.spec.data.augmentations.resampling import about_centre, linear_map, resampled

GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
SIGNED = (*GEOMETRIC, "brightness", "color", "contrast", "sharpness")
OPERATIONS = (
    "identity",
    *SIGNED,
    "posterize",
    "solarize",
    "auto_contrast",
    "equalize",
    "invert",
)
"""The names of the operations, in the order of their numbers."""
LARGEST_SHEAR = 0.3
LARGEST_SHIFT = 150 / 331
LARGEST_TURN = 30 / 360
LARGEST_ENHANCEMENT = 0.9
_MOVED = 1
"""The part of the images whose pixels move."""


def number_of(operation: str) -> int:
    """Returns the number of an operation."""
    return OPERATIONS.index(operation)


def _brightness(images: Any, strength: Any) -> Any:
    import tensorflow as tf

    return pixels.blended(images, tf.zeros_like(images[:, :1, :1, :1]), 1.0 + LARGEST_ENHANCEMENT * strength)


def _color(images: Any, strength: Any) -> Any:
    """Returns images between grey and twice their colours; grey images stay as they are."""
    if images.shape[-1] != 3:
        return images
    return pixels.blended(images, pixels.grey(images), 1.0 + LARGEST_ENHANCEMENT * strength)


def _contrast(images: Any, strength: Any) -> Any:
    return pixels.blended(images, pixels.mean_grey(images), 1.0 + LARGEST_ENHANCEMENT * strength)


def _sharpness(images: Any, strength: Any) -> Any:
    return pixels.blended(images, pixels.smoothed(images), 1.0 + LARGEST_ENHANCEMENT * strength)


def _posterize(images: Any, strength: Any) -> Any:
    import tensorflow as tf

    return pixels.posterised(images, 8.0 - tf.round(4.0 * strength))


def _solarize(images: Any, strength: Any) -> Any:
    return pixels.solarised(images, 256.0 * (1.0 - strength))


def _auto_contrast(images: Any, _: Any) -> Any:
    return pixels.stretched(images)


def _equalize(images: Any, _: Any) -> Any:
    return pixels.equalised(images)


def _invert(images: Any, _: Any) -> Any:
    return 255.0 - images


_CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "brightness": _brightness,
    "color": _color,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "invert": _invert,
}
_PARTS = ("identity", "moved", *_CHANGES)


def applied(images: Any, numbers: Any, strengths: Any, *, interpolation: str = "bilinear") -> Any:
    """Returns each image after its own operation.

    Args:
        images: float32 `(batch, height, width, channels)`, 0 to 255.
        numbers: the number of each image's operation, int32 `(batch,)`.
        strengths: the strength of each image's operation, float32 `(batch,)`.
        interpolation: of the images whose pixels move.
    """
    import tensorflow as tf

    parts = _part_of(numbers)
    divided, strengths_of = (tf.dynamic_partition(values, parts, len(_PARTS)) for values in (images, strengths))
    divided[_MOVED] = _moved(divided[_MOVED], numbers, strengths, parts, interpolation)
    for place, name in enumerate(_PARTS):
        if name in _CHANGES:
            divided[place] = _CHANGES[name](divided[place], strengths_of[place])
    places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), parts, len(_PARTS))
    return tf.ensure_shape(tf.dynamic_stitch(places, divided), images.shape)


def moved_with(masks: Any, numbers: Any, strengths: Any) -> Any:
    """Returns masks after the operations that move pixels; arguments as for `applied`."""
    import tensorflow as tf

    matrix = tf.where((numbers >= 1) & (numbers <= len(GEOMETRIC)), 1.0, 0.0)
    strengths = strengths * matrix
    return moved_masks(
        lambda values: resampled(values, _matrix(values, numbers, strengths), interpolation="nearest", fill_mode="reflect"),
        masks,
    )


def _part_of(numbers: Any) -> Any:
    """Returns the number of the part of each operation: 0 for none, 1 for those that move pixels."""
    import tensorflow as tf

    parts = [_PARTS.index("moved" if name in GEOMETRIC else name) for name in OPERATIONS]
    return tf.gather(tf.constant(parts, tf.int32), numbers)


def _moved(images: Any, numbers: Any, strengths: Any, parts: Any, interpolation: str) -> Any:
    import tensorflow as tf

    of_part = tf.where(parts == _MOVED)[:, 0]
    matrix = _matrix(images, tf.gather(numbers, of_part), tf.gather(strengths, of_part))
    return resampled(images, matrix, interpolation=interpolation, fill_mode="reflect")


def _matrix(images: Any, numbers: Any, strengths: Any) -> Any:
    """Returns the matrix of the one geometric operation of each image; that of no operation changes nothing."""
    import tensorflow as tf

    def of(name: str, largest: float) -> Any:
        return tf.where(numbers == number_of(name), largest * strengths, 0.0)

    height, width = images.shape[1:3]
    turn, shear_x, shear_y = of("rotate", LARGEST_TURN), of("shear_x", LARGEST_SHEAR), of("shear_y", LARGEST_SHEAR)
    shift = (of("translate_x", LARGEST_SHIFT * width), of("translate_y", LARGEST_SHIFT * height))
    return about_centre(images, linear_map(turn, tf.ones_like(turn), shear_x, shear_y), shift)
