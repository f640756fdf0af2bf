"""Run -> scores: one pass of predictions, from which all scores and tables are computed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
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
from dlcli.runs.layout import OUT_OF_FOLD
from dlcli.runs.notable_texts import write_notable_texts
from dlcli.runs.scored_splits import split_note
from dlcli.runtime.helper_process import Work, submit
from dlcli.runtime.loading import load_model
from dlcli.runtime.loop import Listening
from dlcli.runtime.stream import data_errors
from dlcli.score.calibration import fit_temperature
from dlcli.score.details import notable_examples
from dlcli.score.examples import write_examples
from dlcli.score.intervals import dependent, group_notes, loss_estimate, metric_estimate
from dlcli.score.losses import losses_of
from dlcli.score.members import Members, member_outputs
from dlcli.score.notable_texts import notable_texts
from dlcli.score.outcome import Outcome
from dlcli.score.record import Evaluation, Scores, scores_of, write_evaluation
from dlcli.score.slices import columns_asked_for, columns_of, slices
from dlcli.score.words import Occlusion
from dlcli.spec.data.sources import Examples
from dlcli.spec.experiment import Experiment
from dlcli.tasks import Decisions, Task

_MOST_BYTES = 100_000_000
"""The most bytes of predictions that the helper process gets; they are in memory twice then."""
_ID_BYTES = 100
"""Bytes of the id of an example in memory."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What an evaluation computes beyond the scores.

    Attributes:
        slices: columns whose values group the examples.
        costs: of a false positive and of a false negative, for the threshold with the least cost.
        calibrate: whether a temperature is fitted on the validation split and stored in the run.
    """

    slices: Sequence[str] = ()
    costs: tuple[float, float] | None = None
    calibrate: bool = False


def evaluate(
    run: RunFolder, split: str, *, offline: bool = False, data: str = "", options: EvaluateOptions | None = None
) -> Scores:
    """Scores a run's model on one of its splits, or on other data, and writes `evaluation/<split>/`.

    Args:
        run: the run; only its folder and the data are needed.
        split: train, validation or test; empty for the test split, or the validation split where there is no test split.
        offline: whether nothing may be fetched.
        data: a folder, table or npz file of the same kind as the run's own source, to be scored instead.
        options: what else is computed.

    Raises:
        UsageError: the run has no model yet, no such split, or its source takes no other data.
        DataError: the data cannot be read, has changed since the training, or does not fit the model.
    """
    options = options or EvaluateOptions()
    if not data and (stored := _out_of_fold(run, split)):
        if options != EvaluateOptions():
            raise UsageError("out-of-fold scores are stored: slices, costs and a temperature need another split (--split)")
        return stored
    with open_run(run, "evaluate", offline=offline, same_threads=True) as opened:
        _refuse_missing(split, run.data().get("examples", {}))
        _refuse_misfit(options, opened.task, data)
        if data:
            return _evaluate_other(opened, Path(data), split, options)
        splits = opened.splits_with(columns_asked_for(opened.experiment.data.source, options.slices))
        _refuse_missing(split, splits.by_name)
        if options.calibrate:
            calibrate(opened.experiment, splits, run)
        return evaluate_model(opened.experiment, splits, run, split or splits.scored, options)


def _out_of_fold(run: RunFolder, split: str) -> Scores | None:
    """Returns the stored out-of-fold scores of a cross-validation: if they are named, or if no examples are held out."""
    if split not in ("", OUT_OF_FOLD) or OUT_OF_FOLD not in run.scored_splits():
        return None
    if not split and "test" in run.data().get("examples", {}):
        return None
    note = "" if split else "no examples are held out, so the scores are those of the predictions out of fold, as stored"
    scores = scores_of(run.metrics(OUT_OF_FOLD))
    return replace(scores, notes=[*scores.notes, *filter(None, [note])])


def _refuse_misfit(options: EvaluateOptions, task: Task, data: str) -> None:
    """Raises UsageError for options that do not fit the task or the data."""
    if options.calibrate and not isinstance(task.output, Decisions):
        raise UsageError(f"--calibrate is for probabilities; the task of this run is {task}")
    if options.costs and not task.output.has_thresholds:
        raise UsageError(f"--cost chooses thresholds of binary and multilabel tasks; the task of this run is {task}")
    if options.calibrate and data:
        raise UsageError("--calibrate uses the validation split of the run: omit --data")


def _evaluate_other(opened: OpenRun, path: Path, split: str, options: EvaluateOptions) -> Scores:
    if split:
        raise UsageError("--data is scored as a whole: omit --split")
    run, experiment = opened.run, opened.experiment
    columns = columns_asked_for(experiment.data.source, options.slices, elsewhere=True)
    other = open_other(experiment, run, path, offline=opened.offline, side_columns=columns)
    refuse_other_type(opened.model, other.examples.inputs, experiment, path)
    scored_data = ScoredData(other.name, other.examples, other.classes, other.source, other.notes)
    return score_data(experiment, run, scored_data, run.data(), options)


def _refuse_missing(split: str, splits: Iterable[str]) -> None:
    if split and split not in splits:
        raise UsageError(f"this run has no {split} split; it has {', '.join(splits)}")


@dataclass(frozen=True)
class ScoredData:
    """Examples to be scored, with their name, their classes and the source of their further columns.

    `notes` say which examples of other data are not scored; those of the run's own data are in its `data.json`.
    """

    name: str
    examples: Examples
    classes: tuple[str, ...]
    source: Any
    notes: tuple[str, ...] = ()


def evaluate_model(
    experiment: Experiment, splits: Splits, run: RunFolder, split: str, options: EvaluateOptions | None = None
) -> Scores:
    """Scores the run's saved model on one split of its data and writes `evaluation/<split>/`."""
    return begin_evaluation(experiment, splits, run, split, options).finish()


