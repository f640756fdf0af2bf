"""A task with a class for each pixel in one file, with its own head and metric. It is not part of dlcli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np

from dlcli.errors import DataError
from dlcli.runtime.engine import keras
from dlcli.spec.base import OneOf
from dlcli.spec.training.metrics import Accuracy
from dlcli.tasks import Head, OutputType, Task, register

Array = np.ndarray[Any, Any]


class PixelHead(Head):
    """A dense layer on a row of features, brought to the shape of the output; each pixel has the activation for itself."""

    def apply(self, features: Any, shape: tuple[int, ...], activation: str, settings: Mapping[str, Any]) -> Any:
        """Returns `(batch, height, width, classes)` for features `(batch, features)`."""
        row = keras.layers.Dense(prod(shape), name="pixels", dtype="float32", **settings)(features)
        maps = keras.layers.Reshape(shape, name="maps", dtype="float32")(row)
        return keras.layers.Activation(activation, name="output", dtype="float32")(maps)


class Masks(OutputType):
    """A class for each pixel: targets are class numbers int64 `(n, h, w)`, scores probabilities `(n, h, w, classes)`."""

    noun: ClassVar[str] = "class"
    nouns: ClassVar[str] = "classes"
    loss_form = "classes"
    head: ClassVar[Head] = PixelHead()
    is_row: ClassVar[bool] = False

    def shape(self, units: int, example: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the pixels of the input with a probability for each class."""
        return (*example[:2], units)

    def read(self, labels: Array, names: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
        """Returns the masks; the classes are their numbers."""
        if labels.ndim != 3 or labels.dtype.kind not in "iu":
            raise DataError(f"masks need class numbers (n, height, width), found {labels.dtype} {labels.shape}")
        return labels.astype("int64"), names or tuple(map(str, range(int(labels.max()) + 1)))

    def decide(self, scores: Array) -> Array:
        """Returns the most probable class of each pixel."""
        predicted: Array = scores.argmax(axis=-1)
        return predicted

    def errors(self, truth: Array, predicted: Array) -> Array:
        """Returns the share of wrong pixels of each example."""
        return np.asarray((predicted != truth).mean(axis=(1, 2)))

    def labels(self, targets: Array) -> Array:
        """Returns the class numbers."""
        return targets.astype("int32")

    def guess(self, names: Sequence[str], data: Mapping[str, Any], examples: int) -> tuple[str, Array | None]:
        """Returns no guess."""
        return "none", None


class PixelAccuracy(Accuracy):
    """Fraction of correct pixels."""

    outputs: ClassVar[tuple[type[OutputType], ...]] = (Masks,)
    kind: Literal["pixel_accuracy"]  # type: ignore[assignment]


SEGMENTATION = Task(
    name="segmentation",
    meaning="a class for each pixel",
    action="gives each pixel one of {count}{names}",
    activation="softmax",
    loss="sparse_categorical_crossentropy",
    metrics=("pixel_accuracy",),
    output=Masks(),
)


def add() -> None:
    """Adds the task and its metric to dlcli."""
    register(SEGMENTATION)
    OneOf.registry["Metric"].extend(PixelAccuracy)
