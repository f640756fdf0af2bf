"""Building blocks that Keras lacks, made of plain Keras layers: a saved model needs nothing of dlcli."""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, Shape
from dlcli.spec.model.activations import Activation, activated
from dlcli.spec.model.layers.base import LayerSpec, ShapeError

if TYPE_CHECKING:  # the union holds these classes: it completes them with `model_rebuild`
    from dlcli.spec.model.layers import Layer

Layers = Annotated[list["Layer"], Field(min_length=1)]


def chain_shape(layers: list[Any], shape: Shape, place: tuple[str | int, ...]) -> Shape:
    """Returns the shape after a list of layers; a ShapeError names the one that failed."""
    for index, layer in enumerate(layers):
        try:
            shape = layer.output_shape(shape)
        except ShapeError as error:
            raise ShapeError(str(error), (*place, index, *error.place)) from None
    return shape


def chain_multiply_adds(layers: list[Any], shape: Shape) -> int | None:
    """Returns the multiply-adds of a list of layers for an example of this shape; None if those of a layer are unknown."""
    total = 0
    for layer in layers:
        count = layer.multiply_adds(shape)
        if count is None:
            return None
        total, shape = total + count, layer.output_shape(shape)
    return total


def chain(layers: list[Any], tensor: Any) -> Any:
    """Returns the output of a list of layers."""
    for layer in layers:
        tensor = layer.apply(tensor)
    return tensor


def masked_chain(layers: list[Any], tensor: Any, mask: Any) -> tuple[Any, Any]:
    """Returns the output of a list of layers for padded sequences, and its mask; None once there are no steps."""
    for layer in layers:
        tensor, mask = (layer.apply(tensor), None) if mask is None else layer.apply_masked(tensor, mask)
    return tensor, mask


def first_fault_of_padding(layers: list[Any]) -> str:
    """Returns the kind of the first layer that cannot take padded sequences; empty if all can."""
    return next((fault for layer in layers if (fault := layer.fault_of_padding())), "")


class Maxout(LayerSpec):
    """Takes the largest of `pieces` linear functions for every unit (Goodfellow et al. 2013)."""

    rank: ClassVar[int] = 1
    has_weights: ClassVar[bool] = True
    kind: Literal["maxout"]
    units: Count = Field(description="Number of outputs.")
    pieces: Annotated[int, Field(ge=2)] = Field(default=2, description="Number of linear functions per output.")

    def apply(self, tensor: Any) -> Any:
        """Returns the maximum over `pieces` of one dense layer's outputs."""
        import keras

        tensor = keras.layers.Dense(self.units * self.pieces)(tensor)
        tensor = keras.layers.Reshape((self.units, self.pieces))(tensor)
        return keras.ops.max(tensor, axis=-1)

    def transformed(self, shape: Shape) -> Shape:
        """One value a unit."""
        return (self.units,)


