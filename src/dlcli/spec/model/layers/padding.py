"""Padded sequences: the steps at the end that belong to no example. A mask `(batch, steps)` is False there.

Keras passes masks from layer to layer by itself, but convolutions and maxima ignore them, and several layers lose them. So a
layer of a sequence gets its mask as an argument (`LayerSpec.apply_masked`), and returns that of its output.
"""

from typing import Any

from dlcli.spec.base import Padding


def zeroed(tensor: Any, mask: Any) -> Any:
    """Returns a sequence `(batch, steps, channels)` with 0 in its padding."""
    import keras

    return keras.ops.where(keras.ops.expand_dims(mask, -1), tensor, keras.ops.zeros_like(tensor))


def with_first_step(tensor: Any, mask: Any) -> tuple[Any, Any]:
    """Returns sequences and a mask whose first step is always valid; it is 0 for a text without tokens.

    The kernels of recurrent layers on GPUs (cuDNN) refuse a sequence without a valid step, with an error in the middle of a
    training (Keras 3.15, github.com/keras-team/keras `src/backend/tensorflow/rnn.py`, `_assert_valid_mask`).
    """
    import keras

    return zeroed(tensor, mask), keras.ops.concatenate([keras.ops.ones_like(mask[:, :1]), mask[:, 1:]], axis=1)


def mask_of_windows(mask: Any, reach: int, stride: int, padding: str) -> Any:
    """Returns the mask after a window that covers `reach` steps is slid over a sequence.

    With padding `same` or `causal`, an output is valid if its own step is; with `valid`, if all steps of its window are, and
    the first one always, so that a text that is shorter than a window has an output. So the mask does not depend on how far
    a sequence is padded.
    """
    import keras

    if padding != "valid":
        return mask[:, ::stride]
    whole = mask[:, reach - 1 :: stride]
    return keras.ops.concatenate([keras.ops.ones_like(whole[:, :1]), whole[:, 1:]], axis=1)


def masked_maximum(tensor: Any, mask: Any) -> Any:
    """Returns the largest value of each channel over the valid steps `(batch, channels)`; 0 where no step is valid."""
    import keras

    ops = keras.ops
    valid = ops.expand_dims(mask, -1)
    lowest = ops.max(ops.where(valid, tensor, ops.full_like(tensor, _LOWEST)), axis=1)
    return ops.where(ops.any(valid, axis=1), lowest, ops.zeros_like(lowest))


def masked_mean(tensor: Any, mask: Any) -> Any:
    """Returns the mean of each channel over the valid steps `(batch, channels)`; 0 where no step is valid."""
    import keras

    ops = keras.ops
    count = ops.sum(ops.cast(mask, tensor.dtype), axis=1, keepdims=True)
    return ops.sum(zeroed(tensor, mask), axis=1) / ops.maximum(count, 1)


def pooled(
    layer: Any, tensor: Any, mask: Any, pool_size: int, strides: int, padding: Padding, *, maximum: bool
) -> tuple[Any, Any]:
    """Returns the output of a pooling layer over the valid steps of each window, and its mask.

    Args:
        layer: the Keras layer that pools.
        tensor: the sequence.
        mask: its mask.
        pool_size: the steps of a window.
        strides: the steps from one window to the next.
        padding: that of the layer.
        maximum: whether the layer takes the maximum, not the mean.
    """
    import keras

    ops = keras.ops
    valid = ops.expand_dims(ops.cast(mask, tensor.dtype), -1)
    remaining = ops.max_pool(valid, pool_size, strides, padding)
    if maximum:
        output = layer(ops.where(ops.expand_dims(mask, -1), tensor, ops.full_like(tensor, _LOWEST)))
    else:
        share = ops.average_pool(valid, pool_size, strides, padding)
        output = layer(zeroed(tensor, mask)) / ops.where(share > 0, share, ops.ones_like(share))
    new_mask = ops.squeeze(remaining, -1) > 0
    return zeroed(output, new_mask), new_mask


_LOWEST = -6e4
"""Below every value that counts, also in half precision."""
