"""Heat maps of the image regions that support a class: Grad-CAM and occlusion."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.explain.network import BATCH, recorded_outputs, score_of, scores
from dlcli.models.raw_output import before_squashing
from dlcli.runtime.engine import tf
from dlcli.tasks import Task

_WINDOWS = 8
"""The longer side of an image in occluding windows."""


def grad_cam(model: Any, layer: Any, images: Array, places: Array, task: Task) -> Array:
    """Returns Grad-CAM's maps, float32 `(n, rows, columns)` of the layer's output, from 0 to 1.

    All 0 where nothing supports the class. The map is the positive part of the channels' sum, each weighted by the mean
    gradient of the class's score before the softmax with respect to it (Selvaraju et al. 2017, equations 1 and 2).

    Args:
        model: the saved model.
        layer: a layer inside it whose output is `(n, rows, columns, channels)`.
        images: `(n, height, width, channels)`, 0 to 255.
        places: the class, label or target of each image `(n,)`.
        task: the task.
    """
    maps = []
    for start in range(0, len(images), BATCH):
        batch_places = places[start : start + BATCH]
        # The tape records only the layers after the map: the outputs of all layers of a batch would take gigabytes.
        tape = tf.GradientTape(watch_accessed_variables=False)
        with before_squashing(model) as plain, tape, recorded_outputs(layer, tape) as outputs:
            output = tf.cast(model(tf.constant(images[start : start + BATCH]), training=False), tf.float32)
            image_scores = [
                score_of(output[at : at + 1], int(place), task, plain=plain) for at, place in enumerate(batch_places)
            ]
            total = tf.add_n([tf.reduce_sum(score) for score in image_scores])
        gradients = tf.cast(tape.gradient(total, outputs[-1]), tf.float32)
        weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
        maps.append(np.asarray(tf.nn.relu(tf.reduce_sum(weights * tf.cast(outputs[-1], tf.float32), axis=-1))))
    return _scale_to_one(np.concatenate(maps))


def has_gradient(model: Any, layer: Any) -> bool:
    """Whether a model's output has a gradient with respect to a layer inside it.

    Decision trees and votes have none: their outputs are piecewise constant.
    """
    image = tf.zeros((1, *model.input_shape[1:]))
    tape = tf.GradientTape(watch_accessed_variables=False)
    with tape, recorded_outputs(layer, tape) as outputs:
        total = tf.reduce_sum(tf.cast(model(image, training=False), tf.float32))
    return tape.gradient(total, outputs[-1]) is not None


def occlusion(model: Any, image: Array, place: int, task: Task) -> tuple[Array, float]:
    """Returns the decrease of a class's score where a window of the image's mean colour covers it, and the largest decrease.

    The map is float32 `(height, width)`, the mean over the windows that cover a pixel, scaled to at most 1; negative where the
    score rises. The score is that before the softmax (Zeiler, Fergus 2014, section 4.2, take the probability, which hardly
    changes where a model is confident).

    Args:
        model: the saved model.
        image: `(height, width, channels)`, 0 to 255.
        place: the class, label or target.
        task: the task.
    """
    height, width, _ = image.shape
    window = max(2, -(-max(height, width) // _WINDOWS))
    corners = [(top, left) for top in _window_starts(height, window) for left in _window_starts(width, window)]
    colour = image.mean(axis=(0, 1)).round().astype(image.dtype)
    full_score = float(scores(model, image[None], place, task)[0])
    falls, times = np.zeros((height, width)), np.zeros((height, width))
    for start in range(0, len(corners), BATCH):
        batch_corners = corners[start : start + BATCH]
        covered = np.repeat(image[None], len(batch_corners), axis=0)
        for covered_image, (top, left) in zip(covered, batch_corners, strict=True):
            covered_image[top : top + window, left : left + window] = colour
        for fall, (top, left) in zip(full_score - scores(model, covered, place, task), batch_corners, strict=True):
            falls[top : top + window, left : left + window] += fall
            times[top : top + window, left : left + window] += 1
    mean = falls / times
    largest = float(np.abs(mean).max())
    return (mean / largest if largest else mean).astype("float32"), float(mean.max())


def _window_starts(side: int, window: int) -> list[int]:
    """Returns the starts of the windows: half a window apart, the last window at the end."""
    last = max(0, side - window)
    return sorted({*range(0, last + 1, max(1, window // 2)), last})


def _scale_to_one(maps: Array) -> Array:
    largest = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(maps, largest, out=np.zeros_like(maps), where=largest > 0), dtype="float32")


def enlarged(heat: Array, height: int, width: int) -> Array:
    """Returns a map `(rows, columns)` resized to an image's size by bilinear interpolation."""
    return np.asarray(tf.image.resize(heat[..., None], (height, width), method="bilinear"))[..., 0]
