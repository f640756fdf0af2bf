"""The heads of networks: the last layers, from the features that a model's layers give to the output of each example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
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
