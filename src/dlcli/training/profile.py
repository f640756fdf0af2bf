"""Profiles chosen steps of a training: a profile for TensorBoard, and a table of the time of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from dlcli.errors import UsageError
from dlcli.runs.folder import RunFolder
from dlcli.runs.profile import ProfileRow, StepRange, write_profile
from dlcli.runs.reporter import Log
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.learner import optimizers_of
from dlcli.runtime.profile import Row, Scopes, part_times, scopes_recorded
from dlcli.spec.experiment import Experiment


def refuse_unprofiled(experiment: Experiment) -> None:
    """Checks that the steps of an experiment can be profiled.

    Raises:
        UsageError: its model is fitted without steps, several devices share its steps, or a callback profiles, too.
    """
    if experiment.model.fitted_once:
        raise UsageError("--profile: the classifier of this model is fitted at once, without steps")
    if experiment.hardware.strategy in ("mirrored", "multi_worker"):
        raise UsageError(f"--profile: supports a single device; found `hardware.strategy: {experiment.hardware.strategy}`")


class StepProfile(keras.callbacks.Callback):  # type: ignore[misc]
    """Profiles the calls of the device that contain the chosen steps; results stay the same bit for bit.

    A call runs several steps, so that more steps may be profiled than were chosen; the log names them.
    """

    def __init__(self, steps: StepRange, run: RunFolder, epoch_steps: int, log: Log) -> None:
        super().__init__()
        self._steps, self._run, self._epoch_steps, self._log = steps, run, epoch_steps, log
        self._epoch = self._first = 0
        self._began = 0.0
        self._scopes = Scopes()
        self._active = self.done = False

    def concerns(self, first: int, last: int) -> bool:
        """Whether the chosen steps are in the epochs after `first`, up to `last`."""
        return not self.done and first < (self._steps.last - 1) // self._epoch_steps + 1 <= last

    @contextmanager
    def watching(self, model: Any) -> Iterator[None]:
        """Records the scopes of a model's layers while it is trained, and ends a profile if the training is interrupted."""
        try:
            with scopes_recorded(model) as self._scopes:
                self._scopes.optimizers = [named.optimizer.name for named in optimizers_of(model)]
                yield
        finally:
            if self._active:
                self._active = False
                tf.profiler.experimental.stop(save=False)
        if not self.done:
            self._log(f"profile: the training ended before step {self._steps.first}, so that nothing was profiled")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Starts the profile before the call that contains the first chosen step."""
        first = self._epoch * self._epoch_steps + batch + 1
        last_of_call = first + self.model.steps_per_execution - 1
        if not self._active and not self.done and first <= self._steps.last and last_of_call >= self._steps.first:
            self._active, self._first = True, first
            tf.profiler.experimental.start(str(self._run.tensorboard_path))
            self._began = perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends the profile after the call that contains the last chosen step."""
        last = self._epoch * self._epoch_steps + batch + 1
        if self._active and last >= self._steps.last:
            seconds = perf_counter() - self._began
            self._active, self.done = False, True
            tf.profiler.experimental.stop()
            self._write(last - self._first + 1, seconds)

    def _write(self, steps: int, seconds: float) -> None:
        rows = table_of(part_times(self._run.tensorboard_path, self._scopes, seconds), steps)
        write_profile(self._run, rows)
        last = self._first + steps - 1
        calls = "" if (self._first, last) == (self._steps.first, self._steps.last) else " (whole calls of the device)"
        self._log(
            f"profile: steps {self._first} to {last}{calls}, {1000 * seconds / steps:,.3g} ms a step; the time of each layer"
            f" is in {self._run.profile_path.name}, the profile for TensorBoard in"
            f" {self._run.tensorboard_path.name}/plugins/profile"
        )
        if self._first == 1:
            self._log("profile: note: the first call includes the compilation of the step")
        if not any(row.part == "layer" for row in rows):
            self._log("profile: note: the operations of layers cannot be told apart, such as in steps that XLA compiles")


def table_of(times: Sequence[Row], steps: int) -> list[ProfileRow]:
    """Returns the times of parts for one step, in milliseconds."""
    total = sum(row.seconds for row in times) or 1.0

    def milliseconds(seconds: float) -> float:
        return round(1000 * seconds / steps, 4)

    return [
        ProfileRow(
            row.kind,
            row.name,
            milliseconds(row.forward),
            milliseconds(row.backward),
            milliseconds(row.seconds),
            round(row.seconds / total, 4),
            round(row.calls / steps, 2),
        )
        for row in times
    ]
