"""What every backbone can do: say which examples it wants, build itself with its own scaling, name its blocks, and say what
its saved models contain and where its weights come from."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dlcli.runtime.saved_layers import SavedLayers, declare
from dlcli.spec.base import Shape, Spec

if TYPE_CHECKING:
    from dlcli.runtime.tokens import OwnTokenizer

TARGET_UNITS = "target_units"
"""Name of the layer behind the output layer that converts a regression's scaled outputs to the targets' units."""


class BackboneSpec(Spec):
    """The part of a transfer model that brings weights of an earlier training: examples in, features out.

    All but `resolved`, `preprocess`, `build` and `blocks` work without TensorFlow. A kind is one class, which a member of the
    union or `OneOf.extend` makes known; nothing else names it.

    Example:
        >>> class ViT(BackboneSpec):
        ...     saved_layers = SavedLayers(("keras_hub>ViTBackbone",), "keras_hub", "a KerasHub backbone")
        ...     kind: Literal["vit"]
        ...     preset: str
        ...
        ...     def build(self, shape, *, load_weights=True, offline=False): ...
        ...     def blocks(self, backbone): ...
        ...     def licence(self): ...
    """

    kind: str

    has_blocks: ClassVar[bool] = True
    """Whether it says which blocks it is made of, so that a stage may train the last ones."""

    saved_layers: ClassVar[SavedLayers | None] = None
    """The layers outside Keras that its saved models contain, which plain Keras cannot load; they are declared here only."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Allows the layers of the kind in saved models."""
        super().__init_subclass__(**arguments)
        if cls.saved_layers is not None:
            declare(cls.saved_layers)

    @property
    def pretrained(self) -> bool:
        """Whether it brings weights of an earlier training."""
        return True

    @property
    def takes_images(self) -> bool | None:
        """Whether its examples are images, 0 to 255; None where its files must be fetched first."""
        return True

    @property
    def takes_texts(self) -> bool | None:
        """Whether its examples are texts, which its own `tokenizer` reads; None where its files must be fetched first."""
        return False

    def tokenizer(self) -> "OwnTokenizer | None":
        """Returns the tokenizer that its weights belong to; None where it takes no texts."""
        return None

    def check_texts(self, max_length: int) -> None:
        """Raises ShapeError if it cannot take texts of so many tokens."""

    def licence(self) -> str:
        """Returns a sentence on the origin of its weights and on their licence; empty where it brings none."""
        return f"The backbone ({self.kind}) has its own weights; dlcli does not know their licence." if self.pretrained else ""

    def example_shape(self) -> Shape | None:
        """Returns the shape that its examples should get; None where it takes any, or its files must be opened first."""
        return None

    def features(self, shape: Shape) -> Shape | None:
        """Returns the features' shape for examples of this shape; None where it must be built first.

        Raises:
            ShapeError: it cannot take the shape.
        """
        return None

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields what is wrong with its files and settings, as (field, message)."""
        yield from ()

    def resolved(self, *, offline: bool) -> Self:
        """Returns the backbone with every value filled in that is read from its files; repeating it changes nothing.

        Raises:
            DataError: its files are missing or cannot be read.
        """
        return self

    def preprocess(self, tensor: Any) -> Any:
        """Returns examples (images: 0 to 255) scaled as the backbone requires, by Keras layers in float32."""
        return tensor

    def build(self, shape: Shape, *, load_weights: bool = True, offline: bool = False) -> Any:
        """Returns the Keras layer or model from preprocessed examples `(batch, *shape)` to features.

        Args:
            shape: of one example, without the batch.
            load_weights: False leaves the weights random, where others will be put in their place.
            offline: whether nothing may be fetched.

        Raises:
            DataError: weights are missing, cannot be fetched or do not fit.
        """
        raise NotImplementedError

    def blocks(self, backbone: Any) -> list[tuple[str, list[Any]]]:
        """Returns the built backbone's layers in named blocks, from the input's end to the output's."""
        raise NotImplementedError


def blocks_of(layers: list[Any]) -> list[tuple[str, list[Any]]]:
    """Returns a block for every layer with weights and the layers without that follow; the first may start without."""
    blocks: list[list[Any]] = []
    for layer in layers:
        if not blocks or (layer.weights and any(member.weights for member in blocks[-1])):
            blocks.append([])
        blocks[-1].append(layer)
    return [(next((member for member in block if member.weights), block[0]).name, block) for block in blocks]
