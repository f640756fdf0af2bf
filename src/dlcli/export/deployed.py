"""A run's model in the form of other formats: in float32, and with numbers in place of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import ModelInputs, inputs_of_model
from dlcli.runs import RunFolder
from dlcli.runtime import text_tokens
from dlcli.runtime.columns import lookups
from dlcli.runtime.engine import keras
from dlcli.runtime.keras_file import read_config, set_float32, write_in_float32
from dlcli.runtime.loading import load_model
from dlcli.runtime.saved_layers import SavedLayers, saved_layers
from dlcli.runtime.unicode_words import words_layer_name
from dlcli.spec.data.text import TextSettings
from dlcli.tasks import Task
from dlcli.upstream.keras import all_layers


@dataclass(frozen=True)
class Original:
    """A run's saved model with the data that its use needs.

    `names` is the name of the model's input that takes each raw column. `file` is a copy of the model's file, which does not
    change. `text` says how texts become tokens.
    """

    model: Any
    file: Path
    task: Task
    classes: tuple[str, ...]
    model_inputs: ModelInputs
    names: dict[str, str]
    text: TextSettings
    mixed_precision: bool = False

    @property
    def output_name(self) -> str:
        """The kind of the model's outputs."""
        return "values" if self.task.output.is_numeric else "probabilities"

    @cached_property
    def lookups(self) -> dict[str, Any]:
        """The layers that turn the text of an input into the number of a category, by the input's name."""
        layers = lookups(self.model, self.model_inputs.columns or {})
        return {self.names[column]: layer for column, layer in layers.items()}

    @cached_property
    def token_layers(self) -> dict[str, Any]:
        """The layers that turn the text of an input into numbers of tokens, by the input's name.

        None of a model whose inputs nested models split, as an ensemble's do, or in a way that `text_tokens` does not know.
        """
        columns = self.model_inputs.columns or {}
        texts = {self.names[name] for name, kind in columns.items() if kind.is_text}
        if not texts or self.text.split not in text_tokens.SPLITS:
            return {}
        layers = [layer for layer in self.model.layers if isinstance(layer, keras.layers.TextVectorization)]
        first = {layer.input.name: layer for layer in layers if layer.input.name in texts}
        if self.text.split == "unicode_words":  # the first layer splits into characters
            return {name: self.model.get_layer(words_layer_name(layer.name)) for name, layer in first.items()}
        return first

    @property
    def tokenizers(self) -> dict[str, text_tokens.Tokenizer]:
        """What does the same as these layers without Keras, by the input's name."""
        return {name: self._tokenizer(layer) for name, layer in self.token_layers.items()}

    def _tokenizer(self, layer: Any) -> text_tokens.Tokenizer:
        text = self.text
        vocabulary, length = tuple(map(str, layer.get_vocabulary())), int(layer.output.shape[1])
        return text_tokens.Tokenizer(vocabulary, length, text.standardize, text.split, text.ngrams or 1)

    @property
    def vocabularies(self) -> dict[str, list[str]]:
        """The categories of inputs by name: a category's number is its index; the first is for unknown texts."""
        return {name: [str(word) for word in layer.get_vocabulary()] for name, layer in self.lookups.items()}

    @property
    def shared(self) -> Mapping[str, tuple[str, ...]]:
        """The columns of each input that takes several, in the order of its values, by the input's name."""
        return {} if self.model_inputs.layout is None else self.model_inputs.layout.shared

    @property
    def free_text(self) -> list[str]:
        """The columns of text that is neither looked up as a whole nor split into tokens, which LiteRT and ONNX do not take."""
        columns, known = self.model_inputs.columns or {}, {*self.lookups, *self.token_layers}
        return [name for name, kind in columns.items() if kind.dtype == "string" and self.names[name] not in known]

    @property
    def saved_layers(self) -> SavedLayers | None:
        """The layers outside Keras, which plain Keras cannot load; None where there are none."""
        names = (keras.saving.get_registered_name(type(layer)) for layer in all_layers(self.model))
        return next((layers for layers in map(saved_layers, names) if layers is not None), None)

    def packages(self, form: str) -> tuple[str, ...]:
        """Returns the packages that a format needs beside its own runtime, as pip installs them."""
        layers = self.saved_layers
        if layers is None:
            return ()
        if form == "keras":
            return layers.requirements
        return (layers.operations,) if form == "saved_model" and self.free_text and layers.operations else ()


def original(run: RunFolder, file: Path) -> Original:
    """Returns a run's model, loaded from a copy of its file.

    Raises:
        DamagedFile: the file is not the run's model.
    """
    experiment = run.experiment()
    task, classes = experiment.task, tuple(run.data().get("classes") or ())
    model = load_model(file, output=(task.units(len(classes)),))
    model.jit_compile = False
    model_inputs = inputs_of_model(model, run)
    names = {} if model_inputs.layout is None else model_inputs.layout.names
    mixed_precision = set_float32(read_config(file))
    return Original(model, file, task, classes, model_inputs, names, experiment.data.text, mixed_precision)


def in_float32(source: Original, folder: Path) -> Any:
    """Returns the model with all computations in float32; the model itself where they already are.

    Under mixed precision weights are kept in float32, so nothing is lost; LiteRT and ONNX Runtime have no bfloat16
    convolutions.
    """
    if not source.mixed_precision:
        return source.model
    file = folder / "float32.keras"
    write_in_float32(source.file, file)
    return load_model(file)


def with_numbers_for_text(model: Any, source: Original) -> Any:
    """Returns the model with int32 inputs in place of those of text.

    An input that is looked up takes the category's number `(batch, 1)`, one that is split the numbers of its tokens
    `(batch, max_length)`. A model without such inputs is returned itself.

    Args:
        model: the run's model, or the same model in float32.
        source: the run's model.
    """
    of_model = {name: model.get_layer(layer.name) for name, layer in (source.lookups | source.token_layers).items()}
    if not of_model:
        return model
    encoded = {name: layer.output for name, layer in of_model.items()}
    inner = keras.Model([encoded.get(name, tensor) for name, tensor in model.input.items()], model.output)
    inputs = {name: _numeric_input(name, tensor, encoded, source) for name, tensor in model.input.items()}
    features = [_as_encoded(name, tensor, encoded, source) for name, tensor in inputs.items()]
    return keras.Model(inputs, inner(features))


def _numeric_input(name: str, tensor: Any, encoded: Mapping[str, Any], source: Original) -> Any:
    shape = encoded[name].shape[1:] if name in source.token_layers else tensor.shape[1:]
    return keras.Input(shape, name=name, dtype="int32" if name in encoded else tensor.dtype)


def _as_encoded(name: str, tensor: Any, encoded: Mapping[str, Any], source: Original) -> Any:
    """Returns what the layer of an input gives for its text, from the numbers in the text's place."""
    if name in source.lookups:
        return keras.ops.one_hot(keras.ops.squeeze(tensor, 1), encoded[name].shape[1])
    return keras.ops.cast(tensor, encoded[name].dtype) if name in encoded else tensor


def numbers_for(values: Array, vocabulary: list[str]) -> Array:
    """Returns each text's number in a vocabulary, int32; 0 for unknown texts."""
    places = {word: place for place, word in enumerate(vocabulary) if place}
    return np.array([places.get(value, 0) for value in values], dtype="int32")
