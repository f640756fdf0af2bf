"""LeNet-5 (LeCun et al. 1998, Gradient-based learning applied to document recognition)."""

from typing import ClassVar, Literal

from pydantic import Field

from dlcli.spec.base import Padding, Shape
from dlcli.spec.model.activations import Elementwise
from dlcli.spec.model.classics.base import Layers, PublishedNetwork, average_pooling, max_pooling
from dlcli.spec.model.layers.dense import GLOROT
from dlcli.spec.model.layers.shape import Flatten
from dlcli.spec.model.parameters import Initializer

_PAPER_SIDE = 32


class LeNet(PublishedNetwork):
    """LeNet-5 (LeCun et al. 1998): two convolutions with poolings and two dense layers, for digits of 28x28 or 32x32 pixels.

    `lenet5` has convolutions of 6 and 16 filters of 5x5, tanh and average pooling: 61,706 parameters with 10 classes. Unlike in
    1998, each filter of the second convolution sees all maps of the first, the poolings have no weights, and the output is that
    of the task. `course` has 8 filters of 3x3 and 16 of 5x5, relu and max pooling: 62,430 parameters. At the first convolution,
    `lenet5` pads images below 32 pixels and `course` all, so that 28x28 has the same sizes as the paper's 32x32.
    """

    title: ClassVar[str] = "LeNet-5"
    kind: Literal["lenet"]
    variant: Literal["lenet5", "course"] = Field(
        default="lenet5", description="`lenet5`: the layers of the paper; `course`: those of many courses."
    )
    kernel_initializer: Initializer = Field(default=GLOROT, description="Initial weights of convolutions and hidden layers.")

    def least_side(self) -> int:
        """Returns the side of MNIST's digits."""
        return 28

    def layers_for(self, shape: Shape) -> Layers:
        """Returns two convolutions, each with a pooling, and two dense layers."""
        is_paper = self.variant == "lenet5"
        activation: Elementwise = "tanh" if is_paper else "relu"
        pooling = average_pooling(2, 2) if is_paper else max_pooling(2)
        filters, size = (6, 5) if is_paper else (8, 3)
        # The course's first convolution keeps the size of any image.
        padding: Padding = "same" if min(shape[:2]) < _PAPER_SIDE or not is_paper else "valid"
        first = self.convolution(self.width(filters), size, padding=padding, activation=activation)
        second = self.convolution(self.width(16), 5, padding="valid", activation=activation)
        return [first, pooling, second, pooling, Flatten(kind="flatten"), *self.hidden([120, 84], 0.0, activation)]
