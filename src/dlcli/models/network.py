"""Builds the Keras model of an experiment: preprocessing, the spec's layers, the task's output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ARRAY_ENTRY, IMAGE_ENTRY, entry_name
from dlcli.data.memory_limit import fits_in_memory
from dlcli.data.splits import Splits
from dlcli.data.texts import vocabularies_of
from dlcli.errors import RunFailed
from dlcli.models.ensemble import combined_model, read_members
from dlcli.models.targets import TargetScale, target_scale
from dlcli.models.window_scaling import scaled_windows, scales_windows, window_normalization
from dlcli.runs.folder import REVISION
from dlcli.runtime.column_kinds import Encoding, Normalize
from dlcli.runtime.encoded_rows import EncodedRows
from dlcli.runtime.engine import keras
from dlcli.runtime.inputs import Arrays, Inputs
from dlcli.runtime.layers import single_layers
from dlcli.runtime.length_draw import TextPlace
from dlcli.runtime.stream import ordered_batches
from dlcli.runtime.token_rows import TokenRows, token_dtype
from dlcli.runtime.windows import Windows
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.backbones.base import TARGET_UNITS, blocks_of
from dlcli.spec.model.base import ModelSpec, stack_shape
from dlcli.spec.model.layers import ShapeError
from dlcli.spec.model.models import Transfer
from dlcli.spec.training.stages import Stage

if TYPE_CHECKING:
    from dlcli.runtime.columns import EncodedColumns

Blocks = list[tuple[str, list[Any]]]
_ROWS_AT_ONCE = 16_384
"""Rows with texts that are encoded at once."""


class Network:
    """A model as named submodels that share their weights.

    A model kind may train another Keras model than the plain one (`ModelSpec.learner`), and save another one
    (`ModelSpec.saved`): only the learner is compiled, and only `whole` is saved.

    Attributes:
        model: the spec of the model.
        functional: the Keras model from the batches of the stream to the output.
        whole: the Keras model that a run saves: from raw images, rows or columns to the output, unless the model kind saves
            another one. It is never compiled.
        features: the Keras tensor in `functional` that the head takes.
        encode: the Keras model from raw columns to rows for `functional`; None where inputs are arrays.
        backbone: the layer or model from scaled examples to features; None where the model has none.
        texts: where the rows that `encode` returns have tokens of texts; None where they have none.
        tokens_dtype: the type that holds these rows if they have nothing but tokens; None where float32 does.
        fixed: the ids of the layers that no stage trains, such as vectors of words with `trainable: false`.
    """

    def __init__(
        self,
        model: ModelSpec,
        functional: Any,
        whole: Any,
        features: Any,
        *,
        encode: Any = None,
        backbone: Any = None,
        body: Any = None,
        head: Any = None,
        texts: TextPlace | None = None,
        tokens_dtype: str | None = None,
    ) -> None:
        self.model, self.functional, self.whole, self.features = model, functional, whole, features
        self.encode, self.backbone, self.texts, self.tokens_dtype = encode, backbone, texts, tokens_dtype
        self._body, self._head = body, head
        # Built with the other submodels, so that its initial weights are drawn from the seed in the same order in every run.
        self._learner = model.learner(self)
        self.whole = model.saved(self)
        self._saves_plain = self.whole is whole
        # Stages change the flag of every layer, so it is recorded which layers the spec never trains. Those of a backbone have
        # the flags of their file, which decide nothing.
        layers = [] if backbone is not None else single_layers(self._learner)
        self.fixed = frozenset(id(layer) for layer in layers if not layer.trainable)

    def learner(self) -> Any:
        """Returns the Keras model that is compiled and trained, from the batches of the stream to the output."""
        return self._learner

    @property
    def described(self) -> Any:
        """The Keras model whose layers `describe` lists: `functional`, or `whole` if the model kind saves another model."""
        return self.functional if self._saves_plain else self.whole

    @property
    def body(self) -> Any:
        """The Keras model from the batches of the stream to `features`."""
        if self._body is None:
            self._body = keras.Model(self.functional.input, self.features)
        return self._body

    @property
    def head(self) -> Any:
        """The Keras model from `features` to the output; None for a classifier that is not fitted yet."""
        if self._head is None and not self.model.fitted_once:
            self._head = keras.Model(self.features, self.functional.output, name="head")
        return self._head

    def encoded(self, inputs: Inputs) -> Inputs:
        """Returns inputs in the form that `functional` takes.

        Rows are encoded once, or batch by batch if all of them do not fit into memory or stay on the disk; the features have
        the same bits.
        """
        if self.encode is None:
            return inputs
        self.encode.jit_compile = False  # XLA does not support strings
        if inputs.on_disk or not fits_in_memory(4 * len(inputs) * int(self.encode.output_shape[-1])):
            return EncodedRows(inputs, self.encode)
        if inputs.text_columns:
            return (TokenRows if self.tokens_dtype else Arrays)(self._encoded_in_blocks(inputs))
        return Arrays(self.encode.predict(ordered_batches(inputs, examples=len(inputs), batch_size=1024), verbose=0))

    def _encoded_in_blocks(self, inputs: Inputs) -> Array:
        """Returns the encoded rows of a table with texts: those of a block alone are tensors, not all texts at once."""
        rows = np.empty((len(inputs), int(self.encode.output_shape[-1])), self.tokens_dtype or "float32")
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            places = np.arange(start, min(start + _ROWS_AT_ONCE, len(rows)))
            rows[start : places[-1] + 1] = self.encode(inputs.read(places), training=False)
        return rows

    def trains_head_alone(self, stage: Stage) -> bool:
        """Whether a stage freezes the whole backbone, so that its features may be computed once.

        False if the model kind has its own training step, which takes the whole model.
        """
        return self.backbone is not None and not stage.trains_backbone and self._learner is self.functional

    def head_learner(self) -> Any:
        """Returns the model that trains the head on cached features."""
        return keras.Model(self.head.input, self.head.output)

    def frozen_body_learner(self) -> Any:
        """Returns the model that trains the head on a frozen body."""
        entry = keras.Input(self.body.input_shape[1:], dtype=self.body.inputs[0].dtype)
        return keras.Model(entry, self.head(Inference(self.body)(entry)))

    def outside_head(self, variables: Iterable[Any]) -> list[Any]:
        """Returns the variables of the body, which may have its own learning rate."""
        of_head = {id(weight) for weight in self.head.weights} if self.backbone is not None else set()
        return [variable for variable in variables if id(variable) not in of_head]

    def blocks(self) -> tuple[Blocks, list[Any]]:
        """Returns the blocks of the body, starting at the input, and the layers of the head.

        The body is the backbone; for a model without one, all layers except the output.
        """
        if self.backbone is not None:
            of_backbone = cast("Transfer", self.model).backbone.blocks(self.backbone)
            return of_backbone, [] if self.head is None else single_layers(self.head)
        layers = [layer for layer in single_layers(self.learner()) if layer.name not in ("normalize", TARGET_UNITS)]
        body = blocks_of([layer for layer in layers if layer.name != "output"])
        return body, [layer for layer in layers if layer.name == "output"]


def build_model(
    experiment: Experiment, splits: Splits, *, load_weights: bool = True, offline: bool = False, revision: int = REVISION
) -> Network:
    """Returns the model for the data, with its scaling fitted on the training split only.

    `load_weights=False` leaves the weights of a backbone and the vectors of a file random, for a caller that replaces them.
    `revision` is the run's.
    """
    if experiment.model.members:
        return build_ensemble(experiment, splits, offline=offline)
    inputs = splits.train.inputs
    scale = target_scale(experiment, splits)
    if experiment.model.has_backbone:
        columns = _text_columns(experiment, splits) if inputs.columns else None
        shape = (splits.shape or ()) if columns is None else tuple(columns.features.shape[1:])
        return build_transfer(
            experiment, shape, splits.outputs, scale, columns=columns, load_weights=load_weights, offline=offline
        )
    if inputs.columns:
        return _build_for_columns(experiment, splits, scale, revision, load_weights=load_weights)
    entry = keras.Input(splits.shape, name=entry_name(inputs.kind))
    if isinstance(inputs, Windows) and scales_windows(inputs, experiment.data.normalize):
        windows = scaled_windows(entry, inputs, experiment.data.normalize)
        features = experiment.model.apply(window_normalization(inputs, experiment.data.normalize)(windows.windows))
        output = windows.restored(_output(experiment, splits.shape or (), splits.outputs, features, scale))
    else:
        scaled = _scaled(entry, experiment.data.normalize, inputs)
        features = experiment.model.apply_padded(scaled) if inputs.is_padded else experiment.model.apply(scaled)
        output = _output(experiment, splits.shape or (), splits.outputs, features, scale)
    # Keras models of single tensors, not of lists: a model of a list would expect a list and warn about a plain array.
    whole = keras.Model(entry, output, name=model_name(experiment))
    return Network(experiment.model, keras.Model(entry, output), whole, features)


def build_ensemble(experiment: Experiment, splits: Splits, *, offline: bool = False) -> Network:
    """Returns the model that averages those of earlier runs: it takes what they take, scaling included.

    Raises:
        UsageError: the runs do not fit together, or one of them was trained on examples of the test split.
        DataError: a run was trained on other data.
    """
    combined = combined_model(read_members(experiment, splits, offline=offline), experiment, model_name(experiment))
    return Network(experiment.model, combined, combined, combined.output)


def model_name(experiment: Experiment) -> str:
    """Returns the saved model's name."""
    return experiment.name.replace(".", "_")


