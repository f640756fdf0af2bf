"""Convolutions over images, volumes and series, and padding."""

from math import prod
from typing import Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, Padding, Pair, Shape, Triple
from dlcli.spec.model.activations import Activation
from dlcli.spec.model.layers.base import LayerSpec, ShapeError, slid
from dlcli.spec.model.layers.dense import GLOROT, ZEROS, ActivatedLayer
from dlcli.spec.model.layers.padding import mask_of_windows, zeroed
from dlcli.spec.model.parameters import Constraint, Initializer, Regularizer

_KERNEL = "Height and width of the window."
_STRIDES = "Stride of the window."
_PADDING = "`valid`: no padding; `same`: zero padding that keeps the size at stride 1."
_DILATION = "Dilation rate of the window."


def check_strides(strides: tuple[int, ...], dilation: tuple[int, ...]) -> None:
    """Raises ShapeError where a window both steps and is dilated, which Keras refuses."""
    if max(strides) > 1 and max(dilation) > 1:
        raise ShapeError("`strides` and `dilation_rate` cannot both be above 1")


def grouped_filters(filters: int, groups: int, inputs: int, strides: tuple[int, ...], dilation: tuple[int, ...]) -> int:
    """Returns the filters of a convolution; raises ShapeError where its groups, strides and dilation do not fit."""
    check_strides(strides, dilation)
    if inputs % groups or filters % groups:
        raise ShapeError(f"`groups: {groups}` must divide its {inputs} input channels and {filters} filters")
    return filters


class _Convolution(ActivatedLayer):
    """What convolutions of images and volumes share: weights and the rule of the output's size."""

    has_weights: ClassVar[bool] = True

    def transformed(self, shape: Shape) -> Shape:
        """Every side shrinks by the window; the channels become the layer's own."""
        fields: Any = self
        sides = [
            slid(length, window, stride, fields.padding, dilation)
            for length, window, stride, dilation in zip(
                shape, fields.kernel_size, fields.strides, fields.dilation_rate, strict=False
            )
        ]
        return (*sides, self.channels(shape[-1]))

    def multiply_adds(self, shape: Shape) -> int:
        """Returns those of all windows; depthwise ones are counted as full convolutions and have fewer."""
        fields: Any = self
        window: tuple[int, ...] = fields.kernel_size
        return prod(self.output_shape(shape)) * prod(window) * shape[-1] // getattr(self, "groups", 1)

    def channels(self, inputs: int) -> int:
        """Returns the number of output channels."""
        raise NotImplementedError


class _Convolution2D(_Convolution):
    """A convolution of images."""

    rank: ClassVar[int] = 3


class Conv2D(_Convolution2D):
    """Convolves an image with `filters` learned kernels."""

    keras_class: ClassVar[str] = "layers.Conv2D"
    kind: Literal["conv2d"]
    filters: Count = Field(description="Number of output channels.")
    kernel_size: Pair = Field(description=_KERNEL)
    strides: Pair = Field(default=(1, 1), description=_STRIDES)
    padding: Padding = Field(default="valid", description=_PADDING)
    dilation_rate: Pair = Field(default=(1, 1), description=_DILATION)
    groups: Count = Field(default=1, description="Number of channel groups that are convolved separately.")
    activation: Activation = Field(default="linear", description="Activation of the outputs.")
    use_bias: bool = Field(default=True, description="Whether a bias is added.")
    kernel_initializer: Initializer = Field(default=GLOROT, description="Initial weights.")
    bias_initializer: Initializer = Field(default=ZEROS, description="Initial bias.")
    kernel_regularizer: Regularizer | None = Field(default=None, description="Penalty on the weights.")
    bias_regularizer: Regularizer | None = Field(default=None, description="Penalty on the bias.")
    activity_regularizer: Regularizer | None = Field(default=None, description="Penalty on the outputs.")
    kernel_constraint: Constraint | None = Field(default=None, description="Limit on the weights after every step.")
    bias_constraint: Constraint | None = Field(default=None, description="Limit on the bias after every step.")

    def channels(self, inputs: int) -> int:
        """Returns `filters`, once the groups divide both sides."""
        return grouped_filters(self.filters, self.groups, inputs, self.strides, self.dilation_rate)


class Conv3D(_Convolution):
    """Convolves a volume, such as a scan or the frames of a film, with `filters` learned kernels."""

    keras_class: ClassVar[str] = "layers.Conv3D"
    rank: ClassVar[int] = 4
    kind: Literal["conv3d"]
    filters: Count = Field(description="Number of output channels.")
    kernel_size: Triple = Field(description="Depth, height and width of the window.")
    strides: Triple = Field(default=(1, 1, 1), description=_STRIDES)
    padding: Padding = Field(default="valid", description=_PADDING)
    dilation_rate: Triple = Field(default=(1, 1, 1), description=_DILATION)
    groups: Count = Field(default=1, description="Number of channel groups that are convolved separately.")
    activation: Activation = Field(default="linear", description="Activation of the outputs.")
    use_bias: bool = Field(default=True, description="Whether a bias is added.")
    kernel_initializer: Initializer = Field(default=GLOROT, description="Initial weights.")
    bias_initializer: Initializer = Field(default=ZEROS, description="Initial bias.")
    kernel_regularizer: Regularizer | None = Field(default=None, description="Penalty on the weights.")

    def channels(self, inputs: int) -> int:
        """Returns `filters`, once the groups divide both sides."""
        return grouped_filters(self.filters, self.groups, inputs, self.strides, self.dilation_rate)


