"""The layers of a saved model, also nested ones: its last convolutional map, and its score before the softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.models.raw_output import before_squashing
from dlcli.runtime.engine import tf
from dlcli.runtime.layers import single_layers
from dlcli.tasks import Decisions, Task
from dlcli.upstream.keras import is_called

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose")
_NO_MAP = ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout")
BATCH = 64


def last_map(model: Any) -> Any | None:
    """Returns the layer whose output is the last convolutional map larger than 1x1; None where there is none.

    It is the last layer with the last convolution's height and width: its normalisation, activation or sum, but no pooling.
    """
    layers = single_layers(model)
    for place in range(len(layers) - 1, -1, -1):
        size = _size(layers[place])
        if type(layers[place]).__name__ in _CONVOLUTIONS and size is not None and size != (1, 1):
            layers_of_size = [layer for layer in layers[place:] if _size(layer) == size and type(layer).__name__ not in _NO_MAP]
            return layers_of_size[-1]
    return None


def first_weights(model: Any) -> Any | None:
    """Returns the first layer with weights on pixels: a convolution, or a dense layer; None where there is none."""
    return next(
        (layer for layer in single_layers(model) if type(layer).__name__ in ("Conv2D", "SeparableConv2D", "Dense")), None
    )


def _size(layer: Any) -> tuple[int, int] | None:
    """Returns height and width of a layer's output; None where the output is not a map."""
    output = getattr(layer, "output", None) if is_called(layer) else None
    shape: tuple[int | None, ...] = tuple(getattr(output, "shape", ()))
    if len(shape) != 4 or shape[1] is None or shape[2] is None:
        return None
    return shape[1], shape[2]


@contextmanager
def recorded_outputs(layer: Any, tape: Any) -> Iterator[list[Any]]:
    """Yields a list that receives the layer's output at each call; the tape records gradients from there on."""
    outputs: list[Any] = []
    call = layer.call

    def recording_call(*arguments: Any, **options: Any) -> Any:
        output = call(*arguments, **options)
        tape.watch(output)
        outputs.append(output)
        return output

    layer.call = recording_call
    try:
        yield outputs
    finally:
        del layer.call  # uncovers the method of the class


@contextmanager
def recorded_inputs(layers: Sequence[Any]) -> Iterator[list[list[Any]]]:
    """Yields a list for each layer, or nested model, that receives the input of each call."""
    inputs: list[list[Any]] = [[] for _ in layers]

    def recording(call: Callable[..., Any], inputs_of_layer: list[Any]) -> Callable[..., Any]:
        def recording_call(*arguments: Any, **options: Any) -> Any:
            inputs_of_layer.append(next(iter((*arguments, *options.values()))))
            return call(*arguments, **options)

        return recording_call

    for layer, inputs_of_layer in zip(layers, inputs, strict=True):
        layer.call = recording(layer.call, inputs_of_layer)
    try:
        yield inputs
    finally:
        for layer in layers:
            del layer.call  # uncovers the method of the class


def score_of(output: Any, place: int, task: Task, *, plain: bool) -> Any:
    """Returns the score of a class, label or target `(n,)` from a model's output `(n, units)`.

    A probability becomes its logarithm; with `plain` the output is that before the softmax or sigmoid.
    """
    if not isinstance(task.output, Decisions):
        return output[:, place]
    score = task.output.unit_score(output, place, is_probability=not plain)
    return score if plain else tf.math.log(tf.maximum(score, 1e-12))


def scores(model: Any, inputs: Any, place: int, task: Task) -> Array:
    """Returns the score of one class, label or target for many examples, before softmax or sigmoid, float32 `(n,)`."""
    batches = []
    with before_squashing(model) as plain:
        for start in range(0, len(inputs), BATCH):
            output = model(tf.constant(inputs[start : start + BATCH]), training=False)
            batches.append(np.asarray(score_of(tf.cast(output, tf.float32), place, task, plain=plain)))
    return np.concatenate(batches)
