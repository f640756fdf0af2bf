"""Resamples images by a matrix each: any sequence of rotations, shifts and scalings is one interpolation.

A matrix `(batch, 8)` maps places of the result to places of the image, (x, y) in pixels: `a0 x + a1 y + a2` and
`b0 x + b1 y + b2`, divided by `c0 x + c1 y + 1`, as `keras.ops.image.affine_transform` reads it.
"""

from __future__ import annotations

from math import pi
from typing import Any


def resampled(images: Any, matrix: Any, *, interpolation: str, fill_mode: str, fill_value: float = 0.0) -> Any:
    """Returns float32 images `(batch, height, width, channels)` whose pixels are taken from the places of the matrix."""
    import keras

    return keras.ops.image.affine_transform(
        images, matrix, interpolation=interpolation, fill_mode=fill_mode, fill_value=fill_value
    )


def about_centre(images: Any, linear: tuple[Any, Any, Any, Any], shift: tuple[Any, Any]) -> Any:
    """Returns the matrices of linear maps about the centre of the images and of shifts, `(batch, 8)`.

    Args:
        images: the images, whose size is known.
        linear: `a0`, `a1`, `b0` and `b1`, each `(batch,)`.
        shift: how far the content moves to the right and down in pixels, each `(batch,)`.
    """
    import keras

    a0, a1, b0, b1 = linear
    height, width = images.shape[1:3]
    x, y = (width - 1) / 2, (height - 1) / 2
    right, down = x + shift[0], y + shift[1]
    zeros = keras.ops.zeros_like(a0)
    a2, b2 = x - a0 * right - a1 * down, y - b0 * right - b1 * down
    return keras.ops.stack([a0, a1, a2, b0, b1, b2, zeros, zeros], axis=1)


def linear_map(turn: Any, scale: Any, shear_x: Any, shear_y: Any) -> tuple[Any, Any, Any, Any]:
    """Returns `a0`, `a1`, `b0` and `b1` of a rotation (in full turns, counterclockwise), then a shear, then a scaling.

    All arguments are `(batch,)`. Images grow by `scale`, so places are divided by it.
    """
    import keras

    cosine, sine = keras.ops.cos(2 * pi * turn), keras.ops.sin(2 * pi * turn)
    sheared = (cosine - sine * shear_y, cosine * shear_x - sine, sine + cosine * shear_y, sine * shear_x + cosine)
    a0, a1, b0, b1 = (value / scale for value in sheared)
    return a0, a1, b0, b1
