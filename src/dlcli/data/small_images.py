"""Small images: the reduction of images to a few pixels, and the correlations by which copies are recognised."""

from __future__ import annotations

import numpy as np

from dlcli.arrays import Array

SIDE = 16
"""Side of the small colour images that are compared, in pixels."""
ALIKE = 0.96
"""Correlation of two small images above which they count as near copies; independent photos never reach it."""


def block_means(images: Array) -> Array:
    """Returns images `(n, height, width, channels)` reduced to `(n, 16, 16, channels)`: means of blocks of pixels."""
    rows, columns = (np.linspace(0, size, SIDE, endpoint=False).astype(int) for size in images.shape[1:3])
    sums = np.add.reduceat(np.add.reduceat(images, rows, axis=1), columns, axis=2)
    heights, widths = np.diff([*rows, images.shape[1]]), np.diff([*columns, images.shape[2]])
    return np.asarray(sums / (heights[:, None] * widths)[None, :, :, None])


def correlations(images: Array, others: Array) -> Array:
    """Returns Pearson's correlation over the pixels of each of `n` images with each of `m` others, `(n, m)`.

    It does not depend on brightness and contrast. A single-colour image correlates with nothing.
    """
    return np.asarray(standardised(images) @ standardised(others).T)


def standardised(images: Array) -> Array:
    """Returns the pixels of each image as a row of mean 0 and length 1; the row of a single-colour image is 0."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.sqrt((flat**2).sum(axis=1, keepdims=True))
    return np.asarray(np.where(length > flat.shape[1] ** 0.5, flat / np.maximum(length, 1e-6), 0))