class DepthwiseConv2D(_Convolution2D):
    """Convolves every channel with its own kernel."""

    keras_class: ClassVar[str] = "layers.DepthwiseConv2D"
    kind: Literal["depthwise_conv2d"]
    kernel_size: Pair = Field(description=_KERNEL)
    strides: Pair = Field(default=(1, 1), description=_STRIDES)
    padding: Padding = Field(default="valid", description=_PADDING)
    depth_multiplier: Count = Field(default=1, description="Number of output channels per input channel.")
    dilation_rate: Pair = Field(default=(1, 1), description=_DILATION)
    activation: Activation = Field(default="linear", description="Activation of the outputs.")
    use_bias: bool = Field(default=True, description="Whether a bias is added.")
    depthwise_initializer: Initializer = Field(default=GLOROT, description="Initial weights.")
    bias_initializer: Initializer = Field(default=ZEROS, description="Initial bias.")
    depthwise_regularizer: Regularizer | None = Field(default=None, description="Penalty on the weights.")

    def channels(self, inputs: int) -> int:
        """Returns `depth_multiplier` channels for each input channel."""
        return inputs * self.depth_multiplier


class SeparableConv2D(_Convolution2D):
    """A depthwise convolution followed by a 1x1 convolution: far fewer weights than `conv2d`."""

    keras_class: ClassVar[str] = "layers.SeparableConv2D"
    kind: Literal["separable_conv2d"]
    filters: Count = Field(description="Number of output channels.")
    kernel_size: Pair = Field(description=_KERNEL)
    strides: Pair = Field(default=(1, 1), description=_STRIDES)
    padding: Padding = Field(default="valid", description=_PADDING)
    dilation_rate: Pair = Field(default=(1, 1), description=_DILATION)
    depth_multiplier: Count = Field(default=1, description="Number of depthwise channels per input channel.")
    activation: Activation = Field(default="linear", description="Activation of the outputs.")
    use_bias: bool = Field(default=True, description="Whether a bias is added.")
    depthwise_initializer: Initializer = Field(default=GLOROT, description="Initial depthwise weights.")
    pointwise_initializer: Initializer = Field(default=GLOROT, description="Initial 1x1 weights.")
    bias_initializer: Initializer = Field(default=ZEROS, description="Initial bias.")
    depthwise_regularizer: Regularizer | None = Field(default=None, description="Penalty on the depthwise weights.")
    pointwise_regularizer: Regularizer | None = Field(default=None, description="Penalty on the 1x1 weights.")

    def channels(self, inputs: int) -> int:
        """Returns `filters`."""
        return self.filters

    def multiply_adds(self, shape: Shape) -> int:
        """Returns those of its two convolutions."""
        channels = shape[-1] * self.depth_multiplier
        return prod(self.output_shape(shape)[:-1]) * channels * (prod(self.kernel_size) + self.filters)


class Conv1D(ActivatedLayer):
    """Convolves a series with `filters` learned kernels."""

    keras_class: ClassVar[str] = "layers.Conv1D"
    rank: ClassVar[int] = 2
    takes_padding: ClassVar[bool] = True
    has_weights: ClassVar[bool] = True
    kind: Literal["conv1d"]
    filters: Count = Field(description="Number of output channels.")
    kernel_size: Count = Field(description="Length of the window.")
    strides: Count = Field(default=1, description=_STRIDES)
    padding: Literal["valid", "same", "causal"] = Field(
        default="valid", description=f"{_PADDING} `causal`: no step depends on a later one."
    )
    dilation_rate: Count = Field(default=1, description=_DILATION)
    groups: Count = Field(default=1, description="Number of channel groups that are convolved separately.")
    activation: Activation = Field(default="linear", description="Activation of the outputs.")
    use_bias: bool = Field(default=True, description="Whether a bias is added.")
    kernel_initializer: Initializer = Field(default=GLOROT, description="Initial weights.")
    bias_initializer: Initializer = Field(default=ZEROS, description="Initial bias.")
    kernel_regularizer: Regularizer | None = Field(default=None, description="Penalty on the weights.")

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the convolution of sequences whose padding is 0."""
        reach = self.dilation_rate * (self.kernel_size - 1) + 1
        return self.apply(zeroed(tensor, mask)), mask_of_windows(mask, reach, self.strides, self.padding)

    def transformed(self, shape: Shape) -> Shape:
        """The series shrinks by the window; the channels become `filters`."""
        filters = grouped_filters(self.filters, self.groups, shape[1], (self.strides,), (self.dilation_rate,))
        padding: Padding = "valid" if self.padding == "valid" else "same"
        return (slid(shape[0], self.kernel_size, self.strides, padding, self.dilation_rate), filters)

    def multiply_adds(self, shape: Shape) -> int:
        """Returns those of a full convolution; groups have fewer."""
        return prod(self.output_shape(shape)) * self.kernel_size * shape[-1]


class ZeroPadding2D(LayerSpec):
    """Adds rows and columns of zeros around an image."""

    keras_class: ClassVar[str] = "layers.ZeroPadding2D"
    rank: ClassVar[int] = 3
    kind: Literal["zero_padding2d"]
    padding: Pair = Field(default=(1, 1), description="Rows to add above and below, columns to add left and right.")

    def transformed(self, shape: Shape) -> Shape:
        """Each side grows by twice its padding."""
        return (shape[0] + 2 * self.padding[0], shape[1] + 2 * self.padding[1], shape[2])
