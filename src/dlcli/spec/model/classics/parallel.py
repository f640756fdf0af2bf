"""Layers side by side, whose outputs are added or concatenated, and the shortcut without weights of small residual networks."""

from typing import Any, ClassVar

from dlcli.spec.base import Count, Shape
from dlcli.spec.model.layers.base import LayerSpec, ShapeError, slid
from dlcli.spec.model.layers.composite import chain, chain_multiply_adds, chain_shape


class Parallel(LayerSpec):
    """Lists of layers with the same input; an empty list passes the input on."""

    rank: ClassVar[int] = 3
    branches: list[list[LayerSpec]]

    def outputs(self, tensor: Any) -> list[Any]:
        """Returns the output of each list for a Keras tensor."""
        return [chain(layers, tensor) for layers in self.branches]

    def shapes(self, shape: Shape) -> list[Shape]:
        """Returns the output shape of each list."""
        return [chain_shape(layers, shape, ()) for layers in self.branches]

    def multiply_adds(self, shape: Shape) -> int | None:
        """Returns the sum over the lists; None if those of a layer are unknown."""
        counts = [chain_multiply_adds(layers, shape) for layers in self.branches]
        return None if None in counts else sum(filter(None, counts))


class Sum(Parallel):
    """Adds the outputs of two lists of layers."""

    def apply(self, tensor: Any) -> Any:
        """Returns the sum."""
        import keras

        return keras.layers.Add()(self.outputs(tensor))

    def transformed(self, shape: Shape) -> Shape:
        """The common shape of the outputs."""
        first, *others = self.shapes(shape)
        if any(other != first for other in others):
            raise ShapeError(f"its branches end in {first} and {others[0]}, which cannot be added")
        return first


class Joined(Parallel):
    """Concatenates the channels of the outputs; `name` is that of the Keras layer, if another part of the network needs it."""

    name: str | None = None

    def apply(self, tensor: Any) -> Any:
        """Returns the concatenation."""
        import keras

        return keras.layers.Concatenate(name=self.name)(self.outputs(tensor))

    def transformed(self, shape: Shape) -> Shape:
        """The common sides of the outputs, with the sum of their channels."""
        shapes = self.shapes(shape)
        return (*shapes[0][:-1], sum(other[-1] for other in shapes))


class ZeroChannels(LayerSpec):
    """The shortcut without weights of He et al. (2016): every `strides`-th pixel, with channels of zeros up to `filters`."""

    rank: ClassVar[int] = 3
    filters: Count
    strides: Count

    def apply(self, tensor: Any) -> Any:
        """Returns the smaller image with more channels."""
        import keras

        pixels = keras.layers.MaxPooling2D(1, strides=self.strides)(tensor)
        missing = self.filters - tensor.shape[-1]
        # Padding of the last axis alone: a layer of Keras that does so does not exist.
        return keras.ops.pad(pixels, [[0, 0], [0, 0], [0, 0], [missing // 2, missing - missing // 2]])

    def transformed(self, shape: Shape) -> Shape:
        """The sides shrink by the stride; the channels become `filters`."""
        return (*(slid(side, 1, self.strides, "valid") for side in shape[:-1]), self.filters)
