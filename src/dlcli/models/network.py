"""Experiment and data -> the Keras model: preprocessing, the spec's layers, the task's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from dlcli.data.splits import Splits
from dlcli.errors import RunFailed
from dlcli.models.targets import TargetScale, target_scale
from dlcli.runs.folder import REVISION
from dlcli.runtime.engine import keras
from dlcli.runtime.stream import ordered_batches
from dlcli.spec.experiment import Experiment
from dlcli.spec.model.layers import ShapeError
from dlcli.spec.model.models import Transfer, stack_shape

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Built:
    """The model in its forms, which share their weights.

    `trained` reads what the stream gives; `whole` reads raw images, rows or columns, is never compiled, and is what a
    run saves. `encode` turns raw columns into rows for `trained`; None where inputs are arrays.
    Of a transfer model also: `backbone`, the layer or model from scaled examples to features; `features`, from examples
    to features; `head`, from features to the output (None for a classifier that is not fitted yet).
    """

    trained: Any
    whole: Any
    encode: Any = None
    backbone: Any = None
    features: Any = None
    head: Any = None

    def encoded(self, inputs: Any) -> Any:
        """Returns inputs as `trained` reads them."""
        if self.encode is None:
            return inputs
        examples = len(next(iter(inputs.values())))
        self.encode.jit_compile = False  # XLA has no strings
        return self.encode.predict(ordered_batches(inputs, examples=examples, batch_size=1024), verbose=0)


def build_model(
    experiment: Experiment, splits: Splits, *, load_weights: bool = True, offline: bool = False, revision: int = REVISION
) -> Built:
    """Returns the model for the data: scaling fitted on the training part only.

    `load_weights=False` leaves a backbone's weights random, where others will be put in their place. `revision` is the run's.
    """
    inputs = splits.train.inputs
    scale = target_scale(experiment, splits)
    if isinstance(experiment.model, Transfer):
        shape = splits.shape or ()
        return build_transfer(experiment, shape, splits.outputs, scale, load_weights=load_weights, offline=offline)
    if isinstance(inputs, dict):
        return _build_for_columns(experiment, splits, inputs, scale, revision)
    entry = keras.Input(splits.shape, name="image" if splits.is_image else "features")
    output = _body(experiment, splits.outputs, _scaled(entry, experiment.data.normalize, inputs), scale)
    # Built of the tensors themselves: of lists, the saved model would want a list, and warn of a plain array.
    return Built(keras.Model(entry, output), keras.Model(entry, output, name=model_name(experiment)))


def model_name(experiment: Experiment) -> str:
    """Returns the saved model's name."""
    return experiment.name.replace(".", "_")


def build_transfer(
    experiment: Experiment,
    shape: tuple[int, ...],
    outputs: int,
    scale: TargetScale | None = None,
    *,
    load_weights: bool = True,
    offline: bool = False,
) -> Built:
    """Returns a transfer model: backbone and head are models inside it, so that each may also run alone.

    Raises:
        DataError: the backbone's weights are missing or do not fit.
        RunFailed: the head cannot take the backbone's features.
    """
    model = cast("Transfer", experiment.model)
    entry = keras.Input(shape, name="image" if model.backbone.takes_images else "features")
    backbone = model.backbone.build(shape, load_weights=load_weights, offline=offline)
    tensor = backbone(model.backbone.preprocess(entry))
    features = keras.Model(entry, tensor)
    if model.classifier:
        return Built(features, features, backbone=backbone, features=features)
    _refuse_unfit_head(model, tuple(tensor.shape[1:]))
    # The head starts the same whatever the backbone drew for its own first weights.
    keras.utils.set_random_seed(experiment.seed)
    row = keras.Input(tensor.shape[1:], dtype=tensor.dtype, name="features")
    head = keras.Model(row, _body(experiment, outputs, row, scale), name="head")
    output = head(tensor)
    whole = keras.Model(entry, output, name=model_name(experiment))
    return Built(keras.Model(entry, output), whole, backbone=backbone, features=features, head=head)


def _refuse_unfit_head(model: Transfer, features: tuple[int, ...]) -> None:
    try:
        stack_shape(model.stack(features), features)
    except ShapeError as error:
        place = ".".join(map(str, ("model", *error.place)))
        raise RunFailed(f"{place}: {error} (the backbone's features have shape {features})") from None


