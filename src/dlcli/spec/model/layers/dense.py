"""Dense layers and activations."""

from math import prod
from typing import Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, NotNegative, Shape
from dlcli.spec.model.activations import Activation, ActivationSpec, activated
from dlcli.spec.model.layers.base import LayerSpec, ShapeError
from dlcli.spec.model.parameters import Constraint, Initializer, NamedInitializer, Regularizer

GLOROT = NamedInitializer.model_construct(kind="glorot_uniform")
ZEROS = NamedInitializer.model_construct(kind="zeros")
ONES = NamedInitializer.model_construct(kind="ones")


class ActivatedLayer(LayerSpec):
    """A layer with an `activation` field.

    Binary step, which Keras lacks, and activations with settings, which Keras does not save, are layers after it.
    """

    def apply(self, tensor: Any) -> Any:
        """Returns the layer's activated output for a Keras tensor."""
        output = self.build()(tensor)
        return activated(output, getattr(self, "activation", "linear")) if self._is_followed() else output

    def arguments(self) -> dict[str, Any]:
        """Returns the Keras arguments, with `linear` where the activation follows."""
        arguments = super().arguments()
        return arguments | {"activation": "linear"} if self._is_followed() else arguments

    def _is_followed(self) -> bool:
        return self.steps_gradient() or isinstance(getattr(self, "activation", None), ActivationSpec)


class Dense(ActivatedLayer):
    """Connects every input with every unit: `activation(inputs @ kernel + bias)`."""

    keras_class: ClassVar[str] = "layers.Dense"
    takes_padding: ClassVar[bool] = True
    has_weights: ClassVar[bool] = True
    kind: Literal["dense"]
    units: Count = Field(description="Number of outputs.")
    activation: Activation = Field(default="linear", description="Activation of the outputs.")
    use_bias: bool = Field(default=True, description="Whether a bias is added.")
    kernel_initializer: Initializer = Field(default=GLOROT, description="Initial weights.")
    bias_initializer: Initializer = Field(default=ZEROS, description="Initial bias.")
    kernel_regularizer: Regularizer | None = Field(default=None, description="Penalty on the weights.")
    bias_regularizer: Regularizer | None = Field(default=None, description="Penalty on the bias.")
    activity_regularizer: Regularizer | None = Field(default=None, description="Penalty on the outputs.")
    kernel_constraint: Constraint | None = Field(default=None, description="Limit on the weights after every step.")
    bias_constraint: Constraint | None = Field(default=None, description="Limit on the bias after every step.")

    def transformed(self, shape: Shape) -> Shape:
        """The last axis becomes `units`. On an image it would act on each pixel, which nobody means by `dense`."""
        if len(shape) == 3 and shape[0] * shape[1] > 1:
            raise ShapeError(
                f"gets an image of shape {shape} and would act on each pixel separately; put `flatten` or"
                " `global_average_pooling2d` before it (or use `conv2d` with `kernel_size: 1`)"
            )
        return (*shape[:-1], self.units)

    def multiply_adds(self, shape: Shape) -> int:
        """Returns one for each input and unit."""
        return prod(self.output_shape(shape)) * shape[-1]


class ActivationLayer(ActivatedLayer):
    """Applies an activation to every value."""

    keras_class: ClassVar[str] = "layers.Activation"
    takes_padding: ClassVar[bool] = True
    kind: Literal["activation"]
    activation: Activation = Field(description="Activation function.")


class LeakyReLU(LayerSpec):
    """Scales negative values down instead of setting them to zero, so that units do not die."""

    keras_class: ClassVar[str] = "layers.LeakyReLU"
    takes_padding: ClassVar[bool] = True
    kind: Literal["leaky_relu"]
    negative_slope: NotNegative = Field(
        default=0.3, description="Slope for negative values: 0.3 as in Keras's layer; `activation: leaky_relu` has 0.2."
    )


class PReLU(LayerSpec):
    """A leaky ReLU with learned slopes, one per value or shared along axes."""

    keras_class: ClassVar[str] = "layers.PReLU"
    has_weights: ClassVar[bool] = True
    kind: Literal["prelu"]
    alpha_initializer: Initializer = Field(
        default=NamedInitializer.model_construct(kind="zeros"), description="Initial slopes."
    )
    alpha_regularizer: Regularizer | None = Field(default=None, description="Penalty on the slopes.")
    alpha_constraint: Constraint | None = Field(default=None, description="Limit on the slopes.")
    shared_axes: list[Count] | None = Field(
        default=None, description="Axes (from 1) that share a slope: [1, 2] for one slope per channel of an image."
    )

    def transformed(self, shape: Shape) -> Shape:
        """The shape stays; `shared_axes` must be among its axes."""
        if max(self.shared_axes or [0]) > len(shape):
            raise ShapeError(f"`shared_axes: {self.shared_axes}` names an axis that shape {shape} does not have")
        return shape
