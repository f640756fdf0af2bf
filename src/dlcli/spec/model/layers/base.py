"""What every layer can do: build itself, apply itself to a tensor, and tell its output's shape without Keras."""

from math import ceil
from typing import Any, ClassVar

from dlcli.spec.base import KerasSpec, Padding, Shape


class ShapeError(ValueError):
    """A layer cannot take the shape it is given. `place` leads from the layer to the one inside that cannot."""

    def __init__(self, message: str, place: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.place = place


class LayerSpec(KerasSpec):
    """A layer of a model.

    `rank` is the number of dimensions its input needs (1: a row of features, 2: a series, 3: an image, 4: a volume), 0: any.
    """

    rank: ClassVar[int] = 0
    has_weights: ClassVar[bool] = False
    takes_padding: ClassVar[bool] = False
    """Whether it takes padded sequences: it acts on each step alone, or overrides `apply_masked`."""

    def apply(self, tensor: Any) -> Any:
        """Returns the layer's output for a Keras tensor."""
        return self.build()(tensor)

    def fault_of_padding(self) -> str:
        """Returns the kind of the layer that cannot take padded sequences; empty if it can."""
        return "" if self.takes_padding else str(getattr(self, "kind"))  # noqa: B009  (every kind has it, the base has not)

    def needs_one_length(self) -> bool:
        """Whether its weights, or those after it, depend on the number of steps, so that it cannot take shorter batches."""
        return False

    def apply_masked(self, tensor: Any, mask: Any) -> tuple[Any, Any]:
        """Returns the layer's output for padded sequences, and the mask of the output; None for an output without steps.

        The output for an example does not depend on its padding. Only for layers with `takes_padding`.

        Args:
            tensor: the Keras tensor `(batch, steps, channels)`.
            mask: the Keras tensor `(batch, steps)`, False for padding, which is at the end.
        """
        return self.apply(tensor), mask

    def output_shape(self, shape: Shape) -> Shape:
        """Returns the shape of one output example.

        Raises:
            ShapeError: the layer cannot take `shape`.
        """
        self.check_rank(shape)
        return self.transformed(shape)

    def transformed(self, shape: Shape) -> Shape:
        """Returns the output's shape for an input whose rank is right; the same shape unless overridden."""
        return shape

    def multiply_adds(self, shape: Shape) -> int | None:
        """Returns the most multiply-adds with the layer's weights that an example of this shape takes; None if it is unknown.

        It is 0 for a layer without weights, and unknown for one with weights that does not override this method.

        Raises:
            ShapeError: the layer cannot take `shape`.
        """
        return None if self.has_weights else 0

    def check_rank(self, shape: Shape) -> None:
        """Raises ShapeError if the input has the wrong number of dimensions, with the layer that fixes it."""
        if self.rank and len(shape) != self.rank:
            raise ShapeError(f"needs {words_of_rank(self.rank)}, but gets shape {shape}{_remedy(self.rank, len(shape))}")

    def steps_gradient(self) -> bool:
        """Tells whether the layer's activation has no gradient (binary step)."""
        return getattr(self, "activation", None) == "binary_step"


_RANKS = {
    1: "a row of features `(features,)`",
    2: "a series `(steps, channels)`",
    3: "an image `(height, width, channels)`",
    4: "a volume `(depth, height, width, channels)`",
}
_SIDES = {2: "two-dimensional", 3: "three-dimensional"}


def words_of_rank(rank: int) -> str:
    """Returns what an example of so many dimensions is."""
    return _RANKS.get(rank, f"an example of {rank} dimensions")


def _remedy(needed: int, rank: int) -> str:
    """Returns what makes an example of `rank` dimensions fit a layer that needs others; empty where nothing does."""
    if needed == 1:
        pooling = f" or `global_average_pooling{rank - 1}d`" if rank in _RANKS else ""
        return f"; put `flatten`{pooling} before it"
    if rank == 1:
        return "; put a `reshape` before it" + (", or move it before the `flatten`" if needed > 2 else "")
    sides = rank - 1
    return f"; the {_SIDES[sides]} kind is `conv{sides}d` or `...pooling{sides}d`" if needed < rank and sides in _SIDES else ""


def check_axis(axis: int, shape: Shape) -> None:
    """Raises ShapeError if `axis`, counted with the batch as 0, is not one of an example's."""
    if axis == 0 or not -len(shape) <= axis <= len(shape):
        raise ShapeError(f"`axis: {axis}` is not an axis of shape {shape}; axes are numbered from 1, or from the end as -1")


def slid(length: int, window: int, stride: int, padding: Padding, dilation: int = 1) -> int:
    """Returns the output length of a window slid over an axis (Keras's `compute_conv_output_shape`).

    Raises:
        ShapeError: the window does not fit.
    """
    if padding == "same":
        return ceil(length / stride)
    reach = dilation * (window - 1) + 1
    if reach > length:
        raise ShapeError(
            f"its window of {reach} is larger than the remaining size {length} of an axis; "
            "use `padding: same`, a smaller window, or fewer pooling layers before it"
        )
    return (length - reach) // stride + 1
