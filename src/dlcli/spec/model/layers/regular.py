"""Layers that act against overfitting or steady the training: dropout, noise, normalisation."""

from math import prod
from typing import Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, Fraction, NotNegative, Positive, Shape
from dlcli.spec.model.layers.base import LayerSpec, ShapeError, check_axis
from dlcli.spec.model.layers.dense import ONES, ZEROS
from dlcli.spec.model.parameters import Initializer


class Dropout(LayerSpec):
    """Sets a random fraction of the inputs to zero during training; the shape is unchanged."""

    keras_class: ClassVar[str] = "layers.Dropout"
    takes_padding: ClassVar[bool] = True
    kind: Literal["dropout"]
    rate: Fraction = Field(description="Fraction of the inputs to set to zero, in [0, 1).")


class SpatialDropout2D(LayerSpec):
    """Sets a random fraction of the channels to zero during training: for convolutions."""

    keras_class: ClassVar[str] = "layers.SpatialDropout2D"
    rank: ClassVar[int] = 3
    kind: Literal["spatial_dropout2d"]
    rate: Fraction = Field(description="Fraction of the channels to set to zero, in [0, 1).")


class SpatialDropout1D(LayerSpec):
    """Sets a random fraction of the channels of a sequence to zero during training: of word vectors, whole dimensions."""

    keras_class: ClassVar[str] = "layers.SpatialDropout1D"
    rank: ClassVar[int] = 2
    takes_padding: ClassVar[bool] = True
    kind: Literal["spatial_dropout1d"]
    rate: Fraction = Field(description="Fraction of the channels to set to zero, in [0, 1).")


class GaussianNoise(LayerSpec):
    """Adds random noise to the inputs during training; the shape is unchanged."""

    keras_class: ClassVar[str] = "layers.GaussianNoise"
    takes_padding: ClassVar[bool] = True
    kind: Literal["gaussian_noise"]
    stddev: NotNegative = Field(description="Standard deviation of the noise, in units of the (normalised) input.")


class BatchNormalization(LayerSpec):
    """Normalises every channel over the batch, then scales and shifts it (Ioffe, Szegedy 2015)."""

    keras_class: ClassVar[str] = "layers.BatchNormalization"
    takes_padding: ClassVar[bool] = True
    has_weights: ClassVar[bool] = True
    kind: Literal["batch_normalization"]
    axis: int = Field(default=-1, description="Axis of the channels.")
    momentum: Fraction = Field(default=0.99, description="Momentum of the moving averages.")
    epsilon: Positive = Field(default=1e-3, description="Small constant that is added to the variance.")
    center: bool = Field(default=True, description="Whether a learned shift is added.")
    scale: bool = Field(default=True, description="Whether a learned factor is applied.")
    beta_initializer: Initializer = Field(default=ZEROS, description="Initial shift.")
    gamma_initializer: Initializer = Field(default=ONES, description="Initial factor.")

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the sequences normalised by the statistics of their valid steps; refuses an axis of steps."""
        _refuse_axis_of_steps(self.axis, tensor)
        return self.build()(tensor, mask=mask), mask

    def transformed(self, shape: Shape) -> Shape:
        """The shape stays; `axis` must be one of its axes."""
        check_axis(self.axis, shape)
        return shape

    def multiply_adds(self, shape: Shape) -> int:
        """Returns one for each value."""
        return prod(shape)


class LayerNormalization(LayerSpec):
    """Normalises every example over its channels, then scales and shifts it."""

    keras_class: ClassVar[str] = "layers.LayerNormalization"
    takes_padding: ClassVar[bool] = True
    has_weights: ClassVar[bool] = True
    kind: Literal["layer_normalization"]
    axis: int = Field(default=-1, description="Axis that is normalised.")
    epsilon: Positive = Field(default=1e-3, description="Small constant that is added to the variance.")
    center: bool = Field(default=True, description="Whether a learned shift is added.")
    scale: bool = Field(default=True, description="Whether a learned factor is applied.")

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns each step normalised; refuses an axis of steps."""
        _refuse_axis_of_steps(self.axis, tensor)
        return self.build()(tensor), mask

    def transformed(self, shape: Shape) -> Shape:
        """The shape stays; `axis` must be one of its axes."""
        check_axis(self.axis, shape)
        return shape

    def multiply_adds(self, shape: Shape) -> int:
        """Returns one for each value."""
        return prod(shape)


class LocalResponseNormalization(LayerSpec):
    """Divides each value by a power of the squares at the same pixel in neighbouring channels (Krizhevsky et al. 2012).

    As `tf.nn.local_response_normalization`, `x / (bias + alpha * sum(x^2 of 2 * depth_radius + 1 channels))^beta`, with the
    values of AlexNet: n = 5, k = 2. Caffe divides its alpha by n. It is computed in float32.
    """

    rank: ClassVar[int] = 3
    kind: Literal["local_response_normalization"]
    depth_radius: Count = Field(default=2, description="Neighbouring channels on each side: (n - 1) / 2 of the paper.")
    bias: Positive = Field(default=2.0, description="Constant that is added to the sum: k of the paper.")
    alpha: Positive = Field(default=1e-4, description="Factor of the sum of squares.")
    beta: Positive = Field(default=0.75, description="Exponent of the divisor.")

    def apply(self, tensor: Any) -> Any:
        """Returns the normalised image."""
        from keras import layers, ops

        height, width, channels = tensor.shape[1:]
        window = 2 * self.depth_radius + 1
        # A pooling over the channels sums the squares: as rows of an image of one channel, channels are neighbours.
        squares = ops.square(layers.Reshape((height * width, channels, 1), dtype="float32")(tensor))
        padded = layers.ZeroPadding2D((0, self.depth_radius), dtype="float32")(squares)
        means = layers.AveragePooling2D((1, window), strides=1, dtype="float32")(padded)
        divisors = layers.Rescaling(self.alpha * window, self.bias, dtype="float32")(means)
        factors = layers.Reshape((height, width, channels), dtype="float32")(ops.power(divisors, -self.beta))
        return layers.Multiply()([tensor, factors])


def _refuse_axis_of_steps(axis: int, tensor: Any) -> None:
    """Raises ShapeError if an axis of a padded sequence is that of its steps."""
    if axis in (1, 1 - len(tensor.shape)):
        raise ShapeError(f"`axis: {axis}` is that of the steps, some of which are padding; use -1")