def build_transfer(
    experiment: Experiment,
    shape: tuple[int, ...],
    outputs: int,
    scale: TargetScale | None = None,
    *,
    columns: EncodedColumns | None = None,
    load_weights: bool = True,
    offline: bool = False,
) -> Network:
    """Returns a transfer model: backbone and head are nested models, so that each can also run alone.

    `columns` are those of a table, whose encoded rows the backbone takes; the saved model takes the columns.

    Raises:
        DataError: the backbone's weights are missing or do not fit.
        RunFailed: the head cannot take the backbone's features.
    """
    model = cast("Transfer", experiment.model)
    entry = keras.Input(shape, name=IMAGE_ENTRY if model.backbone.takes_images else ARRAY_ENTRY)
    backbone = model.backbone.build(shape, load_weights=load_weights, offline=offline)
    tensor = backbone(model.backbone.preprocess(entry))
    body = keras.Model(entry, tensor)
    encode = None if columns is None else keras.Model(columns.inputs, columns.features)
    if model.fitted_once:
        return Network(model, body, body, tensor, encode=encode, backbone=backbone, body=body)
    _refuse_unfit_head(model, tuple(tensor.shape[1:]))
    # The head's initial weights do not depend on how many random numbers the backbone drew.
    keras.utils.set_random_seed(experiment.seed)
    row = keras.Input(tensor.shape[1:], dtype=tensor.dtype, name="features")
    head = keras.Model(row, _output(experiment, shape, outputs, model.apply(row), scale), name="head")
    output = head(tensor)
    whole = keras.Model(entry, output, name=model_name(experiment))
    if columns is not None:
        whole = keras.Model(columns.inputs, keras.Model(entry, output)(columns.features), name=model_name(experiment))
    functional = keras.Model(entry, output)
    return Network(model, functional, whole, tensor, encode=encode, backbone=backbone, body=body, head=head)


