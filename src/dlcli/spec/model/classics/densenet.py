"""Densely connected networks (Huang et al. 2017, Densely connected convolutional networks)."""

from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from dlcli.spec.base import Count, Fraction, Shape
from dlcli.spec.model.classics.base import Layers, PublishedNetwork, average_pooling, dropped, max_pooling, normalization, relu
from dlcli.spec.model.classics.parallel import Joined
from dlcli.spec.model.layers.base import LayerSpec
from dlcli.spec.model.layers.convolution import ZeroPadding2D
from dlcli.spec.model.layers.pooling import GlobalAveragePooling2D

_BOTTLENECK = 4
"""Filters of a bottleneck for each filter that a layer adds."""


class _Blocks(NamedTuple):
    """The dense blocks of a variant.

    Attributes:
        layers: the number of layers of each block.
        growth_rate: the channels that each layer adds.
        is_compressed: whether layers have a bottleneck and transitions halve the channels (DenseNet-BC).
        is_cifar: whether the network is one of those for CIFAR-10.
    """

    layers: tuple[int, ...]
    growth_rate: int
    is_compressed: bool = True
    is_cifar: bool = False


_VARIANTS = {
    "densenet121": _Blocks((6, 12, 24, 16), 32),
    "densenet169": _Blocks((6, 12, 32, 32), 32),
    "densenet201": _Blocks((6, 12, 48, 32), 32),
    "densenet40": _Blocks((12, 12, 12), 12, is_compressed=False, is_cifar=True),
    "densenet100": _Blocks((32, 32, 32), 12, is_compressed=False, is_cifar=True),
    "densenet100_bc": _Blocks((16, 16, 16), 12, is_cifar=True),
    "densenet190_bc": _Blocks((31, 31, 31), 40, is_cifar=True),
}
Variant = Literal["densenet121", "densenet169", "densenet201", "densenet40", "densenet100", "densenet100_bc", "densenet190_bc"]


class DenseNet(PublishedNetwork):
    """Densely connected networks (Huang et al. 2017): each layer of a block sees the outputs of all layers before it.

    `densenet40`, `densenet100`, `densenet100_bc` and `densenet190_bc` are those for CIFAR-10, for images of any size from 8x8:
    with 10 classes and colour images they have 1,019,722, 6,979,642, 769,162 and 25,624,430 trainable parameters. The others
    are for ImageNet: `densenet121` has 8,062,504 parameters with 1,000 classes.
    """

    title: ClassVar[str] = "DenseNet"
    kind: Literal["densenet"]
    variant: Variant = Field(
        default="densenet121",
        description="The number of layers with weights; 40, 100 and 190 are for small images; `bc`: with bottlenecks and"
        " compression.",
    )
    growth_rate: Count | None = Field(
        default=None, description="Channels that each layer adds: by default 12, 40 for `densenet190_bc`, 32 for ImageNet."
    )
    dropout: Fraction = Field(
        default=0.0, description="Dropout after each convolution of a block: 0.2 in the paper without augmentation."
    )

    @property
    def growth(self) -> int:
        """The channels that each layer adds, after the width multiplier."""
        return self.width(self.growth_rate or _VARIANTS[self.variant].growth_rate)

    def least_side(self) -> int:
        """Returns the side that leaves pixels for the last block."""
        return 8 if _VARIANTS[self.variant].is_cifar else 32

    def smaller_variant(self) -> str:
        """Returns the variant for images of about 32 pixels."""
        return "" if _VARIANTS[self.variant].is_cifar else "densenet40"

    def layers_for(self, shape: Shape) -> Layers:
        """Returns the first convolution, the dense blocks with the transitions between them, and the mean of the last maps."""
        blocks = _VARIANTS[self.variant]
        channels, layers = self._first()
        for block, count in enumerate(blocks.layers):
            if block:
                channels = channels // 2 if blocks.is_compressed else channels
                layers += [*self._normalized(channels, 1), *dropped(self.dropout), average_pooling(2, 2)]
            layers += [self._layer() for _ in range(count)]
            channels += count * self.growth
        return [*layers, normalization(), relu(), GlobalAveragePooling2D(kind="global_average_pooling2d")]

    def _first(self) -> tuple[int, Layers]:
        """Returns the layers before the first block, and the number of their channels."""
        blocks = _VARIANTS[self.variant]
        if blocks.is_cifar:
            channels = 2 * self.growth if blocks.is_compressed else self.width(16)
            return channels, [self.convolution(channels, 3, activation="linear", use_bias=False)]
        channels = 2 * self.growth
        convolution = self.convolution(channels, 7, strides=2, padding="valid", activation="linear", use_bias=False)
        paddings = [ZeroPadding2D(kind="zero_padding2d", padding=(width, width)) for width in (3, 1)]
        return channels, [paddings[0], convolution, normalization(), relu(), paddings[1], max_pooling(3)]

    def _normalized(self, filters: int, size: int) -> Layers:
        """Returns a convolution after normalization and activation."""
        return [normalization(), relu(), self.convolution(filters, size, activation="linear", use_bias=False)]

    def _layer(self) -> LayerSpec:
        """Returns a layer of a block: its output is joined to its input."""
        bottleneck: Layers = []
        if _VARIANTS[self.variant].is_compressed:
            bottleneck = [*self._normalized(_BOTTLENECK * self.growth, 1), *dropped(self.dropout)]
        return Joined(branches=[[], [*bottleneck, *self._normalized(self.growth, 3), *dropped(self.dropout)]])
