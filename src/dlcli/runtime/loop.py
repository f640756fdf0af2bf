"""The epochs of one stage: Keras's own training step and callbacks, in a loop that can stop and start at any step.

Keras's `fit` starts only at an epoch's first step, resets every callback and reads the same number of batches in every epoch,
so it cannot resume a training exactly where it was interrupted (keras.src.backend.tensorflow.trainer, Keras 3.15).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from dlcli.runtime.data_loss import with_data_loss
from dlcli.runtime.engine import keras
from dlcli.runtime.learner import make_train_function
from dlcli.runtime.steps import Validation, gathered_steps
from dlcli.runtime.stream import OrderedStream, TrainingStream

SLOW_CALL = 1.0
"""Maximum seconds for several steps in one call; above it each step is a call, so that signals are handled in time."""


@dataclass(frozen=True)
class Position:
    """The next step, with epoch and step counted from 0. A step past the epoch's last means that validation is next."""

    epoch: int
    step: int = 0


@dataclass(frozen=True)
class Pauses:
    """Functions that are called where a training can be interrupted and resumed.

    Attributes:
        restore: called once before the first step, after `on_train_begin` of Keras's callbacks.
        step: called after every call of the device, with the position.
        validation: called before every call of the device during validation, with the position.
        epoch: called after an epoch with the next position, and whether it was the last epoch.
        together: called before `step` and `epoch`, to share the decisions of one worker with all workers.
    """

    restore: Callable[[], None]
    step: Callable[[Position], None]
    validation: Callable[[Position], None]
    epoch: Callable[[Position, bool], None]
    together: Callable[[], None]


class Listening(keras.callbacks.Callback):  # type: ignore[misc]
    """Calls a function before every batch of validation or prediction: after it, Keras would wait for the batch's results."""

    def __init__(self, on_batch: Callable[[], None]) -> None:
        super().__init__()
        self._on_batch = on_batch

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Calls the function before a batch of a validation."""
        self._on_batch()

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Calls the function before a batch of a prediction."""
        self._on_batch()


def run_epochs(
    model: Any,
    stream: TrainingStream,
    validation: OrderedStream | None,
    callbacks: Sequence[Any],
    pauses: Pauses,
    *,
    start: Position,
    last: int,
    adapt: bool = True,
    shared: bool = False,
) -> None:
    """Trains a compiled model from a position to the end of epoch `last`, or until a callback stops it.

    With `adapt`, slow models run one step per call. `shared` says whether several devices share each batch. At the end Keras's
    own callback leaves the moving average of the weights (`use_ema`) in place; `Optimizer.finalize_variable_values`, which
    `fit` calls, would undo that.
    """
    position = start
    listening = Listening(lambda: pauses.validation(position))
    # Keras's callback for moving averages overwrites its variables in the last of `epochs`, so `epochs` is one too large.
    hooks = keras.callbacks.CallbackList([*callbacks, listening], model=model, epochs=last + 1, steps=stream.steps, verbose=0)
    model.stop_training = False
    make_train_function(model)
    calls = _Calls(model, stream, shared=shared)
    scored = None if validation is None else Validation(model, validation, shared=shared)
    hooks.on_train_begin()
    if not start.step:
        pauses.restore()
    for epoch in range(start.epoch, last):
        if model.stop_training:
            break
        first = start.step if epoch == start.epoch else 0
        model.reset_metrics()
        hooks.on_epoch_begin(epoch)
        if first:
            pauses.restore()
        position = _train_epoch(calls, hooks, pauses, Position(epoch, first), adapt=adapt)
        logs = with_data_loss(_numbers(model.get_metrics_result()))
        if scored is not None:
            logs |= {f"val_{name}": value for name, value in with_data_loss(scored.scores(hooks)).items()}
        hooks.on_epoch_end(epoch, logs)
        pauses.together()
        pauses.epoch(Position(epoch + 1), bool(model.stop_training) or epoch + 1 == last)
    hooks.on_train_end()


class _Calls:
    """The calls of the device that train a model, each with several steps."""

    def __init__(self, model: Any, stream: TrainingStream, *, shared: bool) -> None:
        self.model, self.stream = model, stream
        self._gathered = gathered_steps(model, model.train_step, stream, shared=shared)
        self._batches: Any = None

    def begin(self, start: Position) -> None:
        """Prepares the batches of an epoch from a position on."""
        if self._gathered is not None:
            self.stream.begin(start.epoch)
        else:
            self._batches = self.stream.batches(start.epoch, start.step)

    def run(self, first: int, end: int) -> Any:
        """Runs the steps from `first` to before `end`, as many as a call has, and returns the values of the metrics."""
        return self.model.train_function(self._batches) if self._gathered is None else self._gathered.run(first, end)


def _train_epoch(calls: _Calls, hooks: Any, pauses: Pauses, start: Position, *, adapt: bool) -> Position:
    """Runs the steps of an epoch from a position on and returns the position of its validation."""
    model, steps = calls.model, calls.stream.steps
    if start.step >= steps:
        return start
    calls.begin(start)
    step, number = start.step, 0
    while step < steps and not model.stop_training:
        hooks.on_train_batch_begin(step)
        began = perf_counter()
        end = min(step + model.steps_per_execution, steps)
        logs = calls.run(step, end)
        step, number = end, number + 1
        hooks.on_train_batch_end(step - 1, logs)
        # The first call compiles, so the second one is timed.
        if adapt and number == 2 and model.steps_per_execution > 1 and perf_counter() - began > SLOW_CALL:
            _one_step_a_call(model)
        pauses.together()
        pauses.step(Position(start.epoch, steps if model.stop_training else step))
    return Position(start.epoch, steps)


def _one_step_a_call(model: Any) -> None:
    """Recompiles the model's functions for one step per call of the device; results stay equal bit for bit."""
    model.steps_per_execution = 1
    model.test_function = model.predict_function = None
    model.make_train_function(force=True)


def _numbers(logs: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items()}
