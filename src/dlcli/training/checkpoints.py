"""When a training writes a checkpoint, what stands in it, and how a training takes it up again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from dlcli.arrays import Array
from dlcli.errors import DamagedFile, Interrupted
from dlcli.models.selection import Plan
from dlcli.runs.checkpoints import checkpoint_files, is_whole, prune_checkpoints, save_checkpoint
from dlcli.runs.folder import RunFolder
from dlcli.runtime.checkpoint import (
    Snapshot,
    every_variable,
    plain_state,
    read_snapshot,
    restore,
    restore_plain_state,
    values_of,
)
from dlcli.runtime.learner import build_optimizers, optimizer_variables
from dlcli.runtime.loop import Pauses, Position
from dlcli.runtime.signals import StopRequest
from dlcli.runtime.spread import Spread
from dlcli.runtime.stream import OrderedStream, TrainingStream
from dlcli.training.assemble import StageInputs
from dlcli.training.proof import Proof
from dlcli.training.recorder import Record, Recorder, Scores
from dlcli.upstream.keras import has_unbuilt_metrics

PAYS_OFF = 10
"""Epochs that are over sooner than so many writings of a checkpoint do not get one each: resuming repeats them instead."""


@dataclass(frozen=True)
class StageState:
    """The state of one stage while it runs.

    Attributes:
        index: its place among the stages, from 0 on.
        first: the number of epochs before it.
        plan: what it trains.
        inputs: the compiled model and the inputs it reads.
        stream: the batches it trains on.
        validation: the batches that an epoch is validated on; None without a validation split.
        scores: the callback for metrics that Keras does not follow, if there are any.
        recorder: writes history and best model.
        proof: verifies what has changed.
        callbacks: Keras's callbacks, those of the spec and the run.
    """

    index: int
    first: int
    plan: Plan
    inputs: StageInputs
    stream: TrainingStream
    validation: OrderedStream | None
    scores: Sequence[Scores]
    recorder: Recorder
    proof: Proof
    callbacks: Sequence[Any]

    @property
    def model(self) -> Any:
        """The compiled model."""
        return self.inputs.model

    @property
    def last(self) -> int:
        """The number of epochs of the training when the stage is at its end."""
        return self.first + (self.plan.stage.epochs or 0)

    @property
    def moving(self) -> list[Any]:
        """The variables that a step may change: weights that learn, statistics, counters of random draws."""
        learning = {id(variable) for variable in self.model.trainable_variables}
        fixed = {id(variable) for variable in self.model.trainable_weights} - learning
        weights = {id(variable) for variable in self.model.weights if variable.trainable} - learning
        return [variable for variable in every_variable(self.model) if id(variable) not in fixed | weights]


@dataclass
class Checkpoints:
    """Writes the checkpoints of a run; `begin` is the one it resumes from, if any.

    `stages` are the entries of `stages.json` of the stages that have ended.
    """

    record: Record
    request: StopRequest
    minutes: float
    begin: Snapshot | None = None
    spread: Spread | None = None
    stages: list[dict[str, Any]] = field(default_factory=list)
    _stop: str = ""
    _save: bool = False
    _written: float = field(default_factory=perf_counter)
    _cost: float = 0.0
    _metrics: list[Array] = field(default_factory=list)
    _first: dict[int, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.begin is not None:
            self.stages[:] = self.begin.state["stages"]
            self.record.restore(self.begin.state["record"], self.begin.state["epoch"])

    @property
    def stage(self) -> int:
        """The stage that the run resumes with, counted from 0."""
        return int(self.begin.state["stage"]) if self.begin is not None else 0

    def start(self, index: int, first: int) -> Position:
        """Returns where a stage starts: at its first epoch, or at the position of the checkpoint."""
        if self.begin is None or index != self.stage:
            return Position(first)
        return Position(self.begin.state["epoch"], self.begin.state["step"])

    def pauses(self, stage_state: StageState) -> Pauses:
        """Returns what happens at the positions where the stage can be interrupted."""
        return Pauses(
            restore=lambda: self._restore(stage_state),
            step=lambda at: self._at_step(stage_state, at),
            validation=lambda at: self._leave(stage_state, at),
            epoch=lambda at, last: self._at_epoch(stage_state, at, last),
            together=lambda: self._together(stage_state),
        )

    def _together(self, stage_state: StageState) -> None:
        """Applies the requests of signals, clocks and callbacks; with several workers, those of any worker.

        A worker that stopped, or wrote what all must read, alone would block the others for ever.
        """
        due = self.request.save or perf_counter() - self._written > 60 * self.minutes
        if self.spread is None or self.spread.workers == 1:
            self._save = due
            return
        stop, self._save, ended = self.spread.any_of(bool(self.request.stop), due, bool(stage_state.model.stop_training))
        stage_state.model.stop_training = ended
        self._stop = self.request.stop or "stopped by a signal to another worker" if stop else ""

    def _at_step(self, stage_state: StageState, at: Position) -> None:
        if at.step >= stage_state.stream.steps:  # validation counts in the same metrics
            self._metrics = values_of(stage_state.model.metrics_variables)
        self._leave(stage_state, at)
        if self._save:
            self._write(stage_state, at)

    def _at_epoch(self, stage_state: StageState, at: Position, last: bool) -> None:
        self._leave(stage_state, at)
        if last or self._save or self.record.saved or perf_counter() - self._written > PAYS_OFF * self._cost:
            self._write(stage_state, at)

    def _leave(self, stage_state: StageState, at: Position) -> None:
        """Writes a checkpoint and stops if a signal has requested it."""
        several = self.spread is not None and self.spread.workers > 1
        stop = self._stop if several else self.request.stop
        if stop:
            self._write(stage_state, at)
            raise Interrupted(f"{stop} {_words(at)}")

    def _write(self, stage_state: StageState, at: Position) -> None:
        began = perf_counter()
        stage_state.recorder.save_unsaved()  # the checkpoint is that of the model in the run folder
        save_checkpoint(self.record.run.checkpoints_path, self._snapshot(stage_state, at).write)
        self.request.save = self._save = self.record.saved = False
        self._first = {}
        self._written = perf_counter()
        self._cost = self._written - began
        self.record.run.log(f"checkpoint {_words(at)}")

    def _snapshot(self, stage_state: StageState, at: Position) -> Snapshot:
        model = stage_state.model
        state = {
            "specs": [spec_digest(self.record.run)],
            "stage": stage_state.index,
            "epoch": at.epoch,
            "step": at.step,
            "stopped": bool(model.stop_training),
            "stages": self.stages,
            "record": self.record.state(),
            "recorder": stage_state.recorder.state(),
            "proof": stage_state.proof.state(),
            "callbacks": [plain_state(callback) for callback in stage_state.callbacks],
        }
        metrics: list[Array] = []
        if at.step:
            metrics = self._metrics if at.step >= stage_state.stream.steps else values_of(model.metrics_variables)
        arrays = {
            "model": values_of(every_variable(self.record.whole, model)),
            "optimizer": values_of(optimizer_variables(model)),
            "metrics": metrics,
            "kept": stage_state.recorder.best_values,
        }
        return Snapshot(state, arrays)

    def rewind(self, stage_state: StageState) -> Position | None:
        """Resets a freshly compiled stage to its newest checkpoint, or its first step; None where neither is known.

        For analysing a divergence only: the run cannot continue after it.
        """
        newest = newest_snapshot(self.record.run, self.record.run.log)
        if newest is not None and newest.state["stage"] == stage_state.index:
            _build(stage_state)
            restore(every_variable(self.record.whole, stage_state.model), newest.arrays["model"], "model")
            restore(optimizer_variables(stage_state.model), newest.arrays["optimizer"], "optimizer")
            return Position(newest.state["epoch"], newest.state["step"])
        if not self._first:
            return None
        for variable in every_variable(self.record.whole, stage_state.model):
            if id(variable) in self._first:
                variable.assign(self._first[id(variable)])
        return Position(stage_state.first)

    def _restore(self, stage_state: StageState) -> None:
        if self.begin is None or stage_state.index != self.stage:
            # The start for analysing a first epoch that diverges; later epochs have checkpoints.
            self._first = {
                id(variable): value for variable, value in zip(stage_state.moving, values_of(stage_state.moving), strict=True)
            }
            return
        state, arrays, model = self.begin.state, self.begin.arrays, stage_state.model
        _build(stage_state)
        restore(every_variable(self.record.whole, model), arrays["model"], "model")
        restore(optimizer_variables(model), arrays["optimizer"], "optimizer")
        if state["step"]:
            restore(model.metrics_variables, arrays["metrics"], "metrics")
            self._metrics = arrays["metrics"]
        stage_state.recorder.restore(state["recorder"], arrays["kept"])
        stage_state.proof.restore(state["proof"])
        for callback, values in zip(stage_state.callbacks, state["callbacks"], strict=True):
            restore_plain_state(callback, values)
        model.stop_training = state["stopped"]


def newest_snapshot(run: RunFolder, log: Callable[[str], None]) -> Snapshot | None:
    """Returns the content of a run's newest complete checkpoint, None if there is none; logs which are damaged."""
    for path in checkpoint_files(run.checkpoints_path):
        try:
            if is_whole(path):
                return read_snapshot(path)
            reason = "its checksum is wrong"
        except DamagedFile as error:
            reason = str(error)
        log(f"note: the checkpoint {path.name} is damaged ({reason}) and was removed")
        with suppress(OSError):
            path.unlink()
    return None


def spec_digest(run: RunFolder) -> str:
    """Returns the SHA-256 of a run's resolved spec."""
    return hashlib.sha256(run.spec_path.read_bytes()).hexdigest()


def keep_last_checkpoint(run: RunFolder) -> None:
    """Removes all checkpoints but the newest: a completed run can be extended from it."""
    prune_checkpoints(run.checkpoints_path, 1)


def _build(stage_state: StageState) -> None:
    """Makes the variables of optimizer and metrics, which Keras makes in the first step only."""
    model = stage_state.model
    build_optimizers(model)
    if has_unbuilt_metrics(model):
        inputs, labels = stage_state.stream.first_batch()[:2]
        model.compute_metrics(inputs, labels, model(inputs, training=False))


def _words(at: Position) -> str:
    """Returns a position as text, counted from 1."""
    return f"in epoch {at.epoch + 1} after step {at.step}" if at.step else f"after epoch {at.epoch}"
