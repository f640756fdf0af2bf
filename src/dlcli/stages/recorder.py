"""The Keras callbacks of a training: scores that Keras lacks, and the record of every epoch in the run folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from dlcli.runs import Run
from dlcli.runs.folder import now
from dlcli.runtime.engine import keras
from dlcli.runtime.stream import TrainingStream
from dlcli.spec.metrics import MetricSpec
from dlcli.stages.reporter import EpochReport, Reporter

Array = np.ndarray[Any, Any]


class Scores(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds to each epoch's logs the metrics that scikit-learn scores on the validation predictions."""

    def __init__(self, metrics: Sequence[MetricSpec], predict: Callable[[], Array], truth: Array, task: str) -> None:
        super().__init__()
        self._metrics, self._predict, self._truth, self._task = metrics, predict, truth, task

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Predicts the validation part once and scores every such metric."""
        scores = self._predict()
        for metric in self._metrics:
            assert logs is not None
            logs[f"val_{metric.name}"] = metric.score(self._truth, scores, self._task)


@dataclass
class Best:
    """The best epoch so far, counted from 1; 0: none."""

    epoch: int = 0
    value: float | None = None


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes history, status and the best model after each epoch, and stops a training whose loss is no number."""

    def __init__(
        self,
        run: Run,
        stream: TrainingStream,
        whole: Any,
        *,
        monitor: str,
        higher_is_better: bool,
        examples: int,
        batch_size: int,
        reporter: Reporter,
    ) -> None:
        super().__init__()
        self.best = Best()
        self.rows: list[dict[str, Any]] = []
        self.failure = ""
        self._run, self._stream, self._whole, self._reporter = run, stream, whole, reporter
        self._monitor, self._higher = monitor, higher_is_better
        self._examples, self._batch_size = examples, batch_size
        self._steps, self._started, self._first = 0, 0.0, True

    def on_train_begin(self, logs: Any = None) -> None:
        """Tells the reporter how long the training may be."""
        self._reporter.fit_started(self.params["epochs"], self._stream.steps)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the stream to the epoch."""
        self._stream.begin(epoch)
        self._epoch, self._started = epoch, perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the first step's time and watches the loss."""
        if self._first:
            self._first = False
            self._run.update_status(first_step=now())
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(float(loss)):
            self.failure = f"the loss became {float(loss)} in epoch {self._epoch + 1}, step {batch + 1}"
            self.model.stop_training = True
        self._reporter.step_finished(self._epoch, batch + 1, min((batch + 1) * self._batch_size, self._examples))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the epoch's row, and the model if it is the best so far."""
        if self.failure:
            return
        seconds = perf_counter() - self._started
        self._steps += self._stream.steps
        values = {name: float(value) for name, value in (logs or {}).items()}
        row: dict[str, Any] = {"stage": "train", "epoch": epoch + 1} | {
            name: values[name] for name in sorted(values, key=_column)
        }
        row["learning_rate"] = self._learning_rate()
        row |= {"seconds": round(seconds, 3), "examples_per_second": round(self._examples / max(seconds, 1e-9), 1)}
        improved = self._improves(row.get(self._monitor))
        if improved:
            self.best = Best(epoch + 1, float(row[self._monitor]))
            self._run.save_model(self._whole)
        self.rows.append(row)
        self._run.write_history(self.rows)
        self._write_status(epoch)
        previous = self.rows[-2] if len(self.rows) > 1 else None
        self._reporter.epoch_finished(EpochReport(epoch + 1, self.params["epochs"], row, previous, improved))

    def on_train_end(self, logs: Any = None) -> None:
        """Tells the reporter that no epoch follows."""
        self._reporter.fit_finished()

    def _write_status(self, epoch: int) -> None:
        self._run.update_status(
            epoch=epoch + 1,
            epochs=self.params["epochs"],
            step=self._steps,
            best_epoch=self.best.epoch,
            best_value=self.best.value,
            monitor=self._monitor,
        )

    def _improves(self, value: Any) -> bool:
        if value is None or not math.isfinite(value):
            return False
        if self.best.value is None:
            return True
        return bool(value > self.best.value if self._higher else value < self.best.value)

    def _learning_rate(self) -> float:
        return float(self.model.optimizer.learning_rate)


def _column(name: str) -> tuple[bool, bool]:
    """Returns the order of a history column: training before validation, the loss before the metrics."""
    return name.startswith("val_"), name.removeprefix("val_") != "loss"
