"""The model kinds: the layers of each, whose output layer is added from the task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from dlcli.runtime.saved_layers import SavedLayers
from dlcli.spec.base import Count, Fraction, OneOf, Shape, Spec
from dlcli.spec.model.activations import Activation
from dlcli.spec.model.backbones import Backbone
from dlcli.spec.model.base import Change, ModelSpec, chain_or_none, stack_shape
from dlcli.spec.model.heads import Classifier, ClassifierSpec
from dlcli.spec.model.layers import Layer, LayerSpec, ShapeError
from dlcli.spec.model.layers.convolution import Conv2D
from dlcli.spec.model.layers.dense import GLOROT, ActivationLayer, Dense
from dlcli.spec.model.layers.pooling import GlobalAveragePooling1D, GlobalAveragePooling2D, GlobalAveragePooling3D, MaxPooling2D
from dlcli.spec.model.layers.regular import BatchNormalization, Dropout
from dlcli.spec.model.layers.shape import Flatten
from dlcli.spec.model.parameters import Initializer, Regularizer
from dlcli.spec.model.pretraining import RbmPretraining
from dlcli.spec.model.sequence import SequenceModel

if TYPE_CHECKING:
    from dlcli.runtime.tokens import TokenSettings
    from dlcli.spec.data.text import TextSettings


class Mlp(ModelSpec):
    """A stack of dense layers; images and series are flattened first. Without `units`, it is a single linear layer."""

    kind: Literal["mlp"]
    units: list[Count] = Field(default=[], description="Units of each hidden layer: [300, 100].")
    activation: Activation = Field(default="relu", description="Activation of the hidden layers.")
    dropout: Fraction = Field(default=0.0, description="Dropout after every hidden layer.")
    batch_normalization: bool = Field(
        default=False, description="Whether each hidden layer is normalised before its activation."
    )
    kernel_regularizer: Regularizer | None = Field(default=None, description="Penalty on the hidden layers' weights.")
    kernel_initializer: Initializer = Field(default=GLOROT, description="Initial weights of the hidden layers.")
    pretraining: RbmPretraining | None = Field(
        default=None,
        description="Training of the hidden layers without labels before the first epoch, in place of `kernel_initializer`. It"
        " needs `activation: sigmoid`, and inputs from 0 to 1 (`data.normalize: unit`, its default then).",
    )

    @property
    def normalize(self) -> str:
        """The scaling of inputs that pretraining needs."""
        return "unit" if self.pretraining is not None else ""

    @property
    def layer_pretraining(self) -> RbmPretraining | None:
        """The field `pretraining`."""
        return self.pretraining

    def faults(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yields what a restricted Boltzmann machine cannot be."""
        if self.pretraining is None:
            return
        if not self.units:
            yield ("pretraining",), "there is no hidden layer to pretrain; set `model.units`"
        if self.activation != "sigmoid":
            yield ("activation",), f"the hidden units of an RBM are sigmoid (`model.pretraining`), found {self.activation}"
        if self.batch_normalization:
            yield ("batch_normalization",), "an RBM has no batch normalization (`model.pretraining`); remove this field"

    def stack(self, shape: Shape) -> list[tuple[LayerSpec, tuple[str | int, ...]]]:
        """Returns flatten where needed, then dense, normalisation, activation and dropout for each entry of `units`."""
        layers: list[tuple[LayerSpec, tuple[str | int, ...]]] = []
        if len(shape) > 1:
            layers.append((Flatten(kind="flatten"), ()))
        for index, units in enumerate(self.units):
            layers += [(layer, ("units", index)) for layer in self._hidden(units)]
        return layers

    def in_words(self) -> str:
        """Returns what the model is."""
        return "A multilayer perceptron" if self.pretraining is None else "A deep belief network"

    @property
    def normalizes_batches(self) -> bool:
        """Whether each hidden layer is normalised."""
        return self.batch_normalization

    def against_overfitting(self) -> list[Change]:
        """Returns dropout and a penalty on weights; without hidden layers nothing."""
        dropout = [("add dropout", "model.dropout=0.6")] if self.dropout < 0.5 else []
        penalty = [("penalise large weights", "model.kernel_regularizer={kind: l2, l2: 1e-2}")]
        return [*dropout, *(penalty if self.kernel_regularizer is None else [])] if self.units else []

    def against_underfitting(self, stages: int) -> list[Change]:
        """Returns more units, and less regularisation."""
        changes = [("a larger model", f"model.units={[max(32, 4 * units) for units in self.units] + [32]}")]
        if self.dropout:
            changes.append(("no dropout", "model.dropout=0"))
        if self.kernel_regularizer is not None:
            changes.append(("no penalty on weights", "model.kernel_regularizer=null"))
        return changes

    def _hidden(self, units: int) -> list[LayerSpec]:
        dense = Dense(
            kind="dense",
            units=units,
            activation="linear" if self.batch_normalization else self.activation,
            kernel_regularizer=self.kernel_regularizer,
            kernel_initializer=self.kernel_initializer,
        )
        layers: list[LayerSpec] = [dense]
        if self.batch_normalization:
            layers.append(BatchNormalization(kind="batch_normalization"))
            layers.append(ActivationLayer(kind="activation", activation=self.activation))
        if self.dropout:
            layers.append(Dropout(kind="dropout", rate=self.dropout))
        return layers


