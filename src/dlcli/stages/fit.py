"""The one caller of Keras's `fit`: compile, callbacks, the epochs, and why they ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlcli.errors import RunFailed
from dlcli.runs import Run
from dlcli.runtime.engine import keras
from dlcli.runtime.stream import TrainingStream, data_errors, ordered_batches
from dlcli.spec.experiment import Experiment
from dlcli.spec.metrics import higher_is_better
from dlcli.stages.build import Built, build_model
from dlcli.stages.data import Splits
from dlcli.stages.evaluate import prediction_batch, prediction_batches, predictions
from dlcli.stages.labels import label_reader
from dlcli.stages.recorder import Recorder, Scores
from dlcli.stages.reporter import Reporter

Say = Callable[[str], None]


def fit(experiment: Experiment, splits: Splits, run: Run, reporter: Reporter, say: Say) -> None:
    """Fits the model; the run folder then holds the best epoch's model."""
    keras.utils.set_random_seed(experiment.seed)
    built = build_model(experiment, splits)
    say(f"model: {built.whole.count_params():,} parameters")
    training, batch_size = experiment.training, _batch_size(experiment, splits)
    inputs = built.encoded(splits.train.inputs)
    stream = TrainingStream(
        inputs,
        _labels(experiment, splits, "train"),
        examples=len(splits.train),
        batch_size=batch_size,
        seed=experiment.seed,
        augment=experiment.data.augment,
    )
    if not training.epochs:
        run.save_model(built.whole)
        return
    _compile(experiment, built, stream.steps)
    recorder = Recorder(
        run,
        stream,
        built.whole,
        monitor=training.monitor,
        higher_is_better=higher_is_better(training.monitor, list(training.metrics or [])),
        examples=len(splits.train),
        batch_size=batch_size,
        reporter=reporter,
    )
    validation = _validation(experiment, splits, built)
    chosen = [_built_callback(experiment, callback, run) for callback in training.callbacks]
    callbacks = [*_averaged(experiment), *_scores(experiment, splits, built), recorder, *chosen, *_tensorboard(experiment, run)]
    with data_errors():
        built.trained.fit(
            stream.dataset, epochs=training.epochs, validation_data=validation, callbacks=callbacks, shuffle=False, verbose=0
        )
    if recorder.failure:
        raise RunFailed(_diverged(recorder))
    reasons = [spec.reason(callback) for spec, callback in zip(training.callbacks, chosen, strict=True)]
    _tell_end(recorder, experiment, next(filter(None, reasons), ""), run, say)


def _batch_size(experiment: Experiment, splits: Splits) -> int:
    wanted = experiment.data.batch_size
    return len(splits.train) if wanted == "full" else min(int(wanted), len(splits.train))


def _labels(experiment: Experiment, splits: Splits, part: str) -> Any:
    integer = experiment.training.loss.integer_labels
    return label_reader(splits.parts[part].targets, experiment.task, classes=splits.outputs, integer=integer)


def _compile(experiment: Experiment, built: Built, steps: int) -> None:
    training, hardware = experiment.training, experiment.hardware
    integer = training.loss.integer_labels
    followed = [metric.follow(experiment.task, integer_labels=integer) for metric in training.metrics or []]
    built.trained.compile(
        optimizer=training.optimizer.build(),
        loss=training.loss.build(),
        metrics=[metric for metric in followed if metric is not None],
        jit_compile=hardware.xla,
        # Several steps a call save Python's work between them; more than a tenth of an epoch would make progress jump.
        steps_per_execution=hardware.steps_per_execution or max(1, min(10, steps // 10)),
    )


def _validation(experiment: Experiment, splits: Splits, built: Built) -> Any:
    if "validation" not in splits.parts:
        return None
    part = splits.parts["validation"]
    return ordered_batches(
        built.encoded(part.inputs),
        examples=len(part),
        batch_size=prediction_batch(experiment),
        labels=_labels(experiment, splits, "validation"),
    )


def _scores(experiment: Experiment, splits: Splits, built: Built) -> list[Any]:
    """Returns the callback for metrics that Keras does not follow, if there are any and a part to score them on."""
    integer, part = experiment.training.loss.integer_labels, splits.parts.get("validation")
    left = [one for one in experiment.training.metrics or [] if one.follow(experiment.task, integer_labels=integer) is None]
    if not left or part is None:
        return []
    batches = prediction_batches(built.encoded(part.inputs), experiment, len(part))
    return [Scores(left, lambda: predictions(built.trained, batches, experiment), part.targets, experiment.task)]


def _averaged(experiment: Experiment) -> list[Any]:
    """Returns the callback that puts the moving average of the weights in place for validation, scores and saving.

    One does both; a second one would undo its swap at validation. It stands before whatever looks at the weights.
    """
    if not experiment.training.optimizer.use_ema:
        return []
    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]


def _built_callback(experiment: Experiment, callback: Any, run: Run) -> Any:
    if callback.kind == "tensorboard":
        return callback.build(log_dir=str(run.tensorboard_path))
    if not hasattr(callback, "monitor"):
        return callback.build()
    higher = higher_is_better(callback.monitor, list(experiment.training.metrics or []))
    return callback.build(mode="max" if higher else "min")


def _tensorboard(experiment: Experiment, run: Run) -> list[Any]:
    """Returns the log that every run writes, unless the spec has settings for it."""
    if any(callback.kind == "tensorboard" for callback in experiment.training.callbacks):
        return []
    return [keras.callbacks.TensorBoard(str(run.tensorboard_path), write_graph=False)]


def _diverged(recorder: Recorder) -> str:
    kept = f"; the best model so far, of epoch {recorder.best.epoch}, is kept" if recorder.best.epoch else ""
    return (
        f"{recorder.failure}: the training has diverged{kept}\n"
        "  try a learning rate ten times lower, `training.optimizer.clipnorm: 1.0`,"
        " or look for values far out of range in the data"
    )


def _tell_end(recorder: Recorder, experiment: Experiment, reason: str, run: Run, say: Say) -> None:
    epochs, best = len(recorder.rows), recorder.best
    if not best.epoch:
        raise RunFailed(f"{experiment.training.monitor} was never a number: no epoch can be called the best")
    if reason and epochs < experiment.training.epochs:
        run.update_status(reason=reason)
        say(f"{reason}; stopped after epoch {epochs} of {experiment.training.epochs}")
    say(f"best epoch: {best.epoch} ({experiment.training.monitor} {best.value:.4f}); its model is kept")
