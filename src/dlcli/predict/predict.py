"""Run -> answers for new examples: they are read as in training and predicted batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.batches import prediction_batch
from dlcli.data.inputs import ModelInputs, inputs_of_model
from dlcli.data.open_run import OpenRun, open_run
from dlcli.data.unfamiliar import Unfamiliar
from dlcli.errors import DataError, UsageError
from dlcli.predict.answers import Answers
from dlcli.predict.batch import Batch, Skip
from dlcli.predict.inputs import batches, matching_files
from dlcli.predict.memory import Columns, memory_batches
from dlcli.predict.series import refuse_mixed, series_batches
from dlcli.predict.texts import are_cells, file_note, memory_texts, only_text_column, text_files_of
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.failures import failures_in_words
from dlcli.runtime.images import is_deep_file
from dlcli.spec.data.sources.series import Series
from dlcli.spec.experiment import Experiment
from dlcli.tasks import Decisions, Task


@dataclass(frozen=True)
class Prediction:
    """A prepared prediction: a loaded model and the examples that it will predict."""

    run: RunFolder
    experiment: Experiment
    classes: tuple[str, ...]
    model: Any
    batches: Callable[[int, Skip], Iterator[Batch]]
    """Yields the examples in batches of a given size."""
    notes: tuple[str, ...]
    temperature: float | None
    unfamiliar: Unfamiliar | None = None
    """Counts values that did not occur in training; None where inputs are no columns."""
    row_notes: list[str] = field(default_factory=list)
    """Notes on unusual rows of tables, filled while they are read."""

    def answers(self, skip: Skip) -> Iterator[Answers]:
        """Yields the answers batch by batch; `skip` is called for every skipped example or file.

        Raises:
            DataError: nothing could be predicted.
        """
        has_answers = False
        size = prediction_batch(self.experiment)
        with failures_in_words(self.run):
            for batch in self.batches(size, skip):
                self.row_notes.extend(batch.notes)
                if not batch.ids:
                    continue
                if self.unfamiliar is not None:
                    self.unfamiliar.add(batch.inputs.columns)
                answers = self._finite_answers(batch.ids, self._scores(batch), skip)
                has_answers = has_answers or bool(answers.ids)
                yield answers
        if not has_answers:
            raise DataError("no predictions: no example could be read")

    def _finite_answers(self, ids: list[str], scores: Array, skip: Skip) -> Answers:
        """Returns the answers whose scores are finite."""
        finite = np.atleast_1d(np.isfinite(scores.reshape(len(scores), -1)).all(axis=1))
        for example_id, is_finite in zip(ids, finite, strict=True):
            if not is_finite:
                skip(example_id, "the model's output is not a number")
        finite_ids = [example_id for example_id, is_finite in zip(ids, finite, strict=True) if is_finite]
        return Answers(self.experiment.task, self.classes, finite_ids, scores[finite])

    def _scores(self, batch: Batch) -> Array:
        inputs = batch.inputs.read(np.arange(len(batch.ids)))
        output = self.experiment.task.output
        scores = output.scores(np.asarray(self.model.predict_on_batch(inputs)))
        if self.temperature is None:
            return scores
        from dlcli.score.calibration import calibrated

        calibrated_scores = calibrated(scores, self.temperature, self.experiment.task)
        return output.scores(output.model_output(calibrated_scores).astype("float32"))


def prepare(run: RunFolder, names: Sequence[str], *, calibrate: bool = False) -> Prediction:
    """Loads a run's model and finds the files that a user names.

    Args:
        run: the run.
        names: files, folders, patterns, or `-` for stdin.
        calibrate: whether probabilities are divided by the run's temperature.

    Raises:
        UsageError: the run has no model or no calibration, or a name matches no file.
        DamagedFile: the model is not the run's.
    """
    opened, model_inputs = _opened(run)
    if list(names).count("-") > 1:
        raise UsageError("`-` is stdin, which can be read once")
    of_series, of_texts = isinstance(opened.experiment.data.source, Series), text_files_of(opened.experiment) is not None
    files, ignored = matching_files(names, model_inputs.kind, reads_series=of_series, text_files=of_texts)
    if not files:
        raise DataError("; ".join(["nothing to predict: no suitable file", *ignored.notes()]))
    notes = (*ignored.notes(), *(_depth_notes(files, opened.experiment) if model_inputs.kind == "images" else ()))

    if of_series and refuse_mixed(files, opened.experiment):
        data = run.data()

        def read_series(size: int, skip: Skip) -> Iterator[Batch]:
            return series_batches(files, opened.experiment, data, size=size, skip=skip)

        return _prediction(opened, model_inputs, read_series, notes, calibrate=calibrate)

    def read(size: int, skip: Skip) -> Iterator[Batch]:
        return batches(files, model_inputs, opened.experiment, size=size, skip=skip)

    return _prediction(opened, model_inputs, read, notes, calibrate=calibrate)


def prepare_examples(run: RunFolder, examples: Array | Columns, *, calibrate: bool = False) -> Prediction:
    """Loads a run's model for examples in memory.

    Args:
        run: the run.
        examples: an array `(n, ...)` of images (uint8, 0 to 255) or numbers, or the columns of a table.
        calibrate: whether probabilities are divided by the run's temperature.

    Raises:
        UsageError: the run has no model or no calibration.
        DamagedFile: the model is not the run's.
    """
    opened, model_inputs = _opened(run)

    def read(size: int, skip: Skip) -> Iterator[Batch]:
        return memory_batches(examples, model_inputs, opened.experiment, size=size, skip=skip)

    return _prediction(opened, model_inputs, read, (), calibrate=calibrate)


def prepare_texts(run: RunFolder, texts: Sequence[str], *, calibrate: bool = False) -> Prediction:
    """Loads a run's model, whose only column has texts, for texts in memory; each is named by its position, from 0.

    Raises:
        UsageError: the run has no model or no calibration.
        DamagedFile: the model is not the run's.
    """
    opened, model_inputs = _opened(run)
    layout, column = model_inputs.layout, only_text_column(model_inputs.layout)
    assert layout is not None  # as of every model of texts

    def read(size: int, skip: Skip) -> Iterator[Batch]:
        if are_cells(opened.experiment):
            return memory_batches({column: texts}, model_inputs, opened.experiment, size=size, skip=skip)
        return memory_texts(texts, layout, size)

    return _prediction(opened, model_inputs, read, file_note(texts), calibrate=calibrate)


def _opened(run: RunFolder) -> tuple[OpenRun, ModelInputs]:
    with open_run(run, "predict") as opened:
        return opened, inputs_of_model(opened.model, run)


def _prediction(
    opened: OpenRun,
    model_inputs: ModelInputs,
    read: Callable[[int, Skip], Iterator[Batch]],
    notes: tuple[str, ...],
    *,
    calibrate: bool,
) -> Prediction:
    run = opened.run
    temperature = _temperature(run, opened.task) if calibrate else None
    unfamiliar = Unfamiliar(opened.model, model_inputs.columns, run.data().get("gaps")) if model_inputs.columns else None
    return Prediction(run, opened.experiment, opened.classes, opened.model, read, notes, temperature, unfamiliar)


def _depth_notes(files: Sequence[str], experiment: Experiment) -> list[str]:
    """Returns a note on image files with more, or fewer, bits than those of the training."""
    images = [path for path in files if path != "-" and not path.lower().endswith((".npy", ".npz"))]
    is_deep = experiment.data.image.is_deep
    different = [path for path in images if os.path.isfile(path) and is_deep_file(path) != is_deep]
    if not different:
        return []
    count = f"{len(different):,} of {len(images):,} image files"
    if is_deep:
        return [
            f"{count} have 8 bits, such as {different[0]}: they are read as 0 to 255, but the model was trained on images with"
            " more bits"
        ]
    return [f"{count} have more than 8 bits, such as {different[0]}: of 16 bits the upper 8 are used, as in the training"]


def _temperature(run: RunFolder, task: Task) -> float:
    """Returns the temperature that `evaluate --calibrate` stored.

    Raises:
        UsageError: the run has none, or its task has no probabilities.
    """
    if not isinstance(task.output, Decisions):
        raise UsageError(f"--calibrated is for probabilities; the task of this run is {task}")
    temperature = run.temperature()
    if temperature is None:
        raise UsageError(f"{run.id} is not calibrated: {command()} evaluate {run.id} --calibrate fits a temperature")
    return temperature
