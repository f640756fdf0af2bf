"""The Keras callbacks of a training: scores that Keras lacks, and the record of every epoch in the run folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

from dlcli.arrays import Array
from dlcli.models.penalties import penalties
from dlcli.runs import RunFolder
from dlcli.runs.folder import now
from dlcli.runs.reporter import EpochReport, Reporter
from dlcli.runtime.engine import keras
from dlcli.runtime.learner import optimizers_of
from dlcli.runtime.loop import Pauses, Position
from dlcli.runtime.stream import TrainingStream
from dlcli.spec.training.metrics import MetricSpec
from dlcli.tasks import Task
from dlcli.training.part_rates import backbone_rate


class Scores(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds to each epoch's logs the metrics that scikit-learn scores on the validation predictions.

    `predict` takes a function that it calls before each batch; with `pauses`, the run may be interrupted there.
    """

    pauses: Pauses | None = None

    def __init__(
        self, metrics: Sequence[MetricSpec], predict: Callable[[Any], Array], truth: Array, task: Task, steps: int
    ) -> None:
        super().__init__()
        self._metrics, self._predict, self._truth, self._task, self._steps = metrics, predict, truth, task, steps

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Predicts the validation split once and scores every such metric."""
        pauses = self.pauses
        scores = self._predict(pauses and (lambda: pauses.validation(Position(epoch, self._steps))))
        for metric in self._metrics:
            assert logs is not None
            logs[f"val_{metric.name}"] = metric.score(self._truth, scores, self._task)


@dataclass
class Best:
    """The best epoch so far, counted from 1; `value` is None while there is none. Epoch 0 is the weights it started from."""

    epoch: int = 0
    value: float | None = None
    stage: str = ""


@dataclass
class Record:
    """What a run has seen so far, over all its stages: the history's rows and the best epoch."""

    run: RunFolder
    whole: Any
    monitor: str
    higher_is_better: bool
    epochs: int
    examples: int
    reporter: Reporter
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: Best = field(default_factory=Best)
    steps: int = 0
    stepped: bool = False
    saved: bool = False
    """Whether a best model was saved since the last checkpoint, which then belongs to another one."""
    extended_at: float = 0.0
    """Seconds of training before the run was extended: its time limit counts from there."""
    without_penalties: bool = False
    """Of a run of revision 1, whose losses hold the penalties on weights, whether they are compared without them: Keras counts
    those of learning layers alone, so that the same weights have another loss in each stage."""
    has_penalties: bool = False
    """Whether the history has a column for what regularisers add to the loss."""

    @property
    def seconds(self) -> float:
        """Seconds of training so far, in complete epochs, since the run was started or extended."""
        return float(sum(row["seconds"] for row in self.rows)) - self.extended_at

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps of it."""
        return {
            "best": asdict(self.best),
            "steps": self.steps,
            "without_penalties": self.without_penalties,
            "extended_at": self.extended_at,
        }

    def restore(self, state: dict[str, Any], epochs: int) -> None:
        """Takes up the state of a checkpoint that was written after some epochs, and cuts the history file to them."""
        self.rows[:] = recorded_rows(self.run, state, epochs)
        self.best, self.steps = Best(**state["best"]), state["steps"]
        self.stepped, self.without_penalties = True, state["without_penalties"]
        self.extended_at = state["extended_at"]
        self.run.update_status(epoch=len(self.rows), step=self.steps)

    def better(self, value: Any, best: Best) -> bool:
        """Whether a monitored value is a number and better than a best one."""
        if value is None or not math.isfinite(value):
            return False
        if best.value is None:
            return True
        return bool(value > best.value if self.higher_is_better else value < best.value)

    def save_best(self, best: Best) -> None:
        """Writes the model as it now is, as the best."""
        self.best, self.saved = best, True
        self.run.save_model(self.whole)
        self.run.update_status(best_epoch=best.epoch, best_value=best.value, best_stage=best.stage)


def recorded_rows(run: RunFolder, state: dict[str, Any], epochs: int) -> list[dict[str, Any]]:
    """Returns the rows of the epochs before a checkpoint, and has the history file hold no more.

    `state` is what the checkpoint keeps of the record: those of earlier versions hold the rows themselves.
    """
    if "rows" not in state:
        return run.history_file.cut(epochs)
    rows: list[dict[str, Any]] = state["rows"]
    run.write_history(rows)
    return rows


class Diverged(Exception):
    """The loss, or the gradients, became infinite or no number, in a call of the device that ended with `step`, from 0 on."""

    def __init__(self, value: float, epoch: int, step: int, *, what: str = "loss") -> None:
        super().__init__(f"the {what} became {value} in epoch {epoch + 1}, step {step + 1}")
        self.epoch, self.step = epoch, step


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes history, status and the best model after each epoch of a stage, and fails where the loss is no number.

    Of the variables `held` it holds the values of the stage's best epoch in memory: to the end of the stage where `keep` says
    so, else until the model is saved. Where an epoch may take less time than saving the model (a small model, a head on stored
    features), `lazy` saves only once the last saving has paid off; `save_unsaved` and `finish` save the rest.
    """

    def __init__(
        self,
        record: Record,
        stream: TrainingStream,
        *,
        stage: str,
        batch_size: int,
        held: Sequence[Any],
        keep: bool,
        lazy: bool,
    ) -> None:
        super().__init__()
        self.record, self.stage_best = record, Best()
        self._stream, self._stage, self._batch_size = stream, stage, batch_size
        self._held, self._keep, self._lazy = held, keep, lazy
        self._best_values: list[Array] = []
        self._unsaved: Best | None = None
        self._started, self._saved_at, self._save_cost = 0.0, 0.0, 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Tells the reporter how long the training may be."""
        self.record.reporter.fit_started(self.record.epochs, self._stream.steps)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's clock."""
        self._epoch, self._started = epoch, perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the first step's time and watches the loss.

        Raises:
            Diverged: it is infinite or no number.
        """
        if not self.record.stepped:
            self.record.stepped = True
            self.record.run.update_status(first_step=now())
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(float(loss)):
            raise Diverged(float(loss), self._epoch, batch)
        examples = min((batch + 1) * self._batch_size, self.record.examples)
        self.record.reporter.step_finished(self._epoch, batch + 1, examples)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the epoch's row, and the model if it is the best so far."""
        record, row = self.record, self._row(epoch, logs or {})
        record.steps += self._stream.steps
        value = row.get(record.monitor)
        if value is not None and record.without_penalties and record.monitor.endswith("loss"):
            value -= penalties(self.model)
        if record.better(value, self.stage_best):
            self.stage_best = Best(epoch + 1, float(value or 0.0), self._stage)
            if self._keep:
                self._best_values = self._values()
        improved = record.better(value, self._unsaved or record.best)
        record.rows.append(row)
        record.run.history_file.append_last(record.rows)
        record.run.update_status(
            stage=self._stage, epoch=epoch + 1, epochs=record.epochs, step=record.steps, monitor=record.monitor
        )
        if improved:
            self._unsaved = self.stage_best
            if not self._lazy or perf_counter() - self._saved_at > 10 * self._save_cost:
                self._save()
            elif not self._keep:
                self._best_values = self._values()
        previous = record.rows[-2] if len(record.rows) > 1 else None
        record.reporter.epoch_finished(EpochReport(epoch + 1, record.epochs, row, previous, improved))

    def on_train_end(self, logs: Any = None) -> None:
        """Tells the reporter that no epoch follows."""
        self.record.reporter.fit_finished()

    def state(self) -> dict[str, Any]:
        """Returns the state for a checkpoint, without the weights of the stage's best epoch."""
        unsaved = self._unsaved and asdict(self._unsaved)
        return {"best": asdict(self.stage_best), "unsaved": unsaved, "seconds": perf_counter() - self._started}

    @property
    def best_values(self) -> list[Array]:
        """The values of the held variables in the stage's best epoch; empty before it, and where they are not held any more."""
        return self._best_values

    def restore(self, state: dict[str, Any], weights: list[Array]) -> None:
        """Restores the state of a checkpoint, in an epoch that has started."""
        self.stage_best, self._best_values = Best(**state["best"]), weights
        self._unsaved = state["unsaved"] and Best(**state["unsaved"])
        self._started = perf_counter() - state["seconds"]

    def with_best(self, do: Callable[[], None]) -> None:
        """Calls a function while the stage's best weights are in place; does nothing where they are not held.

        It then restores the current weights.
        """
        if not self._best_values:
            return
        now = self._values()
        self._put(self._best_values)
        do()
        self._put(now)

    def save_unsaved(self) -> None:
        """Saves a best model that is not saved yet, and leaves the current weights in place."""
        if self._unsaved is not None:
            self.with_best(self._save)

    def finish(self, *, restore: bool) -> None:
        """Saves a best model that is not saved yet; with `restore`, puts the stage's best weights in place if they are kept."""
        self.save_unsaved()
        if restore and self._best_values:
            self._put(self._best_values)

    def _save(self) -> None:
        started = perf_counter()
        assert self._unsaved is not None
        self.record.save_best(self._unsaved)
        self._unsaved = None
        if not self._keep:
            self._best_values = []
        self._saved_at = perf_counter()
        self._save_cost = self._saved_at - started

    def _values(self) -> list[Array]:
        return [variable.numpy() for variable in self._held]

    def _put(self, values: list[Array]) -> None:
        for variable, value in zip(self._held, values, strict=True):
            variable.assign(value)

    def _row(self, epoch: int, logs: dict[str, float]) -> dict[str, Any]:
        seconds = perf_counter() - self._started
        values = {name: float(value) for name, value in logs.items()}
        row: dict[str, Any] = {"stage": self._stage, "epoch": epoch + 1}
        row |= {name: values[name] for name in sorted(values, key=_column)}
        if self.record.has_penalties:
            row["penalty"] = penalties(self.model)
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        backbone = backbone_rate(self.model.optimizer)
        if backbone is not None:
            row["learning_rate_backbone"] = backbone
        for named in optimizers_of(self.model)[1:]:
            row[f"learning_rate_{named.name}"] = float(named.optimizer.learning_rate)
        rate = round(self.record.examples / max(seconds, 1e-9), 1)
        return row | {"seconds": round(seconds, 3), "examples_per_second": rate}


def _column(name: str) -> tuple[bool, bool]:
    """Returns the order of a history column: training before validation, the loss before the metrics."""
    return name.startswith("val_"), name.removeprefix("val_") != "loss"
