"""Pretrained networks of KerasHub as backbones: from numbers of tokens, or from images, to features."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dlcli.errors import DataError, Interrupted
from dlcli.runtime.layers import single_layers
from dlcli.spec.model.backbones.base import blocks_of
from dlcli.spec.model.layers.padding import masked_maximum, masked_mean
from dlcli.upstream.keras import all_layers, import_keras
from dlcli.upstream.keras_hub import import_keras_hub

_TEXT_INPUTS = {"token_ids", "padding_mask", "segment_ids"}
_BLOCK = re.compile(r"^(.*?(?:block|layer|group|stage)s?_?\d+[a-z]?(?:_(?:inner_)?(?:block|layer)_?\d+)?)(?:_|$)")
"""The name of a block at the start of a layer's name: `transformer_layer_0`, `stack1_block0` of `stack1_block0_1_conv`."""


def text_network(folder: Path, pooling: str, *, load_weights: bool) -> Any:
    """Returns the Keras model from numbers of tokens `(batch, steps)`, 0 for padding, to features `(batch, channels)`.

    Args:
        folder: the folder of the preset.
        pooling: what becomes of the vectors of the tokens: their mean `avg`, their largest values `max`, or the `first`.
        load_weights: whether the weights are read; otherwise they are random.

    Raises:
        DataError: the preset cannot be read, or has a network with other inputs.
    """
    keras = import_keras()
    network = _network(folder, load_weights=load_weights)
    names = set(network.input) if isinstance(network.input, dict) else set()
    if not {"token_ids", "padding_mask"} <= names <= _TEXT_INPUTS:
        listed = ", ".join(sorted(names)) or "one tensor"
        raise DataError(
            f"model.backbone.preset: {type(network).__name__} of {folder} takes {listed}; a backbone for texts takes"
            " token_ids and padding_mask, so that padding changes no answer"
        )
    ops = keras.ops
    numbers = keras.Input((None,), dtype="int32", name="tokens")
    mask = ops.not_equal(numbers, 0)
    inputs = {"token_ids": ops.maximum(numbers - 1, 0), "padding_mask": ops.cast(mask, "int32")}
    if "segment_ids" in names:
        inputs["segment_ids"] = ops.zeros_like(numbers)
    _freeze_unused(network)
    vectors = network(inputs)
    vectors = vectors["sequence_output"] if isinstance(vectors, dict) else vectors
    return keras.Model(numbers, _pooled_tokens(vectors, mask, pooling), name="backbone")


def _pooled_tokens(vectors: Any, mask: Any, pooling: str) -> Any:
    """Returns the features of texts; steps of padding have no part in them."""
    if pooling == "first":
        return vectors[:, 0]
    return masked_maximum(vectors, mask) if pooling == "max" else masked_mean(vectors, mask)


def image_network(folder: Path, shape: tuple[int, ...], pooling: str, *, load_weights: bool, any_size: bool) -> Any:
    """Returns the Keras model from scaled images of a shape to features.

    Args:
        folder: the folder of the preset.
        shape: height, width and channels.
        pooling: `avg` or `max` of all places, `first` for the first token of a network that has tokens, or `none`.
        load_weights: whether the weights are read; otherwise they are random.
        any_size: whether the network is built for images of `shape`, rather than for those of the preset.

    Raises:
        DataError: the preset cannot be read, or gives no features.
    """
    keras = import_keras()
    network = _network(folder, load_weights=load_weights, **({"image_shape": shape} if any_size else {}))
    images = keras.Input(shape, name="images")
    output = network(images) if not isinstance(network.input, (dict, list)) else None
    if output is None or isinstance(output, (dict, list)) or len(output.shape) not in (2, 3, 4):
        raise DataError(f"model.backbone.preset: {type(network).__name__} of {folder} does not turn an image into features")
    return keras.Model(images, _pooled_maps(output, pooling), name="backbone")


def _pooled_maps(output: Any, pooling: str) -> Any:
    layers = import_keras().layers
    rank = len(output.shape) - 2
    if pooling == "none" or rank == 0:
        return output
    if pooling == "first" and rank == 1:
        return output[:, 0]
    if pooling == "first":
        raise DataError("model.backbone.pooling: `first` needs a network of tokens; this one gives maps, use `avg`")
    kind = "Max" if pooling == "max" else "Average"
    return getattr(layers, f"Global{kind}Pooling{rank}D")(name="pooling")(output)


def image_scaling(folder: Path) -> tuple[Any, Any]:
    """Returns the factor and the offset, numbers or one for each channel, that scale pixels from 0 to 255 for a preset.

    Raises:
        DataError: the preset does not say how images are scaled.
    """
    try:
        converter = import_keras_hub().layers.ImageConverter.from_preset(str(folder))
    except Interrupted:
        raise
    except Exception as error:  # KerasHub raises what its readers of files raise
        raise DataError(f"model.backbone.preset: {folder} does not say how images are scaled: {_in_one_line(error)}") from None
    return (1.0 if converter.scale is None else converter.scale), (0.0 if converter.offset is None else converter.offset)


def network_blocks(backbone: Any) -> list[tuple[str, list[Any]]]:
    """Returns the layers of a network in blocks by their names; those before the first block are the stem.

    Layers whose output is not used, such as a layer on the first token that belongs to another task, are in no block.
    """
    (network,) = (layer for layer in backbone.layers if hasattr(layer, "layers"))
    used = _used_layers(network)
    layers = [layer for layer in single_layers(network) if id(layer) in used]
    if not any(_BLOCK.match(layer.name) for layer in layers):
        return blocks_of([part for layer in layers for part in _with_own_norms(layer)])
    blocks: dict[str, list[Any]] = {}
    name = "stem"
    for layer in layers:
        match = _BLOCK.match(layer.name)
        name = match.group(1) if match else name
        blocks.setdefault(name, []).extend(_with_own_norms(layer))
    return list(blocks.items())


def _used_layers(network: Any) -> set[int]:
    """Returns the ids of the layers that the features depend on."""
    output = network.output["sequence_output"] if isinstance(network.output, dict) else network.output
    return set(map(id, single_layers(import_keras().Model(network.input, output, name="used"))))


def _with_own_norms(layer: Any) -> list[Any]:
    """Returns a layer, or the layers inside it where some are BatchNorms, which stages freeze one by one."""
    inside = all_layers(layer)
    if not any(isinstance(part, import_keras().layers.BatchNormalization) for part in inside):
        return [layer]
    return [part for part in inside if part.weights and len(all_layers(part)) == 1]


def _network(folder: Path, *, load_weights: bool, **arguments: Any) -> Any:
    """Returns the network of a preset in the precision of the training.

    Raises:
        DataError: it cannot be read.
    """
    keras = import_keras()
    models, policy = import_keras_hub().models, keras.config.dtype_policy().name
    try:
        return models.Backbone.from_preset(str(folder), load_weights=load_weights, dtype=policy, **arguments)
    except (Interrupted, MemoryError):
        raise
    except Exception as error:  # KerasHub, Keras and the readers of weights have no common class
        raise DataError(f"model.backbone.preset: {folder} cannot be read: {_in_one_line(error)}") from None


def _freeze_unused(network: Any) -> None:
    """Freezes the layers that the features do not depend on: they have no gradient."""
    used = _used_layers(network)
    for layer in single_layers(network):
        if id(layer) not in used:
            layer.trainable = False


def _in_one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:400]
