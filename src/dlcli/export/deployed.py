"""A run's model as formats other than Keras can hold it: in float32, and with numbers in place of text."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ModelInputs, inputs_of_model
from dlcli.runs import RunFolder
from dlcli.runtime.backbone_layer import BackboneLayer
from dlcli.runtime.columns import input_names
from dlcli.runtime.engine import keras
from dlcli.runtime.keras_file import read_config
from dlcli.runtime.loading import load_model
from dlcli.tasks import Task
from dlcli.upstream.keras import all_layers

_HALVES = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")


@dataclass(frozen=True)
class Original:
    """A run's model as it was saved, and what must be known to use it.

    `names` is the name in the model of each raw column. `file` is a copy of the model's own, which nobody changes.
    """

    model: Any
    file: Path
    task: Task
    classes: tuple[str, ...]
    taken: ModelInputs
    names: dict[str, str]
    mixed_precision: bool = False

    @property
    def output_name(self) -> str:
        """What the numbers are that the model gives."""
        return "values" if self.task.output.is_numeric else "probabilities"

    @property
    def text_columns(self) -> list[str]:
        """The columns that hold text."""
        return [name for name, is_number in (self.taken.columns or {}).items() if not is_number]

    @property
    def has_hub_layer(self) -> bool:
        """Whether a part of it is a Hub module, which plain Keras cannot load."""
        return any(isinstance(layer, BackboneLayer) for layer in all_layers(self.model))


def original(run: RunFolder, file: Path) -> Original:
    """Returns a run's model, read from a copy of its file."""
    task, classes = run.experiment().task, tuple(run.data().get("classes") or ())
    model = load_model(file, outputs=task.units(len(classes)))
    model.jit_compile = False
    taken = inputs_of_model(model, run)
    mixed = _set_float32(read_config(file))
    return Original(model, file, task, classes, taken, input_names(taken.columns or ()), mixed)


def in_float32(source: Original, folder: Path) -> Any:
    """Returns the model computing in float32 throughout; the model itself where it does already.

    Under mixed precision weights are kept in float32, so nothing is lost; LiteRT and ONNX Runtime have no bfloat16
    convolutions.
    """
    if not source.mixed_precision:
        return source.model
    file, config = folder / "float32.keras", read_config(source.file)
    _set_float32(config)
    with zipfile.ZipFile(source.file) as archive, zipfile.ZipFile(file, "w") as copy:
        for one in archive.infolist():
            copy.writestr(one.filename, json.dumps(config) if one.filename == "config.json" else archive.read(one))
    return load_model(file)


def _set_float32(config: Any) -> bool:
    """Replaces every half precision in a model's description; returns whether there was one."""
    has_half, waiting = False, [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key, value in one.items():
                if key in ("dtype", "name") and value in _HALVES:
                    one[key], has_half = "float32", True
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return has_half


def vocabularies(model: Any) -> dict[str, list[str]]:
    """Returns the categories of each text input by its name: a category's number is its place, the first is for all others."""
    return {layer.input.name: [str(word) for word in layer.get_vocabulary()] for layer in _lookups(model)}


def _lookups(model: Any) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.StringLookup)]


def with_numbers_for_text(model: Any) -> Any:
    """Returns the model with an int32 input `(batch, 1)` in place of each text input: the category's number.

    The model itself where it has no text inputs.
    """
    lookups = {layer.input.name: layer.output for layer in _lookups(model)}
    if not lookups:
        return model
    inner = keras.Model([lookups.get(name, tensor) for name, tensor in model.input.items()], model.output)
    inputs = {name: keras.Input((1,), name=name, dtype="int32" if name in lookups else "float32") for name in model.input}
    encoded = [
        keras.ops.one_hot(keras.ops.squeeze(tensor, 1), lookups[name].shape[1]) if name in lookups else tensor
        for name, tensor in inputs.items()
    ]
    return keras.Model(inputs, inner(encoded))


def numbers_for(values: Array, vocabulary: list[str]) -> Array:
    """Returns each text's number in a vocabulary, int32; 0 for those that are not in it."""
    places = {word: place for place, word in enumerate(vocabulary) if place}
    return np.array([places.get(value, 0) for value in values], dtype="int32")
