"""The features of examples in a trained model: what its output layer takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.inputs import refuse_other_inputs
from dlcli.explain.context import ExplanationContext
from dlcli.explain.network import BATCH, recorded_inputs
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.layers import single_layers
from dlcli.spec.data.sources import Examples
from dlcli.upstream.keras import first_input

MOST_EXAMPLES, MOST_NUMBERS = 2000, 2**26
"""The most examples whose features are taken, and the most numbers of all features together: 256 MiB."""


@dataclass(frozen=True)
class Features:
    """What the output layer of a model takes, for a sample of a split.

    Attributes:
        values: the features float32 `(n, features)`; of an ensemble those of all members, side by side.
        places: the place of each example in the split, in rising order.
        are_hidden: whether layers with weights compute them; else they are the inputs after preprocessing.
    """

    values: Array
    places: Array
    are_hidden: bool


def features_of(context: ExplanationContext, examples: Examples) -> Features:
    """Returns the features of examples; of many examples, of a sample that is drawn from the run's seed."""
    model, inputs = context.model, examples.inputs
    refuse_other_inputs(model, inputs, context.run.model_path)
    heads = _heads(context)
    width = sum(prod(first_input(head).shape[1:]) for head in heads)
    most = min(MOST_EXAMPLES, max(1, MOST_NUMBERS // width))
    places = np.sort(np.random.default_rng(context.experiment.seed).permutation(len(examples))[:most])
    blocks = []
    for start in range(0, len(places), BATCH):
        block = inputs.read(places[start : start + BATCH])
        with recorded_inputs(heads) as taken:
            model(block if inputs.columns else tf.constant(block), training=False)
        blocks.append(np.concatenate([_rows(of_head[-1]) for of_head in taken], axis=1))
    return Features(np.concatenate(blocks), places, _has_hidden_layer(model, heads))


def _rows(tensor: Any) -> Array:
    values = np.asarray(tensor, dtype="float32")
    return values.reshape(len(values), -1)


def _heads(context: ExplanationContext) -> list[Any]:
    """Returns the output layer of a model, or the classifier that is its head; of an ensemble those of all members."""
    model = context.model
    if not context.experiment.model.members:
        return [_head(model, encodes=context.model_inputs.columns is not None)]
    members = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return [_head(member, encodes=context.model_inputs.columns is not None) for member in members]


def _head(model: Any, *, encodes: bool) -> Any:
    """Returns the layer or the nested model that gives the output; `encodes`: columns become rows before the network."""
    outputs = [layer for layer in single_layers(model) if layer.name == "output"]
    return outputs[-1] if outputs else (model.layers[-1] if encodes else model).layers[-1]


def _has_hidden_layer(model: Any, heads: list[Any]) -> bool:
    """Whether a layer that is not in a head has weights, other than those of scaling."""
    of_heads = {id(layer) for head in heads for layer in single_layers(head)}
    layers = [layer for layer in single_layers(model) if id(layer) not in of_heads]
    return any(layer.weights and not isinstance(layer, keras.layers.Normalization) for layer in layers)
