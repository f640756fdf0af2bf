"""Activations: by name, as Keras's functions with their defaults, or with settings."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, ValidationInfo
from pydantic_core import PydanticKnownError

from dlcli.spec.base import ACTIVATIONS, KerasSpec, NotNegative, OneOf, Positive, keras_attribute


class ActivationSpec(KerasSpec):
    """An activation with settings. `keras_class` is Keras's function, whose defaults the fields have."""

    layer: ClassVar[str] = ""
    """The Keras layer that computes the same, and is saved with its settings."""

    def build(self, **extra: Any) -> Any:
        """Returns the Keras layer."""
        return keras_attribute(self.layer)(**self.arguments(), **extra)


class LeakyReluActivation(ActivationSpec):
    """Gives x, or `negative_slope` times x below 0, so that units do not die."""

    keras_class: ClassVar[str] = "activations.leaky_relu"
    layer: ClassVar[str] = "layers.LeakyReLU"
    kind: Literal["leaky_relu"]
    negative_slope: NotNegative = Field(
        default=0.2, description="Slope for negative values: 0.2 as in Keras's activation; the layer `leaky_relu` has 0.3."
    )


class EluActivation(ActivationSpec):
    """Gives x, or alpha * (exp(x) - 1) below 0."""

    keras_class: ClassVar[str] = "activations.elu"
    layer: ClassVar[str] = "layers.ELU"
    kind: Literal["elu"]
    alpha: NotNegative = Field(default=1.0, description="Scale of the outputs for negative values.")


class ReluActivation(ActivationSpec):
    """Gives max(0, x), optionally with a maximum, a threshold and a negative slope."""

    keras_class: ClassVar[str] = "activations.relu"
    layer: ClassVar[str] = "layers.ReLU"
    kind: Literal["relu"]
    negative_slope: NotNegative = Field(default=0.0, description="Factor of values below the threshold.")
    max_value: Positive | None = Field(default=None, description="Largest output: 6 for MobileNet's relu6.")
    threshold: NotNegative = Field(default=0.0, description="Threshold below which `negative_slope` applies.")


_WITH_SETTINGS = OneOf("Activation")
WithSettings = Annotated[LeakyReluActivation | EluActivation | ReluActivation, _WITH_SETTINGS]
Name = Literal[
    "linear", "binary_step", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softmax", "softplus"
]

Elementwise = Literal["linear", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus"]
"""Keras's activations of single values, by name, for layers that take no other."""


def _named_or_set(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, (dict, ActivationSpec)):
        return _WITH_SETTINGS.validate(value, info.context)
    if isinstance(value, str) and value in ACTIVATIONS:
        return value
    names = [repr(name) for name in ACTIVATIONS]
    raise PydanticKnownError("literal_error", {"expected": f"{', '.join(names[:-1])} or {names[-1]}"})


Activation = Annotated[WithSettings | Name, PlainValidator(_named_or_set, json_schema_input_type=Name | WithSettings)]
"""A name, or a mapping with `kind` and settings."""


def binary_step(tensor: Any) -> Any:
    """Returns 1.0 where the input is at or above 0, else 0.0: Rosenblatt's perceptron; its gradient is 0 everywhere."""
    import keras

    return keras.ops.cast(keras.ops.greater_equal(tensor, 0.0), "float32")


def activated(tensor: Any, activation: Any) -> Any:
    """Returns a Keras tensor with an activation applied to it."""
    if activation == "linear":
        return tensor
    if activation == "binary_step":
        return binary_step(tensor)
    if isinstance(activation, ActivationSpec):
        return activation.build()(tensor)
    return keras_attribute("layers.Activation")(activation)(tensor)
