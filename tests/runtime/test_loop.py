"""The loop over the epochs of a stage; tests/training has its resumption and its callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dlcli.runtime.engine import keras, tf
from dlcli.runtime.loop import Pauses, Position, run_epochs

TRACED: list[int] = []


class Traced(keras.layers.Layer):  # type: ignore[misc]
    """A layer without effect that counts how often it is traced."""

    def call(self, inputs: Any) -> Any:
        """Returns the inputs."""
        TRACED.append(1)
        return inputs


class Stream:
    """Two steps in every epoch."""

    steps, gathers = 2, False

    def batches(self, epoch: int, step: int) -> Iterator[Any]:
        """Returns the batches of an epoch."""
        x = np.ones((8, 3), "float32")
        return iter(tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(4))


def test_a_training_step_is_traced_once() -> None:
    model = keras.Sequential([keras.Input((3,)), Traced(), keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    TRACED.clear()
    pauses = Pauses(lambda: None, lambda _: None, lambda _: None, lambda *_: None, lambda: None)
    stream: Any = Stream()
    run_epochs(model, stream, None, [], pauses, start=Position(0), last=2)
    assert len(TRACED) == 1
    assert int(model.optimizer.iterations) == 4