class Blocks(Spec):
    """The usual body of a CNN: each block has convolutions and a pooling layer, with a growing number of filters."""

    filters: list[Count] = Field(description="Filters of each block: [32, 64, 128].", min_length=1)
    convolutions: Count = Field(default=2, description="Convolutions in each block.")
    kernel_size: Count = Field(default=3, description="Size of the windows.")
    activation: Activation = Field(default="relu", description="Activation of the convolutions.")
    batch_normalization: bool = Field(
        default=False, description="Whether each convolution is normalised before its activation."
    )
    dropout: Fraction = Field(default=0.0, description="Dropout after each block.")
    kernel_regularizer: Regularizer | None = Field(default=None, description="Penalty on the weights.")

    def layers(self) -> list[list[LayerSpec]]:
        """Returns the layers of each block."""
        return [self._block(filters) for filters in self.filters]

    def _block(self, filters: int) -> list[LayerSpec]:
        block = [layer for _ in range(self.convolutions) for layer in self._convolution(filters)]
        block.append(MaxPooling2D(kind="max_pooling2d"))
        if self.dropout:
            block.append(Dropout(kind="dropout", rate=self.dropout))
        return block

    def _convolution(self, filters: int) -> list[LayerSpec]:
        convolution = Conv2D(
            kind="conv2d",
            filters=filters,
            kernel_size=(self.kernel_size, self.kernel_size),
            padding="same",
            activation="linear" if self.batch_normalization else self.activation,
            kernel_regularizer=self.kernel_regularizer,
        )
        if not self.batch_normalization:
            return [convolution]
        return [
            convolution,
            BatchNormalization(kind="batch_normalization"),
            ActivationLayer(kind="activation", activation=self.activation),
        ]


