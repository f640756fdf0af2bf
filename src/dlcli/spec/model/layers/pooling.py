"""Pooling over windows and over everything."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, Padding, Pair, Shape, Triple
from dlcli.spec.model.layers.base import LayerSpec, slid
from dlcli.spec.model.layers.padding import masked_maximum, masked_mean, pooled

_POOL = "Size of the window."
_STRIDES = "Stride of the window; the size of the window if not set."
_PADDING = "`valid`: no padding; `same`: padding at the borders."


class _Pooling(LayerSpec):
    """What max and average pooling of images and volumes share."""

    def transformed(self, shape: Shape) -> Shape:
        """Every side shrinks by the window; the channels stay."""
        fields: Any = self
        strides = fields.strides or fields.pool_size
        sides = zip(shape[:-1], fields.pool_size, strides, strict=True)
        return (*(slid(side, window, stride, fields.padding) for side, window, stride in sides), shape[-1])


class _Pooling2D(_Pooling):
    """A pooling of images."""

    rank: ClassVar[int] = 3


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


class MaxPooling3D(_Pooling):
    """Keeps the largest value of each window of a volume."""

    keras_class: ClassVar[str] = "layers.MaxPooling3D"
    rank: ClassVar[int] = 4
    kind: Literal["max_pooling3d"]
    pool_size: Triple = Field(default=(2, 2, 2), description=_POOL)
    strides: Triple | None = Field(default=None, description=_STRIDES)
    padding: Padding = Field(default="valid", description=_PADDING)


class _GlobalPooling(LayerSpec):
    """What the global poolings of images and volumes share."""

    def transformed(self, shape: Shape) -> Shape:
        """One value a channel is left (of sides of 1 with `keepdims`)."""
        sides = (1,) * (len(shape) - 1) if getattr(self, "keepdims", False) else ()
        return (*sides, shape[-1])


class _GlobalPooling2D(_GlobalPooling):
    """A global pooling of images."""

    rank: ClassVar[int] = 3


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


class GlobalAveragePooling3D(_GlobalPooling):
    """Takes the mean of every channel of a volume."""

    keras_class: ClassVar[str] = "layers.GlobalAveragePooling3D"
    rank: ClassVar[int] = 4
    kind: Literal["global_average_pooling3d"]
    keepdims: bool = Field(default=False, description="Whether depth, height and width are kept, with size 1.")


class _Pooling1D(LayerSpec):
    """What max and average pooling of series share."""

    rank: ClassVar[int] = 2
    takes_padding: ClassVar[bool] = True
    takes_maximum: ClassVar[bool] = False

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the maximum or mean of the valid steps of each window."""
        fields: Any = self
        strides = fields.strides or fields.pool_size
        return pooled(self.build(), tensor, mask, fields.pool_size, strides, fields.padding, maximum=self.takes_maximum)

    def transformed(self, shape: Shape) -> Shape:
        """The series shrinks by the window; the channels stay."""
        fields: Any = self
        return (slid(shape[0], fields.pool_size, fields.strides or fields.pool_size, fields.padding), shape[1])


class MaxPooling1D(_Pooling1D):
    """Keeps the largest value of each window of a series."""

    keras_class: ClassVar[str] = "layers.MaxPooling1D"
    takes_maximum: ClassVar[bool] = True
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
    takes_padding: ClassVar[bool] = True

    def transformed(self, shape: Shape) -> Shape:
        """One value a channel is left."""
        return (shape[1],)


class GlobalAveragePooling1D(_GlobalPooling1D):
    """Takes the mean of every channel of a series."""

    keras_class: ClassVar[str] = "layers.GlobalAveragePooling1D"
    kind: Literal["global_average_pooling1d"]

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the mean of the valid steps."""
        return masked_mean(tensor, mask), None


class GlobalMaxPooling1D(_GlobalPooling1D):
    """Takes the largest value of every channel of a series."""

    keras_class: ClassVar[str] = "layers.GlobalMaxPooling1D"
    kind: Literal["global_max_pooling1d"]

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the largest values of the valid steps."""
        return masked_maximum(tensor, mask), None
