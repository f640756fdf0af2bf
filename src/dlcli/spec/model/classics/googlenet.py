"""GoogLeNet (Szegedy et al. 2015, Going deeper with convolutions)."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Fraction, Positive, Shape
from dlcli.spec.model.classics.base import Layers, Pixels, PublishedNetwork, average_pooling, dropped, max_pooling
from dlcli.spec.model.classics.parallel import Joined
from dlcli.spec.model.layers.composite import chain
from dlcli.spec.model.layers.pooling import GlobalAveragePooling2D
from dlcli.spec.model.layers.regular import LocalResponseNormalization
from dlcli.spec.model.layers.shape import Flatten
from dlcli.spec.support import Feature

_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""The filters of each module as in the paper's table: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, projection of the pooling."""
_REDUCED_AFTER = ("3b", "4e")
_WITH_HEADS = ("4a", "4d")
"""The modules whose outputs the auxiliary heads read."""
_HEAD_WINDOW = 5


class GoogLeNet(PublishedNetwork):
    """GoogLeNet (Szegedy et al. 2015): nine modules, each with windows of 1x1, 3x3 and 5x5 and a pooling side by side.

    With images of 224x224 pixels and 1,000 classes it has 6,998,552 parameters, and 13,378,280 with both auxiliary heads. These
    are trained with the network, their losses counting 0.3 each, and are neither saved nor used for predictions; the validation
    loss is that of the network alone.
    """

    title: ClassVar[str] = "GoogLeNet"
    kind: Literal["googlenet"]
    variant: Pixels = Field(
        default="imagenet",
        description="`imagenet`: the first layers of the paper; `small`: the same without strides and poolings before the first"
        " module and with a first window of 3x3, for images of about 32 pixels.",
    )
    dropout: Fraction = Field(default=0.4, description="Dropout before the output.")
    auxiliary_heads: bool = Field(
        default=False, description="Whether two further heads on the fourth stage are trained, which help its gradients."
    )
    auxiliary_weight: Positive = Field(default=0.3, description="Share of the loss of each auxiliary head.")
    auxiliary_dropout: Fraction = Field(default=0.7, description="Dropout of each auxiliary head.")

    def reason_against(self, feature: Feature) -> str:
        """Returns why several devices cannot share a batch where auxiliary heads are trained; else the usual answer."""
        if feature == "several devices" and self.auxiliary_heads:
            return "the losses of its auxiliary heads are not summed over devices"
        return super().reason_against(feature)

    def faults(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yields settings of auxiliary heads where there are none."""
        for name in ("auxiliary_weight", "auxiliary_dropout"):
            if not self.auxiliary_heads and getattr(self, name) != type(self).model_fields[name].default:
                yield (name,), "has no effect without `auxiliary_heads: true`"

    def least_side(self) -> int:
        """Returns the side that leaves pixels for the last stage, and a window for each auxiliary head."""
        if self.auxiliary_heads:
            return 9 if self.variant == "small" else 65
        return 8 if self.variant == "small" else 32

    def smaller_variant(self) -> str:
        """Returns the variant for images of about 32 pixels."""
        return "" if self.variant == "small" else "small"

    def layers_for(self, shape: Shape) -> Layers:
        """Returns the first convolutions, the modules and the mean of the last maps."""
        layers = self._first()
        for name, filters in _MODULES.items():
            layers.append(self._module(name, filters))
            if name in _REDUCED_AFTER:
                layers.append(max_pooling(3, padding="same"))
        return [*layers, GlobalAveragePooling2D(kind="global_average_pooling2d"), *dropped(self.dropout)]

    def _first(self) -> Layers:
        is_small = self.variant == "small"
        pooling: Layers = [] if is_small else [max_pooling(3, padding="same")]
        normalization = LocalResponseNormalization(kind="local_response_normalization")
        first = self.convolution(self.width(64), 3 if is_small else 7, strides=1 if is_small else 2)
        more = [self.convolution(self.width(64), 1), self.convolution(self.width(192), 3)]
        return [first, *pooling, normalization, *more, normalization, *pooling]

    def _module(self, name: str, filters: tuple[int, ...]) -> Joined:
        """Returns a module of parallel convolutions, whose output has the module's name."""
        single, reduced_3, window_3, reduced_5, window_5, pooled = map(self.width, filters)
        branches: list[Layers] = [
            [self.convolution(single, 1)],
            [self.convolution(reduced_3, 1), self.convolution(window_3, 3)],
            [self.convolution(reduced_5, 1), self.convolution(window_5, 5)],
            [max_pooling(3, strides=1, padding="same"), self.convolution(pooled, 1)],
        ]
        return Joined(name=f"inception_{name}", branches=branches)

    def learner(self, network: Any) -> Any:
        """Returns the network with its auxiliary heads, if it has them."""
        if not self.auxiliary_heads:
            return network.functional
        from dlcli.runtime.auxiliary_heads import WithAuxiliaryHeads

        outputs = [network.functional.get_layer(f"inception_{name}").output for name in _WITH_HEADS]
        heads = [self._head(network, output, place) for place, output in enumerate(outputs, 1)]
        return WithAuxiliaryHeads(network.functional, heads, self.auxiliary_weight)

    def _head(self, network: Any, maps: Any, place: int) -> Any:
        """Returns the output of an auxiliary head for the maps of a module."""
        import keras

        layers: Layers = [
            average_pooling(_HEAD_WINDOW, 3),
            self.convolution(self.width(128), 1),
            Flatten(kind="flatten"),
            # As many features as those of the network's own head, of which this is another copy: 1,024 in the paper.
            *self.hidden([network.features.shape[-1]], self.auxiliary_dropout),
        ]
        copy = keras.models.clone_model(network.head)
        copy.name = f"auxiliary_head_{place}"
        return copy(chain(layers, maps))
