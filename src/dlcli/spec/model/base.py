"""What the rest of dlcli asks a model kind, with the answers of a plain network."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dlcli.runtime.saved_layers import SavedLayers
from dlcli.spec.base import Shape, Spec
from dlcli.spec.model.heads import ClassifierSpec
from dlcli.spec.model.layers import LayerSpec, ShapeError
from dlcli.spec.model.layers.composite import chain, chain_multiply_adds, chain_shape
from dlcli.spec.model.pretraining import RbmPretraining
from dlcli.spec.support import Feature

if TYPE_CHECKING:
    from dlcli.runtime.columns import EncodedColumns
    from dlcli.runtime.tokens import TokenSettings
    from dlcli.spec.data.text import TextSettings

_ONE_OPTIMIZER: frozenset[Feature] = frozenset(("lr-find", "use_ema", "reduce_lr_on_plateau"))
"""The features that change the only optimizer of a model."""
Change = tuple[str, str]
"""What to try, as text, and the `--set` that does it."""


class ModelSpec(Spec):
    """A model kind: its layers, and what the rest of dlcli needs to know about it. The task adds the output layer.

    Every question has the answer of a plain network, so that a kind overrides only what it does otherwise. A kind that is
    trained by another method overrides `learner`, one whose runs save another model than the plain one overrides `saved`.
    """

    kind: str
    has_backbone: ClassVar[bool] = False
    """Whether it has a field `backbone`, a `BackboneSpec`, which says how examples are scaled and what size images get."""
    unsupported: ClassVar[Mapping[Feature, str]] = {}
    """The features that it does not support, each with the reason."""
    optimizers: ClassVar[tuple[str, ...]] = ("",)
    """The names of its learner's optimizers, that of the spec first; a single one has no name."""
    monitor: ClassVar[str] = ""
    """Column of the history that decides which epoch is best unless the spec names one; empty: that of the task, or the last
    epoch of a kind without validation."""
    has_own_step: ClassVar[bool] = False
    """Whether its learner overrides Keras's training step, so that several devices cannot share a batch."""
    uses_compiled_loss: ClassVar[bool] = False
    """Whether its own training step minimises the loss that its learner was compiled with, which may weight classes."""
    reads_padding: ClassVar[bool] = False
    """Whether its examples may be series of different lengths (`apply_padded`), or its members take them."""
    is_trained: ClassVar[bool] = True
    """Whether it is trained; otherwise it is built from trained models, and `training.epochs` must be 0."""
    columns: ClassVar[tuple[str, ...]] = ()
    """Columns of the history, besides `loss`, that its learner adds; a lower value is better."""

    @property
    def normalize(self) -> str:
        """The only value of `data.normalize` that it takes; empty where it takes several."""
        return "backbone" if self.has_backbone else ""

    @property
    def layer_pretraining(self) -> RbmPretraining | None:
        """How its dense layers are trained one by one before the first epoch; None if they are not."""
        return None

    @property
    def pretrained(self) -> bool:
        """Whether it brings weights of an earlier training."""
        return False

    @property
    def members(self) -> tuple[str, ...]:
        """The folders of the runs whose outputs it averages; empty for a kind that has its own layers."""
        return ()

    @property
    def classifier(self) -> ClassifierSpec | None:
        """The scikit-learn classifier that is the head, if it is one."""
        return None

    @property
    def fitted_once(self) -> str:
        """The kind of the head that is fitted once, not in epochs; empty if the model learns in epochs."""
        return ""

    @property
    def reads_texts(self) -> bool:
        """Whether its examples may have columns of texts: it reads them as tokens, or its members do."""
        return False

    @property
    def needs_texts(self) -> bool:
        """Whether its examples must be texts of one column, which its own tokenizer reads."""
        return False

    @property
    def takes_images(self) -> bool | None:
        """Whether its examples must be images, 0 to 255, or must not be; None where it takes both."""
        return None

    @property
    def has_blocks(self) -> bool:
        """Whether a stage may train its last blocks."""
        return True

    @property
    def saved_layers(self) -> SavedLayers | None:
        """The layers outside Keras that its saved models contain, which plain Keras cannot load."""
        return None

    @property
    def listed_layers(self) -> Sequence[LayerSpec]:
        """The layers that a spec lists one by one in `layers`."""
        return ()

    @property
    def normalizes_batches(self) -> bool:
        """Whether a setting of it enables batch statistics."""
        return False

    def reason_against(self, feature: Feature) -> str:
        """Returns why it does not support a feature; empty if it does."""
        if feature in self.unsupported:
            return self.unsupported[feature]
        if feature == "baseline":
            return self.reason_against("evaluate")
        if feature == "several devices" and self.has_own_step:
            return "it overrides Keras's training step, so several devices cannot share a batch"
        if feature == "class weights" and self.has_own_step and not self.uses_compiled_loss:
            return "it overrides Keras's training step and does not declare `uses_compiled_loss`"
        if feature in _ONE_OPTIMIZER and len(self.optimizers) > 1:
            return f"it has {len(self.optimizers)} optimizers ({', '.join(self.optimizers)})"
        return ""

    def example_shape(self) -> Shape | None:
        """Returns the shape that its examples should get; None where it takes any, or its files must be opened first."""
        return None

    def licence(self) -> str:
        """Returns a sentence on the origin of its first weights and on their licence; empty where they are random."""
        return ""

    def faults(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yields what is wrong with its files and settings, as (place below `model`, message)."""
        yield from ()

    def in_words(self) -> str:
        """Returns what the model is, as the beginning of a sentence."""
        return f"A {self.kind.replace('_', ' ')} model"

    def purpose(self, action: str, inputs: str) -> str:
        """Returns what the model does, as a sentence.

        Args:
            action: what models of the task do, such as "tells 3 classes apart".
            inputs: the examples, such as "4 columns".
        """
        return f"{self.in_words()} that {action}, from {inputs}."

    def faults_of_rows(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yields what cannot take rows of numbers, however many they are, as (place below `model`, message)."""
        yield from ()

    def resolved(self, *, offline: bool) -> Self:
        """Returns the model with every value filled in that is read from its files; itself if there is none.

        Raises:
            DataError: its files are missing or cannot be read.
        """
        return self

    def against_overfitting(self) -> list[Change]:
        """Returns changes that keep it from fitting its examples too closely."""
        return []

    def against_underfitting(self, stages: int) -> list[Change]:
        """Returns changes that let it learn more; `stages` is the number of training stages."""
        return []

    def learner(self, network: Any) -> Any:
        """Returns the Keras model that is compiled and trained: the plain one unless overridden.

        Another one takes what `network.functional` takes, gives the same output, and shares its layers, which are also
        in `network.body` and `network.head`. It may have a `train_step` and several optimizers (`runtime.learner.Learner`).

        Args:
            network: the `models.network.Network` that is being built.
        """
        return network.functional

    def saved(self, network: Any) -> Any:
        """Returns the Keras model that a run saves: the plain one, from raw examples to the output, unless overridden.

        Another one takes and returns what it likes, shares its layers with the learner, and is not compiled. `unsupported`
        then names the features that need predictions for examples.

        Args:
            network: the `models.network.Network` that is being built, with its learner.
        """
        return network.whole

    def stack(self, shape: Shape) -> list[tuple[LayerSpec, tuple[str | int, ...]]]:
        """Returns every layer before the output, with its place below `model`, for examples of this shape."""
        raise NotImplementedError

    def lines_of_vocabulary(self, vocabulary: Sequence[str]) -> list[str]:
        """Returns lines for the log on the vectors of a vocabulary, whose tokens are in the order of their numbers."""
        return []

    def batch_lengths(self, max_length: int) -> list[int]:
        """Returns the numbers of tokens that batches of texts may be padded to, up to `max_length`, ascending."""
        return [max_length]

    def token_settings(
        self, text: "TextSettings", vocabularies: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    ) -> "TokenSettings":
        """Returns how texts become tokens: as the spec says, with the tokens of each input of texts by their numbers."""
        return text.token_settings(vocabularies)

    def check_texts(self, max_length: int) -> None:
        """Raises ShapeError if a layer cannot take texts of so many tokens."""

    def output_shape(self, shape: Shape) -> Shape:
        """Returns the shape before the output layer; a ShapeError names the layer that cannot be built."""
        return stack_shape(self.stack(shape), shape)

    def multiply_adds(self, shape: Shape) -> int | None:
        """Returns the multiply-adds of the layers before the output layer for one example; None if they are unknown.

        They are unknown for a backbone, and for a model with its own training step.

        Raises:
            ShapeError: a layer cannot take its input.
        """
        if self.has_backbone or self.has_own_step or self.fitted_once:
            return None
        return chain_multiply_adds([layer for layer, _ in self.stack(shape)], shape)

    def of_columns(self, columns: "EncodedColumns", rows: Any, *, load_weights: bool = True) -> Any:
        """Returns the output of the layers before the output layer for encoded rows of a table `(batch, features)`."""
        return self.apply(columns.trained(rows))

    def apply(self, tensor: Any) -> Any:
        """Returns the output of the layers before the output layer for a Keras tensor of one batch."""
        return chain([layer for layer, _ in self.stack(tuple(tensor.shape[1:]))], tensor)

    def apply_padded(self, tensor: Any) -> Any:
        """Returns the same for series `(batch, steps, channels)` whose steps after the end are NaN, if it `reads_padding`."""
        raise NotImplementedError


def stack_shape(stack: list[tuple[LayerSpec, tuple[str | int, ...]]], shape: Shape) -> Shape:
    """Returns the shape after a stack of layers; a ShapeError has the place of the layer that cannot be built."""
    for layer, place in stack:
        try:
            shape = chain_shape([layer], shape, ())
        except ShapeError as error:
            raise ShapeError(str(error), (*place, *error.place[1:])) from None
    return shape


def chain_or_none(layers: list[LayerSpec], shape: Shape) -> Shape | None:
    """Returns the shape after the layers, or None where one of them cannot be built."""
    try:
        return chain_shape(layers, shape, ())
    except ShapeError:
        return None