def _text_columns(experiment: Experiment, splits: Splits) -> EncodedColumns:
    """Returns the columns of a table as the backbone's tokenizer encodes them."""
    from dlcli.runtime.columns import column_inputs

    inputs = splits.train.inputs
    text = experiment.model.token_settings(experiment.data.text)
    return column_inputs(inputs.table(), inputs.layout, Encoding("none", text=text))


def _refuse_unfit_head(model: Transfer, features: tuple[int, ...]) -> None:
    try:
        stack_shape(model.stack(features), features)
    except ShapeError as error:
        place = ".".join(map(str, ("model", *error.place)))
        raise RunFailed(f"{place}: {error} (the backbone's features have shape {features})") from None


class Inference(keras.layers.Layer):  # type: ignore[misc]
    """Runs a model in inference mode, also inside a model in training: no dropout, and fixed BatchNorm statistics.

    Used only in the compiled model of a stage, never in a saved one. `model(x, training=False)` alone is not enough: a
    functional model passes its own `training` to every nested layer (Keras 3.15, github.com/keras-team/keras
    `src/models/functional.py`).
    """

    def __init__(self, model: Any) -> None:
        super().__init__(trainable=False)
        self.model = model

    def call(self, inputs: Any) -> Any:
        """Returns the model's output in inference mode."""
        return self.model(inputs, training=False)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the model's output shape."""
        return self.model.output_shape


