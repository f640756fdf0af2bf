"""What the network of a run makes of other examples: features of its last layer but one, and probabilities of classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor.check import Progress, Subject
from dlcli.data.inputs import recorded_shared
from dlcli.data.open_run import OpenRun, open_run
from dlcli.data.source_examples import open_examples
from dlcli.errors import DataError
from dlcli.runs import RunFolder
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.layers import single_layers
from dlcli.spec.data.sources.base import composed

_BLOCK = 64


@dataclass(frozen=True)
class NetworkAnswers:
    """The answers of a network for the examples of all splits, one split after the other.

    Attributes:
        features: the inputs of its last layer, averaged over positions, float32 `(n, features)`.
        probabilities: its probabilities in the order of the data's classes `(n, classes)`; None if it has other classes.
        is_known: whether an example was a training example of the run, bool `(n,)`.
    """

    features: Array
    probabilities: Array | None
    is_known: Array


def network_answers(subject: Subject, run: RunFolder, progress: Progress) -> NetworkAnswers:
    """Returns what the network of a run makes of the examples.

    Raises:
        DataError: the run's model takes other examples.
    """
    parts = [examples.inputs for examples in subject.splits.distinct.values()]
    with open_run(run) as opened:
        inputs = [_as_of_run(part, opened) for part in parts]
        blocks, total = list[tuple[Array, Array]](), sum(map(len, inputs))
        for features, output in _answers(opened.model, inputs):
            blocks.append((features, output))
            progress("asking the network", sum(len(block[1]) for block in blocks), total)
        features, outputs = (np.concatenate([block[number] for block in blocks]) for number in (0, 1))
        scores = opened.task.output.scores(outputs)
        return NetworkAnswers(features, _in_order(scores, opened, subject.opened.classes), _known(opened, parts))


def _as_of_run(inputs: Inputs, opened: OpenRun) -> Inputs:
    """Returns inputs in the form that the run's model takes.

    Raises:
        DataError: they have another shape, or other columns.
    """
    if isinstance(inputs, ImageFiles):
        inputs = replace(inputs, image=opened.experiment.data.image, decoded=None, cache=None)
    recorded = opened.run.data()
    shape = recorded.get("shape")
    if list(inputs.columns) != (recorded.get("columns") or []) or (inputs.shape and list(inputs.shape) != shape):
        raise DataError(f"{opened.run.id} was trained on other columns, or examples of another shape")
    return inputs.sharing(recorded_shared(opened.run))


def _answers(model: Any, inputs: list[Inputs]) -> Iterator[tuple[Array, Array]]:
    """Yields features and outputs of blocks of examples."""
    layers = single_layers(model)
    last = next((layer for layer in reversed(layers) if layer.weights), layers[-1])
    for part in inputs:
        for start in range(0, len(part), _BLOCK):
            examples = part.read(np.arange(start, min(start + _BLOCK, len(part))))
            with _recorded_inputs(last) as recorded:
                output = np.asarray(model(examples, training=False))
            features = np.asarray(recorded[-1], dtype="float32")
            yield features.mean(axis=tuple(range(1, features.ndim - 1))), output


@contextmanager
def _recorded_inputs(layer: Any) -> Iterator[list[Any]]:
    """Yields a list that receives the input of a layer at each call."""
    inputs, call = list[Any](), layer.call

    def recording_call(tensor: Any, *arguments: Any, **options: Any) -> Any:
        inputs.append(tensor)
        return call(tensor, *arguments, **options)

    layer.call = recording_call
    try:
        yield inputs
    finally:
        del layer.call  # uncovers the method of the class


def _in_order(scores: Array, opened: OpenRun, classes: tuple[str, ...]) -> Array | None:
    """Returns the run's scores in the order of other classes; None if the classes are not the same."""
    places = {composed(name): place for place, name in enumerate(opened.classes)}
    names = [composed(name) for name in classes]
    if set(names) != places.keys() or scores.ndim != 2 or scores.shape[1] != len(names):
        return None
    return scores[:, [places[name] for name in names]]


def _known(opened: OpenRun, inputs: list[Inputs]) -> Array:
    """Returns which examples were training examples of the run; all of them if its data can no longer be read."""
    try:
        source = open_examples(opened.experiment, offline=True, split=opened.run.split(), revision=opened.run.revision())
    except DataError:
        return np.ones(sum(map(len, inputs)), dtype=bool)
    split, trained = opened.run.split(), set[Any]()
    for examples in source.parts.values():
        places = np.array([place for place, name in enumerate(examples.ids) if split.get(name) == "train"], "int64")
        trained.update(examples.inputs.keys(places))
    return np.array([key in trained for part in inputs for key in part.keys(np.arange(len(part)))], dtype=bool)
