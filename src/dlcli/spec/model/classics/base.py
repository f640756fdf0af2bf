"""What the networks of well-known papers share: their fields, their layers, and the images that they take."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Padding, Positive, Shape
from dlcli.spec.model.activations import Elementwise
from dlcli.spec.model.base import Change, ModelSpec
from dlcli.spec.model.layers.base import LayerSpec, ShapeError
from dlcli.spec.model.layers.convolution import Conv2D
from dlcli.spec.model.layers.dense import ActivationLayer, Dense
from dlcli.spec.model.layers.pooling import AveragePooling2D, MaxPooling2D
from dlcli.spec.model.layers.regular import BatchNormalization, Dropout
from dlcli.spec.model.parameters import Initializer, NamedInitializer, Regularizer

HE = NamedInitializer.model_construct(kind="he_normal")
Layers = list[LayerSpec]
Pixels = Literal["imagenet", "small"]
"""Whether a network has the first layers of its paper, or those for images of about 32 pixels."""


class PublishedNetwork(ModelSpec):
    """The network of a paper, for images. A subclass has a field `variant`, and `layers_for` returns its layers."""

    title: ClassVar[str] = ""
    """The name of the network in its paper."""
    alpha: Positive = Field(default=1.0, description="Width multiplier: factor of the numbers of filters of all convolutions.")
    kernel_initializer: Initializer = Field(default=HE, description="Initial weights of convolutions and hidden layers.")
    kernel_regularizer: Regularizer | None = Field(
        default=None, description="Penalty on the weights of convolutions and hidden layers."
    )

    @property
    def variant_name(self) -> str:
        """The value of `variant`."""
        return str(getattr(self, "variant"))  # noqa: B009  (every kind has it, the base has not)

    def least_side(self) -> int:
        """Returns the height and width that images must have at least."""
        raise NotImplementedError

    def smaller_variant(self) -> str:
        """Returns the variant to use for smaller images; empty where there is none."""
        return ""

    def layers_for(self, shape: Shape) -> Layers:
        """Returns every layer before the output, for images of this shape, which are large enough."""
        raise NotImplementedError

    def stack(self, shape: Shape) -> list[tuple[LayerSpec, tuple[str | int, ...]]]:
        """Returns every layer before the output; raises ShapeError if the examples are no images, or too small."""
        self._check_images(shape)
        return [(layer, ("variant",)) for layer in self.layers_for(shape)]

    def _check_images(self, shape: Shape) -> None:
        if len(shape) != 3:
            raise ShapeError(f"`{self.kind}` needs images `(height, width, channels)`, but gets shape {shape}", ("kind",))
        least = self.least_side()
        if min(shape[:2]) < least:
            smaller = self.smaller_variant()
            remedy = f"; use `variant: {smaller}`, or larger images" if smaller else ""
            raise ShapeError(
                f"`{self.variant_name}` needs images of at least {least}x{least} pixels, but gets {shape[0]}x{shape[1]}{remedy}"
                f" (`data.image.size: [{least}, {least}]`)",
                ("variant",),
            )

    def in_words(self) -> str:
        """Returns what the model is."""
        return f"A convolutional network ({self.title}, variant {self.variant_name})"

    def faults_of_rows(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yields that rows of numbers are no images."""
        yield ("kind",), f"`{self.kind}` needs images, but the source gives rows of numbers; use `kind: mlp`"

    def against_overfitting(self) -> list[Change]:
        """Returns a penalty on weights, and fewer filters."""
        penalty = [("penalise large weights", "model.kernel_regularizer={kind: l2, l2: 1e-4}")]
        return [*(penalty if self.kernel_regularizer is None else []), ("fewer filters", f"model.alpha={self.alpha / 2:g}")]

    def against_underfitting(self, stages: int) -> list[Change]:
        """Returns more filters."""
        return [("more filters", f"model.alpha={self.alpha * 2:g}")]

    def width(self, filters: int) -> int:
        """Returns the number of filters after the width multiplier, an even one unless it is the paper's."""
        return filters if self.alpha == 1 else max(2, 2 * round(filters * self.alpha / 2))

    def convolution(
        self,
        filters: int,
        size: int,
        *,
        strides: int = 1,
        padding: Padding = "same",
        activation: Elementwise = "relu",
        groups: int = 1,
        use_bias: bool = True,
    ) -> Conv2D:
        """Returns a convolution with the initial weights and the penalty of the spec; `filters` are as they are given."""
        return Conv2D(
            kind="conv2d",
            filters=filters,
            kernel_size=(size, size),
            strides=(strides, strides),
            padding=padding,
            activation=activation,
            groups=groups,
            use_bias=use_bias,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.kernel_regularizer,
        )

    def hidden(self, units: Sequence[int], dropout: float, activation: Elementwise = "relu") -> Layers:
        """Returns dense layers, with dropout after each of them."""
        layers: Layers = []
        for count in units:
            layers.append(
                Dense(
                    kind="dense",
                    units=count,
                    activation=activation,
                    kernel_initializer=self.kernel_initializer,
                    kernel_regularizer=self.kernel_regularizer,
                )
            )
            layers += dropped(dropout)
        return layers


def dropped(rate: float) -> Layers:
    """Returns a dropout layer, or nothing for a rate of 0."""
    return [Dropout(kind="dropout", rate=rate)] if rate else []


def normalization(epsilon: float = 1e-5, momentum: float = 0.9) -> BatchNormalization:
    """Returns a batch normalization with the momentum of the papers: Keras's settles only after hundreds of steps."""
    return BatchNormalization(kind="batch_normalization", epsilon=epsilon, momentum=momentum)


def relu() -> ActivationLayer:
    """Returns the activation."""
    return ActivationLayer(kind="activation", activation="relu")


def max_pooling(size: int, strides: int = 2, padding: Padding = "valid") -> MaxPooling2D:
    """Returns a pooling of maxima."""
    return MaxPooling2D(kind="max_pooling2d", pool_size=(size, size), strides=(strides, strides), padding=padding)


def average_pooling(size: int, strides: int, padding: Padding = "valid") -> AveragePooling2D:
    """Returns a pooling of means."""
    return AveragePooling2D(kind="average_pooling2d", pool_size=(size, size), strides=(strides, strides), padding=padding)