def _build_for_columns(
    experiment: Experiment, splits: Splits, scale: TargetScale | None, revision: int, *, load_weights: bool
) -> Network:
    from dlcli.runtime.columns import column_inputs

    inputs, normalize = splits.train.inputs, cast("Normalize", experiment.data.normalize)  # `auto` is resolved by now
    vocabularies = {inputs.layout.names[name]: tokens for name, tokens in vocabularies_of(experiment, splits).items()}
    text = experiment.model.token_settings(experiment.data.text, vocabularies)
    encoding = Encoding(normalize, unseen_as_zeros=revision > 1, text=text)
    columns = column_inputs(inputs.table(), inputs.layout, encoding)
    raw, rows = columns.inputs, columns.features
    entry = keras.Input(rows.shape[1:], name="features")
    features = experiment.model.of_columns(columns, entry, load_weights=load_weights)
    inner = keras.Model(entry, _output(experiment, (), splits.outputs, features, scale))
    # `whole` nests a model that is never compiled: Keras would save the loss, optimizer and metrics of a compiled one.
    functional, whole = keras.Model(entry, inner.output), keras.Model(raw, inner(rows))
    first, encode = sum(width for kind, width in columns.widths if not kind.is_text), keras.Model(raw, rows)
    functional.input_spec = keras.layers.InputSpec(ndim=2)  # batches of short texts have fewer features (`CutRows`)
    texts = TextPlace(first, len(vocabularies), experiment.model.batch_lengths(text.max_length)) if vocabularies else None
    dtype = token_dtype(columns.vocabularies.values()) if vocabularies and not first else None
    return Network(experiment.model, functional, whole, features, encode=encode, texts=texts, tokens_dtype=dtype)


def _output(
    experiment: Experiment, example: tuple[int, ...], outputs: int, features: Any, scale: TargetScale | None = None
) -> Any:
    """Returns the output tensor for features: the head of the task, then the units of the targets."""
    task = experiment.task
    shape = task.output.shape(outputs, example)
    output = task.output.head.apply(features, shape, task.activation, experiment.output.arguments())
    return output if scale is None else scale.restored(output)


def shape_model(experiment: Experiment, shape: tuple[int, ...], outputs: int) -> Network:
    """Returns the model for an input shape, without data and so without fitted scaling."""
    if experiment.model.has_backbone:
        return build_transfer(experiment, shape, outputs, load_weights=False, offline=True)
    entry = keras.Input(shape, name=IMAGE_ENTRY if len(shape) == 3 else ARRAY_ENTRY)
    features = experiment.model.apply(entry)
    model = keras.Model(entry, _output(experiment, shape, outputs, features))
    return Network(experiment.model, model, model, features)


def _scaled(tensor: Any, normalize: str, inputs: Inputs) -> Any:
    """Returns the scaled inputs, in float32 also under mixed precision.

    In half precision a variance above 65,504 is infinite, and 1065 and 1067 are equal.
    """
    if normalize == "none":
        return tensor
    if inputs.kind == "images":
        if normalize == "unit":
            return keras.layers.Rescaling(1 / 255, name="normalize", dtype="float32")(tensor)
        if normalize == "symmetric":
            return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="normalize", dtype="float32")(tensor)
    mean, deviation = inputs.scale(normalize)
    layer = keras.layers.Normalization(mean=mean, variance=deviation**2, name="normalize", dtype="float32")
    return layer(tensor)
