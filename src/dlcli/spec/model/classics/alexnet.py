"""AlexNet (Krizhevsky et al. 2012) and ZFNet (Zeiler & Fergus 2014), which differ in their first two convolutions."""

from typing import ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Count, Fraction, Shape
from dlcli.spec.model.base import Change
from dlcli.spec.model.classics.base import Layers, Pixels, PublishedNetwork, max_pooling
from dlcli.spec.model.layers.base import LayerSpec
from dlcli.spec.model.layers.convolution import ZeroPadding2D
from dlcli.spec.model.layers.regular import LocalResponseNormalization
from dlcli.spec.model.layers.shape import Flatten

_VARIANT = "`imagenet`: the first layers of the paper; `small`: 5x5 windows without strides, for images of about 32 pixels."


class _EightLayers(PublishedNetwork):
    """Five convolutions, of which the last three are the same in both networks, and two dense layers with dropout."""

    variant: Pixels = Field(default="imagenet", description=_VARIANT)
    units: list[Count] = Field(default=[4096, 4096], description="Units of each hidden dense layer.")
    dropout: Fraction = Field(default=0.5, description="Dropout after each hidden dense layer.")

    @property
    def is_small(self) -> bool:
        """Whether the first layers are those for small images."""
        return self.variant == "small"

    def smaller_variant(self) -> str:
        """Returns the variant for images of about 32 pixels."""
        return "" if self.is_small else "small"

    def against_overfitting(self) -> list[Change]:
        """Returns fewer units besides the changes of all networks."""
        units = [("smaller hidden layers", f"model.units={[max(1, units // 4) for units in self.units]}")]
        return [*super().against_overfitting(), *(units if self.units else [])]

    def ending(self, groups: int) -> Layers:
        """Returns the last three convolutions, a pooling and the dense layers."""
        convolutions = [
            self.convolution(self.width(filters), 3, groups=parts)
            for filters, parts in ((384, 1), (384, groups), (256, groups))
        ]
        return [*convolutions, max_pooling(3), Flatten(kind="flatten"), *self.hidden(self.units, self.dropout)]


def _local_normalization() -> LocalResponseNormalization:
    return LocalResponseNormalization(kind="local_response_normalization")


class AlexNet(_EightLayers):
    """AlexNet (Krizhevsky et al. 2012): five convolutions, local response normalization, overlapping poolings and dropout.

    With images of 227x227 pixels, which give the sizes of the paper (which says 224x224), and 1,000 classes it has 62,378,344
    parameters; with `groups: 2`, as on the two GPUs of the paper, 60,965,224.
    """

    title: ClassVar[str] = "AlexNet"
    kind: Literal["alexnet"]
    groups: Literal[1, 2] = Field(
        default=1, description="Channel groups of the second, fourth and fifth convolution: 2 in the paper, one for each GPU."
    )

    def least_side(self) -> int:
        """Returns the side that gives a single pixel after the last pooling."""
        return 15 if self.is_small else 67

    def layers_for(self, shape: Shape) -> Layers:
        """Returns the layers in the order of the paper: convolution, normalization, pooling."""
        first = self.convolution(self.width(96), 5) if self.is_small else self._first()
        second = self.convolution(self.width(256), 5, groups=self.groups)
        return [*self._reduced(first), *self._reduced(second), *self.ending(self.groups)]

    def _first(self) -> LayerSpec:
        return self.convolution(self.width(96), 11, strides=4, padding="valid")

    def _reduced(self, convolution: LayerSpec) -> Layers:
        return [convolution, _local_normalization(), max_pooling(3)]


class ZFNet(_EightLayers):
    """ZFNet (Zeiler & Fergus 2014): AlexNet with smaller windows and strides in the first two convolutions.

    With images of 224x224 pixels and 1,000 classes it has 62,357,608 parameters.
    """

    title: ClassVar[str] = "ZFNet"
    kind: Literal["zfnet"]

    def least_side(self) -> int:
        """Returns the side that gives a single pixel after the last pooling."""
        return 9 if self.is_small else 53

    def layers_for(self, shape: Shape) -> Layers:
        """Returns the layers in the order of the paper: convolution, pooling, normalization."""
        return [*(self._small_start() if self.is_small else self._start()), *self.ending(1)]

    def _start(self) -> Layers:
        first = self.convolution(self.width(96), 7, strides=2, padding="valid")
        second = self.convolution(self.width(256), 5, strides=2, padding="valid")
        return [ZeroPadding2D(kind="zero_padding2d"), *self._reduced(first), *self._reduced(second)]

    def _small_start(self) -> Layers:
        return [*self._reduced(self.convolution(self.width(96), 5)), *self._reduced(self.convolution(self.width(256), 5))]

    def _reduced(self, convolution: LayerSpec) -> Layers:
        return [convolution, max_pooling(3, padding="same"), _local_normalization()]
