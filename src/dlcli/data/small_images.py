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


_CROPS = (0.01, 0.02, 0.03, 0.05)
"""Shares of the width and of the height that a copy may lack at each side."""
DETAILS_ALIKE = 0.85
"""Correlation of the details of two images, without the best plane through each channel, above which they may be copies."""
_RELATED = 0.7
"""Correlation from which two images are compared with crops of each other."""
_CAPTION = 3
"""Rows at the top or at the bottom, of 16, that a caption may cover."""


def aligned_correlations(images: Array, others: Array) -> Array:
    """Returns the correlation of each image with the other at its place, float32 `(n,)`, where one may be a changed copy.

    It is the largest one over crops of either image by up to 5 % at each side, and without the rows that a caption may cover.

    Args:
        images: float32 `(n, height, width, channels)`, at least 16 by 16 pixels.
        others: images of the same shape.
    """
    first, second = _cropped(images, 0), _cropped(others, 0)
    best = np.maximum(_pairwise(first, second), _pairwise(first[:, _CAPTION:], second[:, _CAPTION:]))
    best = np.maximum(best, _pairwise(first[:, :-_CAPTION], second[:, :-_CAPTION]))
    related = np.flatnonzero((best > _RELATED) & (best <= ALIKE))
    for crop in _CROPS if len(related) else ():
        of_others = _pairwise(first[related], _cropped(others[related], crop))
        of_images = _pairwise(_cropped(images[related], crop), second[related])
        best[related] = np.maximum(best[related], np.maximum(of_others, of_images))
    return best


def _pairwise(images: Array, others: Array) -> Array:
    """Returns the correlation of each image with the other at its place, `(n,)`; less where their details do not correlate.

    Any two smooth gradients correlate, so the details must too: what remains without the best plane through each channel.
    """
    whole = np.einsum("np,np->n", standardised(images), standardised(others))
    details = np.einsum("np,np->n", standardised(_details(images)), standardised(_details(others)))
    return np.asarray(np.minimum(whole, details + (ALIKE - DETAILS_ALIKE)))


def _details(images: Array) -> Array:
    """Returns images without the plane, a linear function of row and column, that fits each channel best."""
    rows, columns = (np.linspace(-1, 1, size, dtype="float32") for size in images.shape[1:3])
    details = images - images.mean(axis=(1, 2), keepdims=True)
    down = np.einsum("nyxc,y->nc", details, rows) / ((rows**2).sum() * len(columns))
    across = np.einsum("nyxc,x->nc", details, columns) / ((columns**2).sum() * len(rows))
    return np.asarray(details - down[:, None, None] * rows[:, None, None] - across[:, None, None] * columns[:, None])


def _cropped(images: Array, share: float) -> Array:
    """Returns images without a share of their pixels at each side, reduced to 16 by 16 pixels."""
    rows, columns = (_block_weights(size, share) for size in images.shape[1:3])
    return np.asarray(np.einsum("ry,nyxc,sx->nrsc", rows, images, columns, optimize=True))


def _block_weights(size: int, share: float) -> Array:
    """Returns the weights `(16, size)` by which pixels are averaged in blocks of equal size, also of parts of pixels."""
    edges = np.linspace(size * share, size * (1 - share), SIDE + 1)
    starts = np.arange(size)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    weights = np.maximum(overlap, 0)
    shares: Array = (weights / weights.sum(axis=1, keepdims=True)).astype("float32")
    return shares
