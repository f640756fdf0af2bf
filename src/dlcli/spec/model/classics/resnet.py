"""Residual networks (He et al. 2016, Deep residual learning for image recognition)."""

from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from dlcli.spec.base import Shape
from dlcli.spec.model.classics.base import Layers, PublishedNetwork, max_pooling, normalization, relu
from dlcli.spec.model.classics.parallel import Sum, ZeroChannels
from dlcli.spec.model.layers.convolution import ZeroPadding2D
from dlcli.spec.model.layers.pooling import GlobalAveragePooling2D

_EXPANSION = 4
"""Output channels of a bottleneck for each filter of its 3x3 convolution."""


class _Stages(NamedTuple):
    """The residual blocks of a variant.

    Attributes:
        blocks: the number of blocks of each stage.
        is_bottleneck: whether each block has convolutions of 1x1, 3x3 and 1x1 in place of two of 3x3.
        is_cifar: whether the network is one of those for CIFAR-10.
    """

    blocks: tuple[int, ...]
    is_bottleneck: bool = False
    is_cifar: bool = False


_VARIANTS = {
    "resnet18": _Stages((2, 2, 2, 2)),
    "resnet34": _Stages((3, 4, 6, 3)),
    "resnet50": _Stages((3, 4, 6, 3), is_bottleneck=True),
    "resnet101": _Stages((3, 4, 23, 3), is_bottleneck=True),
    "resnet152": _Stages((3, 8, 36, 3), is_bottleneck=True),
    "resnet20": _Stages((3, 3, 3), is_cifar=True),
    "resnet32": _Stages((5, 5, 5), is_cifar=True),
    "resnet44": _Stages((7, 7, 7), is_cifar=True),
    "resnet56": _Stages((9, 9, 9), is_cifar=True),
    "resnet110": _Stages((18, 18, 18), is_cifar=True),
}
Variant = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
]


class ResNet(PublishedNetwork):
    """Residual networks (He et al. 2016): blocks whose output is added to their input.

    `resnet20`, `resnet32`, `resnet44`, `resnet56` and `resnet110` are those for CIFAR-10: three stages of 16, 32 and 64
    filters, shortcuts without weights, and no bias before batch normalization. With 10 classes they have 269,722, 464,154,
    658,586, 853,018 and 1,727,962 trainable parameters, for colour images of any size from 8x8. The others are for ImageNet;
    their convolutions have biases, as in `keras.applications`: 25,636,712 parameters for `resnet50` with 1,000 classes,
    25,583,592 of them trainable.
    """

    title: ClassVar[str] = "ResNet"
    kind: Literal["resnet"]
    variant: Variant = Field(
        default="resnet50", description="The number of layers with weights; 20, 32, 44, 56 and 110 are for small images."
    )

    def least_side(self) -> int:
        """Returns the side that leaves pixels for the last stage."""
        return 8 if _VARIANTS[self.variant].is_cifar else 32

    def smaller_variant(self) -> str:
        """Returns the variant for images of about 32 pixels."""
        return "" if _VARIANTS[self.variant].is_cifar else "resnet20"

    def layers_for(self, shape: Shape) -> Layers:
        """Returns the first convolution, the stages of blocks and the mean of the last maps."""
        stages = _VARIANTS[self.variant]
        inputs = self.width(16 if stages.is_cifar else 64)
        layers = self._normalized(inputs, 3) if stages.is_cifar else self._first(inputs)
        for stage, blocks in enumerate(stages.blocks):
            filters = self.width((16 if stages.is_cifar else 64) * 2**stage)
            for block in range(blocks):
                strides = 2 if stage and not block else 1
                layers += self._block(inputs, filters, strides)
                inputs = filters * (_EXPANSION if stages.is_bottleneck else 1)
        return [*layers, GlobalAveragePooling2D(kind="global_average_pooling2d")]

    def _first(self, filters: int) -> Layers:
        """Returns a strided 7x7 convolution and a pooling, both with the same padding on all sides."""
        convolution = self._normalized(filters, 7, strides=2, is_padded=True)
        paddings = [ZeroPadding2D(kind="zero_padding2d", padding=(width, width)) for width in (3, 1)]
        return [paddings[0], *convolution, paddings[1], max_pooling(3)]

    def _normalized(
        self, filters: int, size: int, *, strides: int = 1, is_padded: bool = False, is_active: bool = True
    ) -> Layers:
        """Returns a convolution, its normalization and the activation."""
        is_cifar = _VARIANTS[self.variant].is_cifar
        convolution = self.convolution(
            filters,
            size,
            strides=strides,
            padding="valid" if is_padded else "same",
            activation="linear",
            use_bias=not is_cifar,
        )
        return [convolution, normalization(), *([relu()] if is_active else [])]

    def _block(self, inputs: int, filters: int, strides: int) -> Layers:
        """Returns a residual block; its stride is that of its first convolution."""
        if _VARIANTS[self.variant].is_bottleneck:
            outputs = filters * _EXPANSION
            skipped = [
                *self._normalized(filters, 1, strides=strides),
                *self._normalized(filters, 3),
                *self._normalized(outputs, 1, is_active=False),
            ]
        else:
            outputs = filters
            skipped = [*self._normalized(filters, 3, strides=strides), *self._normalized(filters, 3, is_active=False)]
        return [Sum(branches=[skipped, self._shortcut(inputs, outputs, strides)]), relu()]

    def _shortcut(self, inputs: int, outputs: int, strides: int) -> Layers:
        """Returns the layers from the input of a block to its sum; none where both have the same shape."""
        if inputs == outputs and strides == 1:
            return []
        if _VARIANTS[self.variant].is_cifar:
            return [ZeroChannels(filters=outputs, strides=strides)]
        return self._normalized(outputs, 1, strides=strides, is_active=False)
