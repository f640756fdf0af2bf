"""Images that a source has as arrays, brought to the size, the channels and the range of values of the settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dlcli.runtime.image_reader import eight_bits, fit, fit_deep
from dlcli.runtime.images import ImageOptions, settings_of

if TYPE_CHECKING:
    from dlcli.arrays import Array


def shown(pixels: Array) -> Array:
    """Returns pixels, 0 to 255 of any type, as uint8 for display."""
    return pixels if pixels.dtype == np.uint8 else np.clip(np.rint(pixels), 0, 255).astype("uint8")


def fit_array(pixels: Array, image: ImageOptions) -> Array:
    """Returns one image `(height, width, channels)` of 8 or 16 bits as uint8 in the settings' size, channels and range."""
    settings = settings_of(image.model_copy(update={"channels": image.channels or (1 if pixels.shape[2] == 1 else 3)}))
    if pixels.dtype != "uint8" and settings.value_range is not None:
        return shown(fit_deep(pixels.astype("float32"), None, 1, settings)[0])
    pixels = pixels if pixels.dtype == "uint8" else eight_bits(pixels)
    return fit(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels), replace(settings, value_range=None))


def fit_arrays(images: Array, image: ImageOptions) -> Array:
    """Returns uint8 images `(n, height, width, channels)` in the settings' size and channels."""
    same = image.size in (None, images.shape[1:3]) and image.channels in (None, images.shape[3])
    if same or not len(images):
        return images
    first = fit_array(images[0], image)
    fitted = np.empty((len(images), *first.shape), dtype="uint8")
    for position, pixels in enumerate(images):
        fitted[position] = fit_array(pixels, image)
    return fitted


def fit_deep_arrays(images: Array, image: ImageOptions) -> Array:
    """Returns images `(n, height, width[, channels])` as float32 in the settings' size, channels and value range.

    uint8 values stay 0 to 255; for other types the values of `value_range` become 0 and 255.
    """
    images = images[..., None] if images.ndim == 3 else images
    settings = settings_of(image)
    if images.dtype == np.uint8:
        settings = replace(settings, value_range=(0.0, 255.0))
    return np.stack([fit_deep(pixels.astype("float32"), None, 1, settings)[0] for pixels in images])
