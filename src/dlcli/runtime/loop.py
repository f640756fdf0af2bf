"""The epochs of one stage: Keras's own training step and callbacks, in a loop that may stop, and begin, at any step.

Keras's `fit` begins with an epoch's first step only, resets every callback and reads the same number of batches in every
epoch, so that nothing can go on exactly where it was left (keras.src.backend.tensorflow.trainer, Keras 3.15).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from dlcli.runtime.data_loss import with_data_loss
from dlcli.runtime.engine import keras
from dlcli.runtime.stream import TrainingStream

SLOW_CALL = 1.0
"""Seconds that several steps in one call of the device may take; above it each step is a call, and a signal is heard."""


@dataclass(frozen=True)
class Position:
    """The next step to take: both counted from 0. A step past the epoch's last says that its validation is to come."""

    epoch: int
    step: int = 0


@dataclass(frozen=True)
class Pauses:
    """What may happen where a training can be left and taken up again.

    Attributes:
        restore: called once before the first step, after Keras's callbacks were told that the training begins.
        step: called after every call of the device, with the position.
        validation: called before every call of the device while the epoch is validated, with the position.
        epoch: called after an epoch with the next position, and whether it is the last.
        together: called before `step` and `epoch`: what one of several workers has decided then holds for all.
    """

    restore: Callable[[], None]
    step: Callable[[Position], None]
    validation: Callable[[Position], None]
    epoch: Callable[[Position, bool], None]
    together: Callable[[], None]


class Listening(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells of every batch that is validated or predicted, before it: after it, Keras would wait for the batch's numbers."""

    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__()
        self._heard = heard

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Tells of a batch of the validation."""
        self._heard()

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Tells of a batch of a prediction."""
        self._heard()


def run_epochs(
    model: Any,
    stream: TrainingStream,
    validation: Any,
    callbacks: Sequence[Any],
    pauses: Pauses,
    *,
    start: Position,
    last: int,
    adapt: bool = True,
) -> None:
    """Trains a compiled model from a position to the end of epoch `last`, or until a callback stops it.

    With `adapt`, slow models are given one step a call. The moving average of weights (`use_ema`) is left in place at
    the end by Keras's own callback for it; `Optimizer.finalize_variable_values`, which `fit` calls, would undo that.
    """
    at = start
    listening = Listening(lambda: pauses.validation(at))
    # The number of epochs is told only to have Keras's callback for moving averages leave its variables as they are.
    told = keras.callbacks.CallbackList([*callbacks, listening], model=model, epochs=last + 1, steps=stream.steps, verbose=0)
    model.stop_training = False
    model.make_train_function()
    told.on_train_begin()
    if not start.step:
        pauses.restore()
    for epoch in range(start.epoch, last):
        if model.stop_training:
            break
        first = start.step if epoch == start.epoch else 0
        model.reset_metrics()
        told.on_epoch_begin(epoch)
        if first:
            pauses.restore()
        at = _train_epoch(model, stream, told, pauses, Position(epoch, first), adapt=adapt)
        logs = with_data_loss(_numbers(model.get_metrics_result()))
        if validation is not None:
            scores = model.evaluate(validation, callbacks=told, return_dict=True, verbose=0)
            logs |= {f"val_{name}": value for name, value in with_data_loss(scores).items()}
        told.on_epoch_end(epoch, logs)
        pauses.together()
        pauses.epoch(Position(epoch + 1), bool(model.stop_training) or epoch + 1 == last)
    told.on_train_end()


def _train_epoch(model: Any, stream: TrainingStream, told: Any, pauses: Pauses, at: Position, *, adapt: bool) -> Position:
    """Takes the steps of an epoch from a position on; returns the position where its validation is to come."""
    if at.step >= stream.steps:
        return at
    batches, step, calls = stream.batches(at.epoch, at.step), at.step, 0
    while step < stream.steps and not model.stop_training:
        told.on_train_batch_begin(step)
        began = perf_counter()
        logs = model.train_function(batches)
        step, calls = min(step + model.steps_per_execution, stream.steps), calls + 1
        told.on_train_batch_end(step - 1, logs)
        # The first call compiles; the second one tells.
        if adapt and calls == 2 and model.steps_per_execution > 1 and perf_counter() - began > SLOW_CALL:
            _one_step_a_call(model)
        pauses.together()
        pauses.step(Position(at.epoch, stream.steps if model.stop_training else step))
    return Position(at.epoch, stream.steps)


def _one_step_a_call(model: Any) -> None:
    """Compiles the model's functions anew, for one step in each call of the device; the results are the same bits."""
    model.steps_per_execution = 1
    model.test_function = model.predict_function = None
    model.make_train_function(force=True)


def _numbers(logs: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items()}
