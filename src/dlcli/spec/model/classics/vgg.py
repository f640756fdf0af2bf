"""VGG (Simonyan & Zisserman 2015, Very deep convolutional networks for large-scale image recognition)."""

from typing import ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, Fraction, Shape
from dlcli.spec.model.base import Change
from dlcli.spec.model.classics.base import Layers, PublishedNetwork, max_pooling
from dlcli.spec.model.layers.shape import Flatten

_FILTERS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""Convolutions of each block: the columns A, B, D and E of the paper's first table."""


class Vgg(PublishedNetwork):
    """VGG (Simonyan & Zisserman 2015): five blocks of 3x3 convolutions, each with a pooling, and two dense layers.

    With images of 224x224 pixels and 1,000 classes, `vgg16` has 138,357,544 parameters and `vgg19` 143,667,240. Images of 28 to
    32 pixels are reduced to a single pixel; `units: [512]` is then enough. The paper pretrained its first layers; the initial
    weights here are those of He et al. (2015), with which the deep variants learn from the start.
    """

    title: ClassVar[str] = "VGG"
    kind: Literal["vgg"]
    variant: Literal["vgg11", "vgg13", "vgg16", "vgg19"] = Field(
        default="vgg16", description="The number of layers with weights: columns A, B, D and E of the paper."
    )
    units: list[Count] = Field(default=[4096, 4096], description="Units of each hidden dense layer.")
    dropout: Fraction = Field(default=0.5, description="Dropout after each hidden dense layer.")

    def least_side(self) -> int:
        """Returns the side of MNIST's digits, which five poolings reduce to a pixel."""
        return 28

    def against_overfitting(self) -> list[Change]:
        """Returns fewer units besides the changes of all networks."""
        units = [("smaller hidden layers", f"model.units={[max(1, units // 4) for units in self.units]}")]
        return [*super().against_overfitting(), *(units if self.units else [])]

    def layers_for(self, shape: Shape) -> Layers:
        """Returns the blocks and the dense layers."""
        blocks: Layers = []
        for filters, count in zip(_FILTERS, _CONVOLUTIONS[self.variant], strict=True):
            blocks += [self.convolution(self.width(filters), 3) for _ in range(count)]
            blocks.append(max_pooling(2, padding="same"))
        return [*blocks, Flatten(kind="flatten"), *self.hidden(self.units, self.dropout)]