class Cnn(ModelSpec):
    """A list of layers, optionally after `blocks`. Feature maps are flattened before the output layer if necessary."""

    kind: Literal["cnn"]
    blocks: Blocks | None = Field(default=None, description="Convolution blocks before `layers`.")
    layers: list[Layer] = Field(default=[], description="The layers, without the output layer.")

    def stack(self, shape: Shape) -> list[tuple[LayerSpec, tuple[str | int, ...]]]:
        """Returns the blocks' layers, the listed ones, and a flatten where the end is not a row of features."""
        blocks = self.blocks.layers() if self.blocks else []
        stack: list[tuple[LayerSpec, tuple[str | int, ...]]] = [
            (layer, ("blocks", "filters", index)) for index, block in enumerate(blocks) for layer in block
        ]
        stack += [(layer, ("layers", index)) for index, layer in enumerate(self.layers)]
        end = chain_or_none([layer for layer, _ in stack], shape)
        if end is not None and len(end) > 1:
            stack.append((Flatten(kind="flatten"), ()))
        return stack

    def in_words(self) -> str:
        """Returns what the model is."""
        return "A convolutional network"

    @property
    def listed_layers(self) -> Sequence[LayerSpec]:
        """The layers of `layers`."""
        return self.layers

    def faults_of_rows(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yields the convolutions and poolings before any `reshape`."""
        if self.blocks:
            yield ("blocks",), "convolutions need images, but the source gives rows of numbers; use `kind: mlp`"
        for index, layer in enumerate(self.layers):
            if layer.kind == "reshape":
                return
            if layer.rank > 1:
                message = f"`{layer.kind}` needs an image or a series, but the source gives rows of numbers; use `dense`"
                yield ("layers", index), message

    def against_overfitting(self) -> list[Change]:
        """Returns dropout before the output."""
        return [("add dropout before the output", "model.layers+={kind: dropout, rate: 0.5}")]

    def against_underfitting(self, stages: int) -> list[Change]:
        """Returns more filters, or one more layer."""
        if self.blocks:
            return [("more filters", f"model.blocks.filters={[2 * filters for filters in self.blocks.filters]}")]
        return [("one more hidden layer", "model.layers+={kind: dense, units: 64, activation: relu}")]


def _row_of(rank: int) -> LayerSpec:
    """Returns the layer that makes a row of features of an example of so many dimensions."""
    if rank == 2:
        return GlobalAveragePooling1D(kind="global_average_pooling1d")
    if rank == 3:
        return GlobalAveragePooling2D(kind="global_average_pooling2d")
    return GlobalAveragePooling3D(kind="global_average_pooling3d") if rank == 4 else Flatten(kind="flatten")


class Transfer(ModelSpec):
    """A pretrained backbone, and a head on its features: layers or a scikit-learn classifier."""

    has_backbone: ClassVar[bool] = True
    kind: Literal["transfer"]
    backbone: Backbone = Field(
        description="Pretrained network that turns images or texts into features, e.g. `backbone: {kind: mobilenet_v2}`."
    )
    head: Annotated[list[Layer] | Classifier, OneOf("Head", items="Layer")] = Field(
        default=[],
        description="Layers between the features and the output layer, or a scikit-learn classifier in place of both.",
    )

    @property
    def classifier(self) -> ClassifierSpec | None:
        """The scikit-learn classifier that is the head, if it is one."""
        return self.head if isinstance(self.head, ClassifierSpec) else None

    @property
    def fitted_once(self) -> str:
        """The kind of the classifier, if the head is one."""
        return str(self.classifier.kind) if self.classifier is not None else ""

    @property
    def pretrained(self) -> bool:
        """Whether the backbone brings weights of an earlier training."""
        return self.backbone.pretrained

    @property
    def takes_images(self) -> bool | None:
        """Whether the backbone takes images."""
        return self.backbone.takes_images

    @property
    def reads_texts(self) -> bool:
        """Whether the backbone takes texts, or may do so once it is fetched."""
        return self.backbone.takes_texts is not False

    @property
    def needs_texts(self) -> bool:
        """Whether the backbone takes texts only."""
        return self.backbone.takes_texts is True

    @property
    def has_blocks(self) -> bool:
        """Whether the backbone says which blocks it is made of."""
        return self.backbone.has_blocks

    @property
    def saved_layers(self) -> SavedLayers | None:
        """The layers outside Keras that the backbone consists of."""
        return self.backbone.saved_layers

    def in_words(self) -> str:
        """Returns what the model is, and its backbone."""
        return f"A fine-tuned network on a {'former run' if self.backbone.kind == 'run' else self.backbone.kind} backbone"

    def example_shape(self) -> Shape | None:
        """Returns the shape that the backbone's examples should get."""
        return self.backbone.example_shape()

    def licence(self) -> str:
        """Returns the sentence on the backbone's weights."""
        return self.backbone.licence()

    def faults(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yields what is wrong with the backbone's files and settings."""
        for field, message in self.backbone.faults():
            yield ("backbone", field), message

    def faults_of_rows(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yields a backbone for texts, which needs a column of texts."""
        if self.needs_texts:
            yield ("backbone",), "takes texts, but the source names no column of texts (`data.source.text`)"

    def token_settings(
        self, text: "TextSettings", vocabularies: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    ) -> "TokenSettings":
        """Returns how texts become tokens: by the backbone's own tokenizer, if it has one."""
        return replace(text.token_settings(vocabularies), own=self.backbone.tokenizer())

    def check_texts(self, max_length: int) -> None:
        """Raises ShapeError if the backbone cannot take texts of so many tokens."""
        try:
            self.backbone.check_texts(max_length)
        except ShapeError as error:
            raise ShapeError(str(error), ("backbone", *error.place)) from None

    def resolved(self, *, offline: bool) -> Self:
        """Returns the model with a resolved backbone."""
        return self.model_copy(update={"backbone": self.backbone.resolved(offline=offline)})

    def against_overfitting(self) -> list[Change]:
        """Returns dropout in a head of layers."""
        return [] if self.classifier else [("add dropout on the features", "model.head+={kind: dropout, rate: 0.3}")]

    def against_underfitting(self, stages: int) -> list[Change]:
        """Returns a larger head of layers, and a stage that trains the end of the backbone."""
        head = [] if self.classifier else [("a larger head", "model.head+={kind: dense, units: 128, activation: relu}")]
        stage = "{name: more, train: {last: 20}, epochs: 10, optimizer: {kind: adam, learning_rate: 1e-5}}"
        return head + ([("train the end of the backbone too", f"training.stages+={stage}")] if stages else [])

    def stack(self, shape: Shape) -> list[tuple[LayerSpec, tuple[str | int, ...]]]:
        """Returns the head's layers for features of this shape, with what makes a row of them at the end where needed."""
        layers = [] if isinstance(self.head, ClassifierSpec) else self.head
        stack: list[tuple[LayerSpec, tuple[str | int, ...]]] = [(layer, ("head", index)) for index, layer in enumerate(layers)]
        end = chain_or_none([layer for layer, _ in stack], shape)
        if end is not None and len(end) > 1:
            stack.append((_row_of(len(end)), ()))
        return stack

    def output_shape(self, shape: Shape) -> Shape:
        """Returns the shape before the output layer; an empty one where the backbone must be built first."""
        try:
            features = self.backbone.features(shape)
        except ShapeError as error:
            raise ShapeError(str(error), ("backbone", *error.place)) from None
        return () if features is None else stack_shape(self.stack(features), features)


_CLASSICS = "dlcli.spec.model.classics"
_PLACES = {
    "mlp": f"{__name__}:Mlp",
    "cnn": f"{__name__}:Cnn",
    "lenet": f"{_CLASSICS}.lenet:LeNet",
    "alexnet": f"{_CLASSICS}.alexnet:AlexNet",
    "zfnet": f"{_CLASSICS}.alexnet:ZFNet",
    "vgg": f"{_CLASSICS}.vgg:Vgg",
    "googlenet": f"{_CLASSICS}.googlenet:GoogLeNet",
    "resnet": f"{_CLASSICS}.resnet:ResNet",
    "densenet": f"{_CLASSICS}.densenet:DenseNet",
    "sequence": f"{SequenceModel.__module__}:SequenceModel",  # imported, since it holds a union
    "transfer": f"{__name__}:Transfer",
    "ensemble": "dlcli.spec.model.ensemble:Ensemble",
}
"""Each kind's module and class, in the order of the reference. A check of a spec imports the one that it uses."""
Model = Annotated[ModelSpec, OneOf("Model", places=_PLACES)]
