"""The head of a model: what turns the features that its layers give into the output that the task wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from dlcli.spec.base import KerasSpec, Shape, keras_attribute
from dlcli.spec.model.layers.dense import GLOROT, ZEROS
from dlcli.spec.model.parameters import Initializer, Regularizer


class Output(KerasSpec):
    """Settings of the output layer, whose units and activation come from the task."""

    kernel_initializer: Initializer = Field(default=GLOROT, description="Initial weights.")
    bias_initializer: Initializer = Field(default=ZEROS, description="Initial bias.")
    kernel_regularizer: Regularizer | None = Field(default=None, description="Penalty on the weights.")


class Head:
    """From the features of a batch to the output of each example.

    The task chooses the class: a head may be a dense layer, a convolution of one pixel for an output of each pixel, layers
    that give the input's shape again, or nothing. Its last layer has the name `output`.
    """

    def apply(self, features: Any, target_shape: Shape) -> Any:
        """Returns the output for a Keras tensor of features, in float32 also under mixed precision.

        Args:
            features: what the model's layers give, `(batch, ...)`.
            target_shape: the shape of one example's output, without the batch.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class DenseHead(Head):
    """One dense layer on a row of features: a number for each class, label or target.

    Attributes:
        settings: the spec's settings of the output layer.
        activation: the activation of the task.
    """

    settings: Output
    activation: str

    def apply(self, features: Any, target_shape: Shape) -> Any:
        """Returns `(batch, units)` for features `(batch, features)`."""
        (units,) = target_shape
        dense = keras_attribute("layers.Dense")(
            units, activation=self.activation, name="output", dtype="float32", **self.settings.arguments()
        )
        return dense(features)
