"""Experiment -> run: open the data, build, fit, keep the best epoch, score it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlcli.errors import Interrupted, RunFailed
from dlcli.runs import Run
from dlcli.runs.folder import State, now
from dlcli.runtime.device import Device, use_device
from dlcli.runtime.engine import keras
from dlcli.runtime.signals import signals_as_exceptions
from dlcli.runtime.stream import TrainingStream, ordered_batches
from dlcli.spec.data import SplitSettings
from dlcli.spec.experiment import Experiment
from dlcli.spec.file import Loaded, to_yaml
from dlcli.spec.metrics import higher_is_better
from dlcli.stages.build import Built, build_model
from dlcli.stages.data import DEFAULT_SHARES, Splits, open_splits
from dlcli.stages.environment import describe_environment, process_started
from dlcli.stages.evaluate import default_split, evaluate_model, prediction_batch, prediction_batches, predictions
from dlcli.stages.labels import label_reader
from dlcli.stages.recorder import Recorder, Scores
from dlcli.stages.reporter import Reporter


def train(loaded: Loaded, runs: Path, reporter: Reporter, *, offline: bool = False) -> Run:
    """Trains an experiment in a new run folder and returns the run.

    Raises:
        RunFailed: the training could not end well; the folder says why and keeps the best epoch so far.
        DataError: the data is not fit to train on.
    """
    experiment = loaded.experiment
    run = Run.create(runs, experiment.name, spec=to_yaml(experiment), source=loaded.source_text)
    run.update_status(process_started=process_started())
    say = _teller(run, reporter)
    with recorded_failure(run):
        device = use_device(experiment.hardware, experiment.seed)
        say(f"device: {device}")
        run.write_environment(describe_environment(device))
        splits = open_splits(experiment, offline=offline)
        _tell_data(splits, say)
        experiment = resolved_for(experiment, splits, device)
        run.write_spec(to_yaml(experiment))
        run.write_data(splits.describe())
        run.write_split({part: examples.ids for part, examples in splits.parts.items() if _is_own(splits, part)})
        _fit(experiment, splits, run, reporter, say)
        _score(experiment, splits, run)
        run.update_status(state="completed", finished=now())
    return run


def _teller(run: Run, reporter: Reporter) -> Any:
    def say(line: str) -> None:
        run.log(line)
        reporter.say(line)

    return say


@contextmanager
def recorded_failure(run: Run) -> Iterator[None]:
    """Records in the run folder why the block ended, if not well. Signals become Interrupted, lack of memory RunFailed."""
    try:
        with signals_as_exceptions():
            yield
    except (KeyboardInterrupt, Interrupted) as error:
        _record(run, "interrupted", str(error) or "stopped by SIGINT")
        raise Interrupted(f"{error}; the history and the best epoch so far are kept in {run.path}") from None
    except BaseException as error:
        text = out_of_memory(error) or str(error) or type(error).__name__
        _record(run, "failed", text)
        if out_of_memory(error):
            raise RunFailed(text) from error
        raise


def _record(run: Run, state: State, text: str) -> None:
    run.log(f"{state}: {text}")
    run.update_status(state=state, finished=now(), error=text)


def out_of_memory(error: BaseException) -> str:
    """Returns the words for an error of exhausted memory; empty for any other."""
    name = type(error).__name__
    if name == "ResourceExhaustedError" or isinstance(error, MemoryError):
        return "out of memory; try a smaller `data.batch_size` (half of it first), or smaller images"
    return ""


def _is_own(splits: Splits, part: str) -> bool:
    """Whether a part holds examples of its own, not those of the validation part."""
    return part != "test" or splits.parts["test"] is not splits.parts.get("validation")


def _tell_data(splits: Splits, say: Any) -> None:
    sizes = ", ".join(f"{len(examples):,} {part}" for part, examples in splits.parts.items())
    shape = f"shape {splits.shape}" if splits.shape else f"{len(splits.train.inputs)} columns"
    classes = f", {len(splits.classes)} classes" if splits.task in ("classification", "binary") else ""
    say(f"data: {sizes}; {shape}{classes}")
    for note in splits.notes:
        say(f"note: {note}")


def resolved_for(experiment: Experiment, splits: Splits, device: Device) -> Experiment:
    """Returns the experiment with every `auto` resolved that data and machine decide.

    Raises:
        RunFailed: the model does not fit the data's shape, where only opening the data could tell.
    """
    data = experiment.data
    normalize = ("unit" if splits.is_image else "standard") if data.normalize == "auto" else data.normalize
    image = data.image
    if splits.is_image and splits.shape:
        image = image.model_copy(update={"size": splits.shape[:2], "channels": splits.shape[2]})
    batch_size = len(splits.train) if data.batch_size == "full" else int(data.batch_size)
    steps = -(-len(splits.train) // batch_size) * experiment.training.epochs
    training = _monitored(experiment, splits).training
    training = training.model_copy(update={"optimizer": training.optimizer.for_steps(steps)})
    hardware = experiment.hardware.model_copy(update={"precision": device.precision})
    resolved = experiment.model_copy(
        update={
            "data": data.model_copy(
                update={"normalize": normalize, "image": image, "split": _resolved_split(data.split, splits)}
            ),
            "training": training,
            "hardware": hardware,
        }
    )
    _refuse_misfit(resolved, splits)
    return resolved


def _resolved_split(settings: SplitSettings, splits: Splits) -> SplitSettings:
    """Returns the split with each `auto` said: the source's own part, or the share that was drawn."""
    said = {
        part: ("source" if part in splits.given else share)
        for part, share in DEFAULT_SHARES.items()
        if getattr(settings, part) == "auto"
    }
    return settings.model_copy(update=said)


