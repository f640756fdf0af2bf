"""Run -> scores: one pass of predictions, then everything that can be told from them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.batches import prediction_batches
from dlcli.data.inputs import refuse_other_inputs, refuse_other_type
from dlcli.data.open_run import OpenRun, open_run
from dlcli.data.other_data import open_other
from dlcli.data.splits import Splits
from dlcli.data.unfamiliar import gaps_of, notes_on
from dlcli.errors import RunFailed, UsageError
from dlcli.runs import RunFolder
from dlcli.runs.scored_splits import split_note
from dlcli.runtime.engine import keras
from dlcli.runtime.loading import load_model
from dlcli.runtime.loop import Listening
from dlcli.runtime.stream import data_errors
from dlcli.score.calibration import fit_temperature
from dlcli.score.examples import notable_examples, write_examples
from dlcli.score.intervals import loss_estimate, metric_estimate
from dlcli.score.outcome import Outcome
from dlcli.score.record import Scores, write_calibration, write_curves, write_scores, write_slices, write_tables
from dlcli.score.slices import columns_of, slices
from dlcli.spec.data.sources import Examples
from dlcli.spec.experiment import Experiment
from dlcli.tasks import Decisions, Task


@dataclass(frozen=True)
class EvaluateOptions:
    """What an evaluation is asked for beyond the scores.

    Attributes:
        slices: columns whose values group the examples.
        costs: of a false yes and of a false no, for the threshold with the least cost.
        calibrate: whether a temperature is fitted on the validation part and kept in the run.
    """

    slices: Sequence[str] = ()
    costs: tuple[float, float] | None = None
    calibrate: bool = False


def evaluate(
    run: RunFolder, split: str, *, offline: bool = False, data: str = "", options: EvaluateOptions | None = None
) -> Scores:
    """Scores a run's model on one of its parts, or on other data, and writes `evaluation/<split>/`.

    Args:
        run: the run; its folder is all that is needed beside the data.
        split: train, validation or test; empty for the test part, or the validation part where there is no test part.
        offline: whether nothing may be fetched.
        data: a folder, table or npz file of the same kind as the run's own source, to be scored instead.
        options: what else is computed.

    Raises:
        UsageError: the run has no model yet, no such part, or its source takes no other data.
        DataError: the data cannot be read, has changed since the training, or does not fit the model.
    """
    options = options or EvaluateOptions()
    with open_run(run, offline=offline, same_threads=True) as opened:
        _refuse_missing(split, run.data().get("examples", {}))
        _refuse_misfit(options, opened.task, data)
        if data:
            return _evaluate_other(opened, Path(data), split, options)
        splits = opened.splits
        _refuse_missing(split, splits.by_name)
        if options.calibrate:
            calibrate(opened.experiment, splits, run)
        return evaluate_model(opened.experiment, splits, run, split or splits.scored, options)


def _refuse_misfit(options: EvaluateOptions, task: Task, data: str) -> None:
    """Raises UsageError for options that do not fit the task or the data."""
    if options.calibrate and not isinstance(task.output, Decisions):
        raise UsageError("--calibrate is for probabilities; this run is a regression")
    if options.costs and not task.output.has_thresholds:
        raise UsageError(f"--cost chooses thresholds of binary and multilabel tasks; the task of this run is {task}")
    if options.calibrate and data:
        raise UsageError("--calibrate uses the validation split of the run: omit --data")


def _evaluate_other(opened: OpenRun, path: Path, split: str, options: EvaluateOptions) -> Scores:
    if split:
        raise UsageError("--data is scored as a whole: omit --split")
    run, experiment = opened.run, opened.experiment
    other = open_other(experiment, run, path, offline=opened.offline)
    refuse_other_type(opened.model, other.examples.inputs, experiment, path)
    part = ScoredData(other.name, other.examples, other.classes, other.source, other.notes)
    return score_data(experiment, run, part, run.data(), options)


def _refuse_missing(split: str, parts: Iterable[str]) -> None:
    if split and split not in parts:
        raise UsageError(f"this run has no {split} split; it has {', '.join(parts)}")


@dataclass(frozen=True)
class ScoredData:
    """Examples to be scored: under which name, with which classes, and the source that knows more columns of them.

    `notes` say what of other data is not scored; those of the run's own are in its `data.json`.
    """

    name: str
    examples: Examples
    classes: tuple[str, ...]
    source: Any
    notes: tuple[str, ...] = ()


def evaluate_model(
    experiment: Experiment, splits: Splits, run: RunFolder, split: str, options: EvaluateOptions | None = None
) -> Scores:
    """Scores the run's saved model on one part of its data and writes `evaluation/<split>/`."""
    part = ScoredData(split, splits[split], splits.classes, experiment.data.source)
    data = splits.describe() | {"gaps": gaps_of(splits.train.inputs)}
    return score_data(experiment, run, part, data, options or EvaluateOptions())


