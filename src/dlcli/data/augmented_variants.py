"""Augmented variants of one example, as a training sees them, for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcli.errors import DataError
from dlcli.runtime.stream import StepSeed

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.spec.data.augmentations import AugmentationSpec
    from dlcli.spec.data.sources.base import Examples
    from dlcli.spec.experiment import Experiment

Chain = Sequence[tuple[int, "AugmentationSpec"]]
"""Augmentations that follow each other, with their places in `data.augment`."""
ORIGINAL = "original"
TOGETHER = "all together"


@dataclass(frozen=True)
class Variants:
    """Variants of an example.

    Attributes:
        caption: the kind of the augmentation, `original`, or `all together`.
        images: uint8 `(n, height, width, channels)`.
        masks: the masks that have moved with them, integers `(n, height, width, 1)`; None without masks.
    """

    caption: str
    images: Array
    masks: Array | None = None


def variants(
    experiment: Experiment, examples: Examples, count: int, *, place: int = 0, mask: Array | None = None
) -> list[Variants]:
    """Returns the example, `count` variants of it by each augmentation of `data.augment` alone, and by all together.

    Augmentations that mix examples get the next `count` examples in place of one, since they need others.

    Args:
        experiment: the experiment; its seed decides the variants.
        examples: examples whose inputs are images.
        count: the number of variants of each augmentation.
        place: the place of the example.
        mask: the class of each pixel of the example, integers `(height, width, 1)`.

    Raises:
        DataError: the examples are no images, or a file cannot be read.
        ValueError: there is a mask, but an augmentation mixes images.
    """
    augment = [(index, item) for index, item in enumerate(experiment.data.augment) if item.inputs == "images"]
    image = np.asarray(examples.inputs.read(np.array([place])))
    if image.ndim != 4:
        raise DataError("augmented variants need images")
    originals = None if mask is None else mask[None]
    results = [Variants(ORIGINAL, _as_pixels(image), originals)]
    chains: list[tuple[str, Chain]] = [(item.kind, [(index, item)]) for index, item in augment]
    chains += [(TOGETHER, augment)] if len(augment) > 1 else []
    for caption, chain in chains:
        places = np.arange(place, place + count) % len(examples)
        is_mixed = any(item.mixes_labels for _, item in chain)
        images = np.asarray(examples.inputs.read(places)) if is_mixed else np.repeat(image, count, axis=0)
        masks = None if originals is None else np.repeat(originals, count, axis=0)
        results.append(_changed(caption, chain, images, masks, experiment.seed))
    return results


def _changed(caption: str, chain: Chain, images: Array, masks: Array | None, run_seed: int) -> Variants:
    """Returns images and masks after a chain of augmentations; each draws from its own place in `data.augment`."""
    import tensorflow as tf

    values: Any = tf.cast(images, tf.float32)
    moved: Any = masks if masks is None else tf.constant(masks)
    for index, item in chain:
        seed = StepSeed(run_seed, index, tf.constant(0, tf.int64))
        if moved is None:
            values = item.augment(values, seed)
        else:
            values, moved = item.augment_pair(values, moved, seed)
    return Variants(caption, _as_pixels(np.asarray(values)), None if moved is None else np.asarray(moved))


def _as_pixels(images: Array) -> Array:
    return np.clip(np.round(images.astype("float32")), 0, 255).astype("uint8")