class Residual(LayerSpec):
    """Adds the output of a list of layers to their input (He et al. 2015); the input is projected if the shapes differ."""

    kind: Literal["residual"]
    layers: Layers = Field(description="Layers that the shortcut skips.")
    activation: Activation = Field(default="linear", description="Activation of the sum.")

    def apply(self, tensor: Any) -> Any:
        """Returns the activated sum of the layers' output and the (projected) input."""
        import keras

        output = chain(self.layers, tensor)
        total = keras.layers.Add()([output, self._projected(tensor, output)])
        return activated(total, self.activation)

    def fault_of_padding(self) -> str:
        """Returns the kind of the first skipped layer that cannot take padded sequences."""
        return first_fault_of_padding(self.layers)

    def needs_one_length(self) -> bool:
        """Whether a skipped layer does."""
        return any(layer.needs_one_length() for layer in self.layers)

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the activated sum for padded sequences, and the mask after the skipped layers."""
        import keras

        output, mask = masked_chain(self.layers, tensor, mask)
        return activated(keras.layers.Add()([output, self._projected(tensor, output)]), self.activation), mask

    def _projected(self, tensor: Any, output: Any) -> Any:
        import keras

        if tensor.shape == output.shape:
            return tensor
        convolution = {4: keras.layers.Conv2D, 5: keras.layers.Conv3D}.get(len(tensor.shape))
        if convolution is not None:
            sides = zip(tensor.shape[1:-1], output.shape[1:-1], strict=True)
            strides = tuple(-(-side // end) for side, end in sides)
            return convolution(output.shape[-1], 1, strides=strides, padding="same")(tensor)
        return keras.layers.Dense(output.shape[-1])(tensor)

    def transformed(self, shape: Shape) -> Shape:
        """The shape after the skipped layers, if a 1x1 projection can reach it."""
        output = chain_shape(self.layers, shape, ("layers",))
        if len(output) != len(shape):
            raise ShapeError(f"its layers turn shape {shape} into {output}: the two cannot be added")
        if len(shape) in (3, 4) and output != shape:
            reached = tuple(-(-side // -(-side // end)) for side, end in zip(shape[:-1], output[:-1], strict=True))
            if reached != output[:-1]:
                raise ShapeError(
                    f"its layers turn shape {shape} into {output}, which no stride of the shortcut can match; use `padding:"
                    " same`"
                )
        if len(shape) == 2 and output[0] != shape[0]:
            raise ShapeError(f"its layers turn {shape[0]} steps into {output[0]}; use `padding: same` and stride 1")
        if len(shape) > 4 and output[:-1] != shape[:-1]:
            raise ShapeError(f"its layers turn shape {shape} into {output}; all but the channels must stay")
        return output

    def multiply_adds(self, shape: Shape) -> int | None:
        """Returns those of the skipped layers, and those of the projection where the shapes differ."""
        output = self.output_shape(shape)
        layers = chain_multiply_adds(self.layers, shape)
        return None if layers is None else layers + (prod(output) * shape[-1] if output != shape else 0)


class Branches(LayerSpec):
    """Applies several lists of layers in parallel and concatenates their channels (Inception; Szegedy et al. 2014)."""

    kind: Literal["branches"]
    branches: Annotated[list[list[Layer]], Field(min_length=2)] = Field(
        description="Lists of layers, one per branch; an empty list passes the input through."
    )

    def apply(self, tensor: Any) -> Any:
        """Returns the branches' outputs, joined along the channels."""
        import keras

        return keras.layers.Concatenate()([chain(layers, tensor) for layers in self.branches])

    def fault_of_padding(self) -> str:
        """Returns the kind of the first layer that cannot take padded sequences."""
        return first_fault_of_padding([layer for layers in self.branches for layer in layers])

    def needs_one_length(self) -> bool:
        """Whether a layer of a branch does."""
        return any(layer.needs_one_length() for layers in self.branches for layer in layers)

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the joined outputs for padded sequences; a step is valid if it is in all branches."""
        import keras

        outputs, masks = zip(*(masked_chain(layers, tensor, mask) for layers in self.branches), strict=True)
        joined = keras.layers.Concatenate()(list(outputs))
        if any(branch_mask is None for branch_mask in masks):
            return joined, None
        return joined, reduce(keras.ops.logical_and, masks)

    def transformed(self, shape: Shape) -> Shape:
        """The branches' common sides, their channels summed."""
        shapes = [chain_shape(layers, shape, ("branches", index)) for index, layers in enumerate(self.branches)]
        if len({branch_shape[:-1] for branch_shape in shapes}) > 1 or len({len(branch_shape) for branch_shape in shapes}) > 1:
            raise ShapeError(
                f"its branches end in {', '.join(map(str, shapes))}: all but the channels must agree; use `padding: same`"
            )
        return (*shapes[0][:-1], sum(branch_shape[-1] for branch_shape in shapes))

    def multiply_adds(self, shape: Shape) -> int | None:
        """Returns the sum over the branches."""
        branches = [chain_multiply_adds(layers, shape) for layers in self.branches]
        return None if None in branches else sum(filter(None, branches))


class SqueezeExcite(LayerSpec):
    """Weights every channel by the content of the whole image (Hu et al. 2017)."""

    rank: ClassVar[int] = 3
    has_weights: ClassVar[bool] = True
    kind: Literal["squeeze_excite"]
    ratio: Count = Field(default=16, description="Reduction ratio: number of channels per unit of the bottleneck.")

    def apply(self, tensor: Any) -> Any:
        """Returns the input, each channel multiplied by its learned weight in (0, 1)."""
        import keras

        channels = tensor.shape[-1]
        weights = keras.layers.GlobalAveragePooling2D(keepdims=True)(tensor)
        weights = keras.layers.Dense(max(1, channels // self.ratio), activation="relu")(weights)
        weights = keras.layers.Dense(channels, activation="sigmoid")(weights)
        return keras.layers.Multiply()([tensor, weights])