def score_data(
    experiment: Experiment, run: RunFolder, part: ScoredData, data: dict[str, Any], options: EvaluateOptions
) -> Scores:
    """Scores the run's saved model on some examples and writes `evaluation/<name>/`; `data` is what `data.json` holds."""
    columns = columns_of(part.source, part.examples, options.slices) if options.slices else {}
    with _same_model(run) as check:
        model = _model_for(experiment, run, part)
        outcome = with_losses(experiment, predicted(experiment, part, model))
        unfamiliar = notes_on(model, part.examples.inputs, data.get("gaps"))
        scores = replace(scored(experiment, outcome, data), notes=[*part.notes, *unfamiliar])
        check()
        folder = run.made_evaluation(part.name)
        write_tables(folder, outcome)
        calibration = write_calibration(folder, outcome, run.temperature())
        chosen = write_curves(folder, outcome, options.costs)
        write_examples(folder, notable_examples(outcome), part.examples, images=part.examples.inputs.kind == "images")
        if columns:
            write_slices(folder, slices(outcome, columns, experiment.training.metrics or []))
        texts = {"note": split_note(run, part.name), "notes": scores.notes}
        write_scores(folder, outcome, scores, **texts, calibration=calibration, thresholds=chosen)
    return scores


@contextmanager
def _same_model(run: RunFolder) -> Iterator[Callable[[], None]]:
    """Raises RunFailed, where the yielded function is called and at the end, if the run's model was replaced meanwhile: what is
    written would stand beside another one, and a better model takes the folder of its scores away."""

    def seen() -> tuple[int, int, int]:
        found = run.model_path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    loaded = seen()

    def check() -> None:
        if seen() != loaded:
            raise RunFailed(f"{run.id} has saved a better model during the evaluation: evaluate it again")

    try:
        yield check
    except FileNotFoundError:
        check()
        raise
    check()


def _model_for(experiment: Experiment, run: RunFolder, part: ScoredData) -> Any:
    """Returns the run's saved model, which takes the part's examples."""
    model = load_model(run.model_path, outputs=experiment.task.units(len(part.classes)))
    refuse_other_inputs(model, part.examples.inputs, run.model_path)
    return model


def predicted(experiment: Experiment, part: ScoredData, model: Any) -> Outcome:
    """Returns the saved model's predictions of some examples beside their labels."""
    examples = part.examples
    scores = predictions(model, prediction_batches(examples.inputs, experiment, len(examples)), experiment)
    odd = np.flatnonzero(~np.isfinite(scores.reshape(len(scores), -1)).all(axis=1))
    if len(odd):
        raise RunFailed(
            f"the model's output for {len(odd):,} of {len(scores):,} examples of {part.name} is not a number, first for"
            f" {examples.ids[odd[0]]}: they cannot be scored"
        )
    return Outcome(experiment.task, part.name, examples.ids, part.classes, examples.targets, scores)


def with_losses(experiment: Experiment, outcome: Outcome) -> Outcome:
    """Returns the outcome with the loss of each example that counts; without, where the loss is one number for all of them."""
    assert outcome.scores is not None
    losses, counted = _losses(experiment, len(outcome.classes), outcome.truth, outcome.scores)
    return replace(outcome, losses=losses) if losses.ndim and np.isfinite(losses[counted]).all() else outcome