def begin_evaluation(
    experiment: Experiment, splits: Splits, run: RunFolder, split: str, options: EvaluateOptions | None = None
) -> PendingEvaluation:
    """Scores the run's saved model on one split of its data; the helper process writes `evaluation/<split>/` meanwhile."""
    scored_data = ScoredData(split, splits[split], splits.classes, experiment.data.source)
    data = splits.describe() | {"gaps": gaps_of(splits.train.inputs)}
    return _begin(experiment, run, scored_data, data, options or EvaluateOptions())


@dataclass(frozen=True)
class PendingEvaluation:
    """An evaluation that has its scores, and whose files are being written."""

    scores: Scores
    work: Work[None]
    check: Callable[[], None]

    def finish(self) -> Scores:
        """Returns the scores once the files are written.

        Raises:
            RunFailed: the run's model was replaced meanwhile.
            OSError: a file cannot be written.
        """
        try:
            self.work.result()
        except FileNotFoundError:  # a better model that is saved removes the folder of the scores
            self.check()
            raise
        self.check()
        return self.scores


def score_data(
    experiment: Experiment, run: RunFolder, scored_data: ScoredData, data: dict[str, Any], options: EvaluateOptions
) -> Scores:
    """Scores the run's saved model on `scored_data` and writes `evaluation/<name>/`; `data` are the contents of `data.json`."""
    return _begin(experiment, run, scored_data, data, options).finish()


def _begin(
    experiment: Experiment, run: RunFolder, scored_data: ScoredData, data: dict[str, Any], options: EvaluateOptions
) -> PendingEvaluation:
    columns = columns_of(scored_data.source, scored_data.examples, options.slices) if options.slices else {}
    metrics = experiment.training.metrics or []
    with _same_model(run) as check:
        model = _model_for(experiment, run, scored_data)
        outcome = with_losses(experiment, predict_examples(experiment, scored_data, model))
        unfamiliar = notes_on(model, scored_data.examples.inputs, data.get("gaps"))
        notes = [*scored_data.notes, *unfamiliar, *group_notes(outcome.groups, are_blocks=outcome.task.output.needs_series)]
        scores = replace(score_outcome(experiment, outcome, data), notes=notes)
        check()
        folder = run.made_evaluation(scored_data.name)
        _write_notable(folder, outcome, scored_data.examples, occlusion_of(experiment, run, scored_data.examples, model))
        groups = slices(outcome, columns, metrics) if columns else []
        note = split_note(run, scored_data.name)
        evaluation = Evaluation(outcome, scores, metrics, run.temperature(), options.costs, note, groups)
        if experiment.model.members:
            evaluation = replace(evaluation, members=_members(experiment, scored_data, model).entries(outcome, metrics))
        work = _written(folder, evaluation)
    return PendingEvaluation(scores, work, check)


