"""What the network of a run makes of other examples: features from several of its layers, and probabilities of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.doctor.check import Progress, Subject
from dlcli.data.doctor.past_trainings import past_trainings
from dlcli.data.inputs import recorded_shared
from dlcli.data.open_run import OpenRun, open_run
from dlcli.errors import DataError
from dlcli.runs import RunFolder
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.inputs import Inputs
from dlcli.runtime.layers import single_layers
from dlcli.spec.data.sources.labels import composed

_BLOCK = 64
_MAP_AXES = 4


@dataclass(frozen=True)
class NetworkAnswers:
    """The answers of a network for the examples of all splits, one split after the other.

    Attributes:
        features: the inputs of its last layer and, of images, the last feature maps of each resolution, averaged over
            positions, float32 `(n, features)`.
        probabilities: its probabilities in the order of the data's classes `(n, classes)`; None if it has other classes.
        is_trained_on: whether an example was a training example of the run, or of one that it started from, bool `(n,)`.
        has_learned_features: whether one of these trainings changed the layers below the head, so that features of training
            examples depend on their labels.
    """

    features: Array
    probabilities: Array | None
    is_trained_on: Array
    has_learned_features: bool


def network_answers(subject: Subject, run: RunFolder, progress: Progress) -> NetworkAnswers:
    """Returns what the network of a run makes of the examples.

    If the run was trained on images that were mirrored at random, both results are means over each image and its mirror image.

    Raises:
        DataError: the run's model takes other examples.
    """
    parts = [examples.inputs for examples in subject.splits.distinct.values()]
    with open_run(run) as opened:
        trainings = past_trainings(run)
        inputs = [_as_of_run(part, opened) for part in parts]
        blocks, total = list[tuple[Array, Array]](), sum(map(len, inputs))
        for features, output in _answers(opened, inputs):
            blocks.append((features, output))
            progress(f"computing features with {run.id}", sum(len(block[1]) for block in blocks), total)
        features, outputs = (np.concatenate([block[number] for block in blocks]) for number in (0, 1))
        scores = opened.task.output.scores(outputs)
        return NetworkAnswers(
            features=features,
            probabilities=_in_order(scores, opened, subject.opened.classes),
            is_trained_on=trainings.trained_on(parts),
            has_learned_features=trainings.train_body,
        )


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


def _answers(opened: OpenRun, inputs: list[Inputs]) -> Iterator[tuple[Array, Array]]:
    """Yields features and outputs of blocks of examples."""
    augmentations = [item for stage in opened.experiment.stages for item in stage.augment or ()]
    mirrors = any("mirrored" in augmentation.motions for augmentation in augmentations)
    for part in inputs:
        for start in range(0, len(part), _BLOCK):
            examples = part.read(np.arange(start, min(start + _BLOCK, len(part))))
            versions = [examples, examples[:, :, ::-1]] if mirrors and part.kind == "images" else [examples]
            answers = [_answer(opened.model, version) for version in versions]
            features, outputs = (np.mean([answer[number] for answer in answers], axis=0) for number in (0, 1))
            yield features, outputs


def _answer(model: Any, examples: Any) -> tuple[Array, Array]:
    """Returns features `(n, features)` and outputs of a block of examples."""
    layers = single_layers(model)
    last = next((layer for layer in reversed(layers) if layer.weights), layers[-1])
    inputs, maps = list[Any](), dict[tuple[int, ...], Any]()

    def keep(layer: Any, tensor: Any, output: Any) -> None:
        if layer is last:
            inputs.append(tensor)
        elif getattr(output, "ndim", 0) == _MAP_AXES and not type(layer).__name__.startswith("ZeroPadding"):
            maps[tuple(output.shape[1:3])] = output

    with _observed_calls(layers, keep):
        output = np.asarray(model(examples, training=False))
    features = np.concatenate([_means(tensor) for tensor in (*maps.values(), inputs[-1])], axis=1)
    return features, output


def _means(tensor: Any) -> Array:
    """Returns the means of features over all positions, float32 `(n, features)`."""
    values = np.asarray(tensor, dtype="float32")
    return np.asarray(values.mean(axis=tuple(range(1, values.ndim - 1))))


@contextmanager
def _observed_calls(layers: list[Any], observer: Callable[[Any, Any, Any], None]) -> Iterator[None]:
    """Passes each layer, the input and the output of its calls to an observer."""

    def observed(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def observed_call(*arguments: Any, **options: Any) -> Any:
            output = call(*arguments, **options)
            observer(layer, next(iter((*arguments, *options.values()))), output)
            return output

        return observed_call

    for layer in layers:
        layer.call = observed(layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call  # uncovers the method of the class


def _in_order(scores: Array, opened: OpenRun, classes: tuple[str, ...]) -> Array | None:
    """Returns the run's scores in the order of other classes; None if the classes are not the same."""
    places = {composed(name): place for place, name in enumerate(opened.classes)}
    names = [composed(name) for name in classes]
    if set(names) != places.keys() or scores.ndim != 2 or scores.shape[1] != len(names):
        return None
    return scores[:, [places[name] for name in names]]
