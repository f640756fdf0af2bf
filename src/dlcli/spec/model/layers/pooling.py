"""Pooling over windows and over everything."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, Padding, Pair, Shape
from dlcli.spec.model.layers.base import LayerSpec, slid

_POOL = "Size of the window."
_STRIDES = "Stride of the window; the size of the window if not set."
_PADDING = "`valid`: no padding; `same`: padding at the borders."


class _Pooling2D(LayerSpec):
    """What max and average pooling of images share."""

    rank: ClassVar[int] = 3

    def transformed(self, shape: Shape) -> Shape:
        """Height and width shrink by the window; the channels stay."""
        fields: Any = self
        strides = fields.strides or fields.pool_size
        sides = [slid(shape[axis], fields.pool_size[axis], strides[axis], fields.padding) for axis in (0, 1)]
        return (*sides, shape[2])


class MaxPooling2D(_Pooling2D):
    """Keeps the largest value of each window."""

    keras_class: ClassVar[str] = "layers.MaxPooling2D"
    kind: Literal["max_pooling2d"]
    pool_size: Pair = Field(default=(2, 2), description=_POOL)
    strides: Pair | None = Field(default=None, description=_STRIDES)
    padding: Padding = Field(default="valid", description=_PADDING)


class AveragePooling2D(_Pooling2D):
    """Takes the mean of each window."""

    keras_class: ClassVar[str] = "layers.AveragePooling2D"
    kind: Literal["average_pooling2d"]
    pool_size: Pair = Field(default=(2, 2), description=_POOL)
    strides: Pair | None = Field(default=None, description=_STRIDES)
    padding: Padding = Field(default="valid", description=_PADDING)


class _GlobalPooling2D(LayerSpec):
    """What the global poolings of images share."""

    rank: ClassVar[int] = 3

    def transformed(self, shape: Shape) -> Shape:
        """One value a channel is left (of a 1x1 image with `keepdims`)."""
        return (1, 1, shape[2]) if getattr(self, "keepdims", False) else (shape[2],)


class GlobalAveragePooling2D(_GlobalPooling2D):
    """Takes the mean of every channel: turns feature maps into a vector without parameters."""

    keras_class: ClassVar[str] = "layers.GlobalAveragePooling2D"
    kind: Literal["global_average_pooling2d"]
    keepdims: bool = Field(default=False, description="Whether height and width are kept, with size 1.")


class GlobalMaxPooling2D(_GlobalPooling2D):
    """Takes the largest value of every channel."""

    keras_class: ClassVar[str] = "layers.GlobalMaxPooling2D"
    kind: Literal["global_max_pooling2d"]
    keepdims: bool = Field(default=False, description="Whether height and width are kept, with size 1.")


class _Pooling1D(LayerSpec):
    """What max and average pooling of series share."""

    rank: ClassVar[int] = 2

    def transformed(self, shape: Shape) -> Shape:
        """The series shrinks by the window; the channels stay."""
        fields: Any = self
        return (slid(shape[0], fields.pool_size, fields.strides or fields.pool_size, fields.padding), shape[1])


class MaxPooling1D(_Pooling1D):
    """Keeps the largest value of each window of a series."""

    keras_class: ClassVar[str] = "layers.MaxPooling1D"
    kind: Literal["max_pooling1d"]
    pool_size: Count = Field(default=2, description=_POOL)
    strides: Count | None = Field(default=None, description=_STRIDES)
    padding: Padding = Field(default="valid", description=_PADDING)


class AveragePooling1D(_Pooling1D):
    """Takes the mean of each window of a series."""

    keras_class: ClassVar[str] = "layers.AveragePooling1D"
    kind: Literal["average_pooling1d"]
    pool_size: Count = Field(default=2, description=_POOL)
    strides: Count | None = Field(default=None, description=_STRIDES)
    padding: Padding = Field(default="valid", description=_PADDING)


class _GlobalPooling1D(LayerSpec):
    """What the global poolings of series share."""

    rank: ClassVar[int] = 2

    def transformed(self, shape: Shape) -> Shape:
        """One value a channel is left."""
        return (shape[1],)


class GlobalAveragePooling1D(_GlobalPooling1D):
    """Takes the mean of every channel of a series."""

    keras_class: ClassVar[str] = "layers.GlobalAveragePooling1D"
    kind: Literal["global_average_pooling1d"]


class GlobalMaxPooling1D(_GlobalPooling1D):
    """Takes the largest value of every channel of a series."""

    keras_class: ClassVar[str] = "layers.GlobalMaxPooling1D"
    kind: Literal["global_max_pooling1d"]