def score_predictions(
    experiment: Experiment, run: RunFolder, outcome: Outcome, examples: Examples, data: dict[str, Any]
) -> Scores:
    """Scores predictions for examples and writes `evaluation/<split>/`; `data` are the contents of `data.json`."""
    scores, metrics = score_outcome(experiment, outcome, data), experiment.training.metrics or []
    scores = replace(scores, notes=[*scores.notes, *group_notes(outcome.groups, are_blocks=outcome.task.output.needs_series)])
    folder = run.made_evaluation(outcome.split)
    _write_notable(folder, outcome, examples, None)
    _written(folder, Evaluation(outcome, scores, metrics)).result()
    return scores


def _write_notable(folder: Path, outcome: Outcome, examples: Examples, occlusion: Occlusion | None) -> None:
    """Writes the notable examples, with small pictures of images and excerpts of texts."""
    notable = notable_examples(outcome)
    write_examples(folder, notable, examples, images=examples.inputs.kind == "images")
    if examples.inputs.text_columns:
        write_notable_texts(folder, notable_texts(notable, examples, outcome, occlusion))


def occlusion_of(experiment: Experiment, run: RunFolder, examples: Examples, model: Any) -> Occlusion | None:
    """Returns what replaces words of a run's texts; None for examples without texts."""
    if not examples.inputs.text_columns:
        return None
    names = tuple(run.data().get("classes") or ())
    text, layout = experiment.data.text, examples.inputs.layout
    return Occlusion(model, layout, text, run.vocabularies(), experiment.task, names)


def _written(folder: Path, evaluation: Evaluation) -> Work[None]:
    """Has the files of an evaluation written, by the helper process unless it would need too much memory."""
    scores = evaluation.outcome.scores
    if scores is not None and scores.nbytes + _ID_BYTES * len(evaluation.outcome) > _MOST_BYTES:
        return Work(partial(write_evaluation, folder, evaluation))
    return submit(write_evaluation, folder, evaluation)


@contextmanager
def _same_model(run: RunFolder) -> Iterator[Callable[[], None]]:
    """Raises RunFailed, where the yielded function is called and at the end, if the run's model was replaced meanwhile: the
    scores would be stored beside another model, and a better model that is saved removes the folder of its scores."""

    def file_identity() -> tuple[int, int, int]:
        status = run.model_path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    loaded = file_identity()

    def check() -> None:
        if file_identity() != loaded:
            raise RunFailed(f"{run.id} has saved a better model during the evaluation: evaluate it again")

    try:
        yield check
    except FileNotFoundError:
        check()
        raise
    check()


def _model_for(experiment: Experiment, run: RunFolder, scored_data: ScoredData) -> Any:
    """Returns the run's saved model, which accepts these examples."""
    example = scored_data.examples.inputs.shape or ()
    task = experiment.task
    model = load_model(run.model_path, output=task.output.shape(task.units(len(scored_data.classes)), example))
    refuse_other_inputs(model, scored_data.examples.inputs, run.model_path)
    return model


def predict_examples(experiment: Experiment, scored_data: ScoredData, model: Any) -> Outcome:
    """Returns the saved model's predictions beside the labels."""
    examples = scored_data.examples
    scores = predictions(model, prediction_batches(examples.inputs, experiment, len(examples)), experiment)
    not_finite = np.flatnonzero(~np.isfinite(scores.reshape(len(scores), -1)).all(axis=1))
    if len(not_finite):
        raise RunFailed(
            f"the model's output for {len(not_finite):,} of {len(scores):,} examples of {scored_data.name} is not a number,"
            f" first for {examples.ids[not_finite[0]]}: they cannot be scored"
        )
    return Outcome(
        experiment.task,
        scored_data.name,
        list(examples.ids),
        scored_data.classes,
        examples.targets,
        scores,
        groups=examples.groups,
        naive=experiment.task.output.naive(examples.inputs),
    )