class Inference(keras.layers.Layer):  # type: ignore[misc]
    """Runs a model as it predicts, also inside one that trains: its dropout rests, its statistics stay.

    Only in the compiled model of a stage, never in a saved one. `model(x, training=False)` alone does not do it: a
    functional model gives its own `training` to every layer inside (Keras 3.15, github.com/keras-team/keras
    `src/models/functional.py`).
    """

    def __init__(self, model: Any) -> None:
        super().__init__(trainable=False)
        self.model = model

    def call(self, inputs: Any) -> Any:
        """Returns the model's output as in a prediction."""
        return self.model(inputs, training=False)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the model's output shape."""
        return self.model.output_shape


def frozen_backbone_model(built: Built) -> Any:
    """Returns the model that trains the head on a backbone at rest."""
    entry = keras.Input(built.features.input_shape[1:], dtype=built.features.inputs[0].dtype)
    return keras.Model(entry, built.head(Inference(built.features)(entry)))


def _build_for_columns(
    experiment: Experiment, splits: Splits, columns: dict[str, Array], scale: TargetScale | None, revision: int
) -> Built:
    from dlcli.runtime.columns import column_inputs

    normalize: Any = experiment.data.normalize  # `auto` is resolved by now
    raw, features = column_inputs(columns, normalize, unseen_as_zeros=revision > 1)
    entry = keras.Input(features.shape[1:], name="features")
    inner = keras.Model(entry, _body(experiment, splits.outputs, entry, scale))
    # Another model is compiled: Keras would save the loss, optimizer and metrics of a compiled one inside the whole.
    return Built(keras.Model(entry, inner.output), keras.Model(raw, inner(features)), keras.Model(raw, features))


def _body(experiment: Experiment, outputs: int, tensor: Any, scale: TargetScale | None = None) -> Any:
    """Returns the output for scaled inputs: the spec's layers, the task's output layer, the targets' own units."""
    task = experiment.task
    tensor = experiment.model.apply(tensor)
    output = experiment.output.apply(tensor, units=task.units(outputs), activation=task.activation)
    return output if scale is None else scale.restored(output)


def shape_model(experiment: Experiment, shape: tuple[int, ...], outputs: int) -> Built:
    """Returns the model for inputs of a shape, without data: scaling that must be fitted is left out."""
    if isinstance(experiment.model, Transfer):
        return build_transfer(experiment, shape, outputs, load_weights=False, offline=True)
    entry = keras.Input(shape, name="image" if len(shape) == 3 else "features")
    model = keras.Model(entry, _body(experiment, outputs, entry))
    return Built(model, model)


def _scaled(tensor: Any, normalize: str, inputs: Any) -> Any:
    """Returns the inputs scaled inside the model, in float32 also under mixed precision.

    In half precision a variance above 65,504 is infinite, and 1065 and 1067 are the same number.
    """
    if normalize == "none":
        return tensor
    if hasattr(inputs, "read") or inputs.dtype == np.uint8:
        if normalize == "unit":
            return keras.layers.Rescaling(1 / 255, name="normalize", dtype="float32")(tensor)
        if normalize == "symmetric":
            return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="normalize", dtype="float32")(tensor)
    mean, deviation = _mean_and_deviation(inputs, normalize)
    layer = keras.layers.Normalization(mean=mean, variance=deviation**2, name="normalize", dtype="float32")
    return layer(tensor)


def _mean_and_deviation(inputs: Any, normalize: str) -> tuple[Array, Array]:
    """Returns the offset and divisor of the last axis for a scaling, from the training part."""
    if hasattr(inputs, "read"):
        total, squares, count = np.zeros(inputs.shape[-1]), np.zeros(inputs.shape[-1]), 0
        for start in range(0, len(inputs), 256):
            pixels = (
                inputs.read(np.arange(start, min(start + 256, len(inputs)))).astype("float64").reshape(-1, inputs.shape[-1])
            )
            total, squares, count = total + pixels.sum(0), squares + (pixels**2).sum(0), count + len(pixels)
        mean = total / count
        return mean, _not_zero(np.sqrt(np.maximum(squares / count - mean**2, 0)))
    axes = tuple(range(inputs.ndim - 1))
    if normalize == "standard":
        return inputs.mean(axes, dtype="float64"), _not_zero(inputs.std(axes, dtype="float64"))
    low, high = inputs.min(axes).astype("float64"), inputs.max(axes).astype("float64")
    if normalize == "unit":
        return low, _not_zero(high - low)
    return (low + high) / 2, _not_zero((high - low) / 2)


def _not_zero(deviation: Array) -> Array:
    """Returns the divisor with 1 for constant features, which then stay at 0."""
    return np.where(deviation > 0, deviation, 1.0)
