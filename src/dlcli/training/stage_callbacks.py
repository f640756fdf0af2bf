"""The callbacks of a stage: those of its spec, the moving average of its weights, its log for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlcli.runtime.engine import keras
from dlcli.spec.training.metrics import higher_is_better
from dlcli.spec.training.stages import Stage
from dlcli.training.recorder import Record
from dlcli.training.setup import TrainingSetup


def callbacks_of(setup: TrainingSetup, record: Record, stage: Stage, first: int) -> list[Any]:
    """Returns the Keras callbacks that a stage is trained with; its epochs start at `first`."""
    chosen = [_built_callback(setup, record, callback, first) for callback in stage.callbacks or []]
    return [*_averaged(stage), *chosen, *_tensorboard(record, stage)]


def averaging(callbacks: Sequence[Any]) -> list[Any]:
    """Returns the callback of the moving average, which comes before all callbacks that read the weights."""
    return [callback for callback in callbacks if isinstance(callback, keras.callbacks.SwapEMAWeights)]


def without_averaging(callbacks: Sequence[Any]) -> list[Any]:
    """Returns the callbacks but that of the moving average: the spec's own first."""
    return [callback for callback in callbacks if not isinstance(callback, keras.callbacks.SwapEMAWeights)]


def _averaged(stage: Stage) -> list[Any]:
    """Returns the callback that puts the moving average of the weights in place for validation, scores and saving.

    One does both; a second one would undo its swap at validation. It comes before all callbacks that read the weights.
    """
    if stage.optimizer is None or not stage.optimizer.use_ema:
        return []
    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]


def _built_callback(setup: TrainingSetup, record: Record, callback: Any, first: int) -> Any:
    """Returns the Keras callback; epochs that it counts itself start with the stage."""
    if callback.kind == "tensorboard":
        return callback.build(log_dir=str(record.run.tensorboard_path))
    if callback.kind == "time_limit":  # the training's own limit is one for all of its stages
        shared = callback in setup.experiment.training.callbacks
        return callback.build(spent=record.seconds if shared else 0.0)
    if not hasattr(callback, "monitor"):
        return callback.build()
    higher = higher_is_better(callback.monitor, list(setup.experiment.training.metrics or []))
    built = callback.build(mode="max" if higher else "min")
    if hasattr(built, "start_from_epoch"):
        built.start_from_epoch += first
    return built


def _tensorboard(record: Record, stage: Stage) -> list[Any]:
    """Returns the log that every run writes, unless the spec has settings for it."""
    if any(callback.kind == "tensorboard" for callback in stage.callbacks or []):
        return []
    return [_EpochLog(str(record.run.tensorboard_path), write_graph=False)]


class _EpochLog(keras.callbacks.TensorBoard):  # type: ignore[misc]
    """Keras's log of the epochs, without its work for every batch.

    With `update_freq="epoch"`, Keras still makes a summary of each metric after every call of the device, and writes none of
    them: no writer is open (github.com/keras-team/keras `src/callbacks/tensorboard.py`).
    """

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the batch."""
        super().on_train_batch_end(batch)