def _members(experiment: Experiment, scored_data: ScoredData, model: Any) -> Members:
    """Returns the outcomes of an ensemble's members on the same examples."""
    examples = scored_data.examples
    outputs = member_outputs(experiment, model, prediction_batches(examples.inputs, experiment, len(examples)))
    plain = Outcome(
        experiment.task,
        scored_data.name,
        list(examples.ids),
        scored_data.classes,
        examples.targets,
        None,
        groups=examples.groups,
    )
    return Members({run: with_losses(experiment, replace(plain, scores=scores)) for run, scores in outputs.items()})


def with_losses(experiment: Experiment, outcome: Outcome) -> Outcome:
    """Returns the outcome with the loss of each example that counts; without losses, where the loss has one value for all."""
    assert outcome.scores is not None
    losses, counted = losses_of(experiment, len(outcome.classes), outcome.truth, outcome.scores)
    return replace(outcome, losses=losses) if losses.ndim and np.isfinite(losses[counted]).all() else outcome


def score_outcome(experiment: Experiment, outcome: Outcome, data: dict[str, Any]) -> Scores:
    """Returns the scores of an outcome with their intervals, and the baseline's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of classes that a split lacks
        return _with_intervals(experiment, outcome, data)


def _with_intervals(experiment: Experiment, outcome: Outcome, data: dict[str, Any]) -> Scores:
    truth, scores, task, groups = outcome.truth, outcome.scores, outcome.task, outcome.groups
    assert scores is not None
    losses, counted = losses_of(experiment, len(outcome.classes), truth, scores)
    estimates = {"loss": dependent(loss_estimate(losses[counted]), None if groups is None else groups[counted], task)}
    for metric in experiment.training.metrics or []:
        estimates[metric.name] = dependent(metric_estimate(metric, truth, scores, task), groups, task)
    name, baseline_scores = outcome.naive or task.output.guess(outcome.classes, data, len(outcome))
    baseline = {} if baseline_scores is None else _metric_values(experiment, truth, baseline_scores)
    values = {metric: estimate.value for metric, estimate in estimates.items()}
    intervals = {metric: estimate.interval for metric, estimate in estimates.items()}
    reasons = {metric: estimate.reason for metric, estimate in estimates.items()}
    return Scores(outcome.split, len(outcome), values, intervals, baseline, name, reasons)


def calibrate(experiment: Experiment, splits: Splits, run: RunFolder) -> float:
    """Fits a temperature on the validation split, stores it in the run's `calibration.json` and returns it.

    Raises:
        UsageError: the run has no validation split.
    """
    if splits.validation is None:
        raise UsageError(f"{run.id} has no validation split to fit a temperature on")
    scored_data = ScoredData("validation", splits.validation, splits.classes, experiment.data.source)
    with _same_model(run) as check:
        outcome = predict_examples(experiment, scored_data, _model_for(experiment, run, scored_data))
        if (outcome.predicted == outcome.truth).all():
            raise UsageError(f"all {len(outcome):,} validation predictions are correct, so no temperature can be fitted")
        temperature = fit_temperature(outcome)
        check()
        run.write_temperature(temperature, scored_data.name, len(scored_data.examples))
    return temperature


def predictions(model: Any, batches: Any, experiment: Experiment, before_batch: Callable[[], None] | None = None) -> Array:
    """Returns the scores of all inputs, in order: `(n, classes)`, of both classes for binary; `(n, labels)`, `(n, targets)`.

    `before_batch` is called before every batch; an exception of it ends the prediction.
    """
    # An uncompiled model would select XLA on every GPU, and compile again for the last batch.
    model.jit_compile = experiment.hardware.xla
    with data_errors():
        output = np.asarray(model.predict(batches, verbose=0, callbacks=[Listening(before_batch)] if before_batch else None))
    return experiment.task.output.scores(output)


def _metric_values(experiment: Experiment, truth: Array, scores: Array) -> dict[str, float]:
    return {metric.name: metric.score(truth, scores, experiment.task) for metric in experiment.training.metrics or []}
