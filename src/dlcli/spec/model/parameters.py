"""Regularizers, initializers and constraints: the small parts that a layer's weights are given."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import KerasSpec, NotNegative, OneOf, Positive


class L1(KerasSpec):
    """Adds `l1 * sum(|w|)` to the loss: drives weights to exactly zero."""

    keras_class: ClassVar[str] = "regularizers.L1"
    kind: Literal["l1"]
    l1: NotNegative = Field(default=0.01, description="Factor of the sum of absolute weights.")


class L2(KerasSpec):
    """Adds `l2 * sum(w^2)` to the loss: keeps weights small."""

    keras_class: ClassVar[str] = "regularizers.L2"
    kind: Literal["l2"]
    l2: NotNegative = Field(default=0.01, description="Factor of the sum of squared weights.")


class L1L2(KerasSpec):
    """Adds both penalties to the loss."""

    keras_class: ClassVar[str] = "regularizers.L1L2"
    kind: Literal["l1l2"]
    l1: NotNegative = Field(default=0.0, description="Factor of the sum of absolute weights.")
    l2: NotNegative = Field(default=0.0, description="Factor of the sum of squared weights.")


Regularizer = Annotated[L1 | L2 | L1L2, OneOf("Regularizer")]

_INITIALIZERS = {
    "glorot_uniform": "GlorotUniform",
    "glorot_normal": "GlorotNormal",
    "he_uniform": "HeUniform",
    "he_normal": "HeNormal",
    "lecun_uniform": "LecunUniform",
    "lecun_normal": "LecunNormal",
    "orthogonal": "Orthogonal",
    "zeros": "Zeros",
    "ones": "Ones",
}


class NamedInitializer(KerasSpec):
    """Initial weights by a rule without settings: Glorot for tanh and sigmoid, He for ReLU, LeCun for SELU."""

    meanings: ClassVar[dict[str, str]] = {
        "glorot_uniform": "Uniform, scaled by inputs and outputs: for tanh, sigmoid and softmax.",
        "glorot_normal": "Normal, scaled by inputs and outputs.",
        "he_uniform": "Uniform, scaled by inputs: for relu.",
        "he_normal": "Normal, scaled by inputs: for relu.",
        "lecun_uniform": "Uniform, scaled by inputs.",
        "lecun_normal": "Normal, scaled by inputs: for selu.",
        "orthogonal": "A random orthogonal matrix: for the state of recurrent layers.",
        "zeros": "All zero.",
        "ones": "All one.",
    }
    kind: Literal[
        "glorot_uniform",
        "glorot_normal",
        "he_uniform",
        "he_normal",
        "lecun_uniform",
        "lecun_normal",
        "orthogonal",
        "zeros",
        "ones",
    ]

    def build(self, **extra: Any) -> Any:
        """Returns the Keras initializer of this name."""
        from dlcli.spec.base import keras_attribute

        return keras_attribute(f"initializers.{_INITIALIZERS[self.kind]}")(**extra)


class RandomNormal(KerasSpec):
    """Initial weights from a normal distribution."""

    keras_class: ClassVar[str] = "initializers.RandomNormal"
    kind: Literal["random_normal"]
    mean: float = Field(default=0.0, description="Mean of the distribution.")
    stddev: Positive = Field(default=0.05, description="Standard deviation of the distribution.")


class RandomUniform(KerasSpec):
    """Initial weights from a uniform distribution."""

    keras_class: ClassVar[str] = "initializers.RandomUniform"
    kind: Literal["random_uniform"]
    minval: float = Field(default=-0.05, description="Lower end of the range.")
    maxval: float = Field(default=0.05, description="Upper end of the range.")


class Constant(KerasSpec):
    """All weights have the same initial value."""

    keras_class: ClassVar[str] = "initializers.Constant"
    kind: Literal["constant"]
    value: float = Field(default=0.0, description="The value.")


Initializer = Annotated[NamedInitializer | RandomNormal | RandomUniform | Constant, OneOf("Initializer")]


class MaxNorm(KerasSpec):
    """Rescales weights whose norm exceeds a limit after every step."""

    keras_class: ClassVar[str] = "constraints.MaxNorm"
    kind: Literal["max_norm"]
    max_value: Positive = Field(default=2.0, description="Largest norm of the incoming weights.")
    axis: int = Field(default=0, description="Axis along which the norm is taken; [0, 1, 2] of a convolution is 0.")


class UnitNorm(KerasSpec):
    """Keeps the incoming weights of every unit at norm 1."""

    keras_class: ClassVar[str] = "constraints.UnitNorm"
    kind: Literal["unit_norm"]
    axis: int = Field(default=0, description="Axis along which the norm is taken.")


class NonNeg(KerasSpec):
    """Keeps weights at or above zero."""

    keras_class: ClassVar[str] = "constraints.NonNeg"
    kind: Literal["non_neg"]


class MinMaxNorm(KerasSpec):
    """Keeps the norm of the incoming weights within a range."""

    keras_class: ClassVar[str] = "constraints.MinMaxNorm"
    kind: Literal["min_max_norm"]
    min_value: NotNegative = Field(default=0.0, description="Smallest norm.")
    max_value: Positive = Field(default=1.0, description="Largest norm.")
    rate: Positive = Field(default=1.0, description="Fraction of the correction that is applied at each step.")
    axis: int = Field(default=0, description="Axis along which the norm is taken.")


Constraint = Annotated[MaxNorm | UnitNorm | NonNeg | MinMaxNorm, OneOf("Constraint")]
