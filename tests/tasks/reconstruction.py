"""A task without labels in one file, whose output is not a row: the input again. It is not part of dlcli.

Run as a program it is dlcli with this task: `python reconstruction.py train spec.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import numpy as np

from dlcli.errors import DataError
from dlcli.runtime.engine import keras
from dlcli.runtime.inputs import Inputs
from dlcli.tasks import Head, Task, Values, register

Array = np.ndarray[Any, Any]


class ShapeHead(Head):
    """A dense layer on a row of features, brought to the shape of the output."""

    def apply(self, features: Any, shape: tuple[int, ...], activation: str, settings: Mapping[str, Any]) -> Any:
        """Returns `(batch, *shape)` for features `(batch, features)`."""
        row = keras.layers.Dense(prod(shape), activation=activation, name="values", dtype="float32", **settings)(features)
        return keras.layers.Reshape(shape, name="output", dtype="float32")(row)


class Reconstruction(Values):
    """The input again: targets and scores are float32 `(n, *shape)`, of 8-bit images from 0 to 1."""

    head: ClassVar[Head] = ShapeHead()
    is_row: ClassVar[bool] = False
    reads_labels: ClassVar[bool] = False

    def shape(self, units: int, example: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the input."""
        return example

    def targets(self, inputs: Inputs) -> Array:
        """Returns the inputs."""
        if inputs.shape is None:
            raise DataError("a reconstruction needs images or arrays, not the columns of a table")
        values = np.asarray(inputs.read(np.arange(len(inputs))))
        return np.asarray(values / 255 if inputs.kind == "images" else values, dtype="float32")

    def labels(self, targets: Array) -> Array:
        """Returns the targets."""
        return targets


RECONSTRUCTION = Task(
    name="reconstruction",
    meaning="the input again",
    action="gives its input again",
    activation="linear",
    loss="mse",
    metrics=("mse",),
    output=Reconstruction(),
)


def add() -> None:
    """Adds the task to dlcli."""
    register(RECONSTRUCTION)


if __name__ == "__main__":
    from dlcli.__main__ import main

    add()
    main()
