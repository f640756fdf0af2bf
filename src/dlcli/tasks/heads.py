"""The heads of networks: the last layers, from the features that a model's layers give to the output of each example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Head(ABC):
    """The last layers of a network. The output type of the task has one: `OutputType.head`.

    A head may be a dense layer, a convolution of one pixel for an output of each pixel, layers that give the input's shape
    again, or nothing. Its last layer has the name `output`.
    """

    @abstractmethod
    def apply(self, features: Any, shape: tuple[int, ...], activation: str, settings: Mapping[str, Any]) -> Any:
        """Returns the output for a Keras tensor of features, in float32 also under mixed precision.

        Args:
            features: what the model's layers give, `(batch, ...)`.
            shape: the shape of one example's output, without the batch.
            activation: the activation of the task.
            settings: further arguments of the Keras layer that has the weights, from the spec.
        """


class DenseHead(Head):
    """One dense layer on a row of features: a number for each class, label or target."""

    def apply(self, features: Any, shape: tuple[int, ...], activation: str, settings: Mapping[str, Any]) -> Any:
        """Returns `(batch, units)` for features `(batch, features)`."""
        from dlcli.runtime.engine import keras

        (units,) = shape
        return keras.layers.Dense(units, activation=activation, name="output", dtype="float32", **settings)(features)


@dataclass(frozen=True)
class QuantileHead(Head):
    """A dense layer for the median and its distances to the other quantiles, so that quantiles never cross.

    Attributes:
        blocks: the quantile of each block of outputs, the median first, then the others in rising order.
    """

    blocks: tuple[float, ...]

    def apply(self, features: Any, shape: tuple[int, ...], activation: str, settings: Mapping[str, Any]) -> Any:
        """Returns the quantiles `(batch, units)` for features `(batch, features)`, block by block."""
        from dlcli.runtime.engine import keras

        raw = DenseHead().apply(features, shape, activation, settings)
        width = shape[0] // len(self.blocks)
        parts = [raw[:, place * width : (place + 1) * width] for place in range(len(self.blocks))]
        quantiles = {0: parts[0]}
        above = [place for place, block in enumerate(self.blocks) if place and block > self.blocks[0]]
        below = [place for place, block in enumerate(self.blocks) if place and block < self.blocks[0]]
        for sign, places in ((1.0, above), (-1.0, below[::-1])):
            last = parts[0]
            for place in places:
                last = last + sign * keras.ops.softplus(parts[place])
                quantiles[place] = last
        return keras.ops.concatenate([quantiles[place] for place in range(len(self.blocks))], axis=-1)