def _monitored(experiment: Experiment, splits: Splits) -> Experiment:
    """Returns the experiment with monitors of the training values where the data has no validation part."""
    if "validation" in splits.parts:
        return experiment
    training = experiment.training

    def plain(name: str) -> str:
        return name.removeprefix("val_")

    callbacks = [
        one.model_copy(update={"monitor": plain(one.monitor)}) if hasattr(one, "monitor") else one for one in training.callbacks
    ]
    update = {"monitor": plain(training.monitor), "callbacks": callbacks}
    return experiment.model_copy(update={"training": training.model_copy(update=update)})


def _refuse_misfit(experiment: Experiment, splits: Splits) -> None:
    from dlcli.spec.layers import ShapeError

    if splits.shape is None:
        return
    try:
        experiment.model.output_shape(splits.shape)
    except ShapeError as error:
        place = ".".join(map(str, ("model", *error.place)))
        raise RunFailed(f"{place}: {error} (the data's examples have shape {splits.shape})") from None


def _fit(experiment: Experiment, splits: Splits, run: Run, reporter: Reporter, say: Any) -> None:
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
    callbacks = [*_scores(experiment, splits, built), *_averaged(experiment), recorder, *chosen, *_tensorboard(experiment, run)]
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
    """Returns the callbacks that put the moving average of the weights in place for validation and for saving."""
    if not experiment.training.optimizer.use_ema:
        return []
    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=False), keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]


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


def _tell_end(recorder: Recorder, experiment: Experiment, reason: str, run: Run, say: Any) -> None:
    epochs, best = len(recorder.rows), recorder.best
    if not best.epoch:
        raise RunFailed(f"{experiment.training.monitor} was never a number: no epoch can be called the best")
    run.update_status(reason=reason)
    if reason:
        say(f"{reason}; stopped after epoch {epochs} of {experiment.training.epochs}")
    say(f"best epoch: {best.epoch} ({experiment.training.monitor} {best.value:.4f}); its model is kept")


def _score(experiment: Experiment, splits: Splits, run: Run) -> None:
    """Scores the kept model, loaded again from its file, on the test part; on the validation part where there is none."""
    from dlcli.stages.plots import draw_curves

    evaluate_model(experiment, splits, run, default_split(splits))
    draw_curves(run)
