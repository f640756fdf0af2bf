"""Layers that change shape or scale and learn nothing."""

from math import prod
from typing import Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Shape
from dlcli.spec.model.layers.base import LayerSpec, ShapeError
from dlcli.spec.model.layers.padding import zeroed


class Flatten(LayerSpec):
    """Flattens an image or a series into a vector."""

    keras_class: ClassVar[str] = "layers.Flatten"
    takes_padding: ClassVar[bool] = True
    kind: Literal["flatten"]

    def needs_one_length(self) -> bool:
        """True: the number of its outputs is that of the steps."""
        return True

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns all values in one axis, 0 for those of the padding."""
        return self.apply(zeroed(tensor, mask)), None

    def transformed(self, shape: Shape) -> Shape:
        """All values in one axis."""
        return (prod(shape),)


class Reshape(LayerSpec):
    """Changes the shape and keeps the values."""

    keras_class: ClassVar[str] = "layers.Reshape"
    kind: Literal["reshape"]
    target_shape: list[int] = Field(
        description="New shape of one example; one entry may be -1, which is inferred.", min_length=1
    )

    def transformed(self, shape: Shape) -> Shape:
        """The target shape, its -1 worked out."""
        size = prod(side for side in self.target_shape if side != -1)
        free = self.target_shape.count(-1)
        if free > 1 or size < 1 or any(side < -1 for side in self.target_shape):
            raise ShapeError(f"`target_shape: {self.target_shape}` may contain one -1 and otherwise numbers from 1")
        if prod(shape) % size or (not free and prod(shape) != size):
            raise ShapeError(f"cannot reshape the {prod(shape)} values of shape {shape} to {self.target_shape}")
        return tuple(prod(shape) // size if side == -1 else side for side in self.target_shape)


class Rescaling(LayerSpec):
    """Multiplies by a factor and adds an offset. `data.normalize` scales the inputs of the model."""

    keras_class: ClassVar[str] = "layers.Rescaling"
    takes_padding: ClassVar[bool] = True
    kind: Literal["rescaling"]
    scale: float = Field(description="Scale factor.")
    offset: float = Field(default=0.0, description="Offset that is added after scaling.")