def scored(experiment: Experiment, outcome: Outcome, data: dict[str, Any]) -> Scores:
    """Returns the scores of an outcome with their intervals, and the baseline's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of classes that a part lacks
        return _with_intervals(experiment, outcome, data)


def _with_intervals(experiment: Experiment, outcome: Outcome, data: dict[str, Any]) -> Scores:
    truth, scores, task = outcome.truth, outcome.scores, outcome.task
    assert scores is not None
    losses = each_loss(experiment, len(outcome.classes), truth, scores)
    estimates = {"loss": loss_estimate(losses)}
    estimates |= {one.name: metric_estimate(one, truth, scores, task) for one in experiment.training.metrics or []}
    name, guess = task.output.guess(outcome.classes, data, len(outcome))
    compared = {} if guess is None else _scored(experiment, truth, guess)
    values = {metric: estimate.value for metric, estimate in estimates.items()}
    intervals = {metric: estimate.interval for metric, estimate in estimates.items()}
    reasons = {metric: estimate.reason for metric, estimate in estimates.items()}
    return Scores(outcome.split, len(outcome), values, intervals, compared, name, reasons)


def calibrate(experiment: Experiment, splits: Splits, run: RunFolder) -> float:
    """Fits a temperature on the validation part, keeps it in the run's `calibration.json` and returns it.

    Raises:
        UsageError: the run has no validation part.
    """
    if splits.validation is None:
        raise UsageError(f"{run.id} has no validation split to fit a temperature on")
    part = ScoredData("validation", splits.validation, splits.classes, experiment.data.source)
    with _same_model(run) as check:
        outcome = predicted(experiment, part, _model_for(experiment, run, part))
        if (outcome.predicted == outcome.truth).all():
            raise UsageError(f"all {len(outcome):,} validation predictions are correct, so no temperature can be fitted")
        temperature = fit_temperature(outcome)
        check()
        run.write_temperature(temperature, part.name, len(part.examples))
    return temperature


def predictions(model: Any, batches: Any, experiment: Experiment, heard: Callable[[], None] | None = None) -> Array:
    """Returns the scores of all inputs, in order: `(n, classes)`, of both classes for binary; `(n, labels)`, `(n, targets)`.

    `heard` is called before every batch; what it raises ends the prediction.
    """
    # An uncompiled model would choose XLA by itself wherever there is a GPU, and compile it anew for the last batch.
    model.jit_compile = experiment.hardware.xla
    with data_errors():
        output = np.asarray(model.predict(batches, verbose=0, callbacks=[Listening(heard)] if heard else None))
    return experiment.task.output.scores(output)


def _scored(experiment: Experiment, truth: Array, scores: Array) -> dict[str, float]:
    return {metric.name: metric.score(truth, scores, experiment.task) for metric in experiment.training.metrics or []}


def mean_loss(experiment: Experiment, outputs: int, truth: Array, scores: Array) -> float:
    """Returns the mean loss over the examples that count, without regularisation penalties; no number where none counts."""
    return _mean(each_loss(experiment, outputs, truth, scores))


def _mean(losses: Array) -> float:
    return float(np.mean(losses)) if losses.size else float("nan")


def each_loss(experiment: Experiment, outputs: int, truth: Array, scores: Array) -> Array:
    """Returns the loss of every example that counts, float64 `(n,)`, without regularisation penalties.

    Dice's loss is one number for all of them, `()`.
    """
    losses, counted = _losses(experiment, outputs, truth, scores)
    each: Array = losses[counted]
    return each


def _losses(experiment: Experiment, outputs: int, truth: Array, scores: Array) -> tuple[Array, Any]:
    """Returns the loss of every example, and which examples count: no number stands for the others."""
    loss, output = experiment.training.loss, experiment.task.output
    labels = output.labels(truth)
    if labels.ndim == 1 and not loss.integer_labels:
        labels = keras.utils.to_categorical(truth, outputs)
    tensors = (keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(output.model_output(scores)))
    losses, counted = np.asarray(loss.each(*tensors), dtype="float64"), loss.counted(truth)
    return (losses, ...) if counted is None else (np.where(counted, losses, np.nan), counted)
