"""Run -> answers for examples it has not seen: read as in training, predicted on a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.batches import prediction_batch
from dlcli.data.inputs import ModelInputs, inputs_of_model
from dlcli.data.open_run import open_run
from dlcli.data.unfamiliar import Unfamiliar
from dlcli.errors import DataError, UsageError
from dlcli.predict.answers import Answers
from dlcli.predict.inputs import Batch, Skip, batches, found_files
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.failures import failures_in_words
from dlcli.runtime.images import is_deep_file
from dlcli.spec.data.sources.file_tree import Tree
from dlcli.spec.experiment import Experiment
from dlcli.tasks import Decisions, Task


@dataclass(frozen=True)
class Prediction:
    """A prediction that is ready to go: what its answers will be about, and how to get them."""

    run: RunFolder
    experiment: Experiment
    classes: tuple[str, ...]
    model: Any
    taken: ModelInputs
    files: list[str]
    others: Tree
    notes: tuple[str, ...]
    temperature: float | None
    unfamiliar: Unfamiliar | None = None
    """Counts values that did not occur in training; None where inputs are no columns."""
    row_notes: list[str] = field(default_factory=list)
    """What was unusual in the rows of tables, once they are read."""

    def answers(self, skip: Skip) -> Iterator[Answers]:
        """Yields the answers a batch at a time; `skip` is told of what was left out.

        Raises:
            DataError: nothing could be predicted.
        """
        found = False
        size = prediction_batch(self.experiment)
        with failures_in_words(self.run):
            for batch in batches(self.files, self.taken, self.experiment, size=size, skip=skip):
                self.row_notes.extend(batch.notes)
                if not batch.ids:
                    continue
                if self.unfamiliar is not None:
                    self.unfamiliar.add(batch.inputs.columns)
                answers = self._numbers(batch.ids, self._scores(batch), skip)
                found = found or bool(answers.ids)
                yield answers
        if not found:
            raise DataError("no predictions: no example could be read")

    def _numbers(self, ids: list[str], scores: Array, skip: Skip) -> Answers:
        """Returns the answers that are numbers."""
        sound = np.atleast_1d(np.isfinite(scores.reshape(len(scores), -1)).all(axis=1))
        for one in (one for one, good in zip(ids, sound, strict=True) if not good):
            skip(one, "the model's output is not a number")
        kept = [one for one, good in zip(ids, sound, strict=True) if good]
        return Answers(self.experiment.task, self.classes, kept, scores[sound])

    def _scores(self, batch: Batch) -> Array:
        inputs = batch.inputs.read(np.arange(len(batch.ids)))
        output = self.experiment.task.output
        scores = output.scores(np.asarray(self.model.predict_on_batch(inputs)))
        if self.temperature is None:
            return scores
        from dlcli.score.calibration import calibrated

        warmer = calibrated(scores, self.temperature, self.experiment.task)
        return output.scores(output.model_output(warmer).astype("float32"))


def prepare(run: RunFolder, what: Sequence[str], *, calibrate: bool = False) -> Prediction:
    """Loads a run's model and finds the files that a user names.

    Args:
        run: the run.
        what: files, folders, patterns, or `-` for stdin.
        calibrate: whether probabilities are divided by the run's temperature.

    Raises:
        UsageError: the run has no model or no calibration, or a name fits nothing.
        DamagedFile: the model is not the run's.
    """
    with open_run(run) as opened:
        temperature = _temperature(run, opened.task) if calibrate else None
        experiment, classes, model = opened.experiment, opened.classes, opened.model
        taken = inputs_of_model(model, run)
    if list(what).count("-") > 1:
        raise UsageError("`-` is stdin, which can be read once")
    files, others = found_files(what, taken.kind)
    if not files:
        raise DataError("; ".join(["nothing to predict: no suitable file", *others.notes()]))
    notes = (*others.notes(), *(_of_other_depth(files, experiment) if taken.kind == "images" else ()))
    unfamiliar = Unfamiliar(model, list(taken.columns), run.data().get("gaps")) if taken.columns else None
    return Prediction(run, experiment, classes, model, taken, files, others, notes, temperature, unfamiliar)


def _of_other_depth(files: Sequence[str], experiment: Experiment) -> list[str]:
    """Returns a note on image files that have more, or fewer, bits than those of the training."""
    images = [path for path in files if path != "-" and not path.lower().endswith((".npy", ".npz"))]
    deep = experiment.data.image.is_deep
    other = [path for path in images if os.path.isfile(path) and is_deep_file(path) != deep]
    if not other:
        return []
    count = f"{len(other):,} of {len(images):,} image files"
    if deep:
        return [
            f"{count} have 8 bits, such as {other[0]}: they are read as 0 to 255, but the model was trained on images with"
            " more bits"
        ]
    return [f"{count} have more than 8 bits, such as {other[0]}: of 16 bits the upper 8 are used, as in the training"]


def _temperature(run: RunFolder, task: Task) -> float:
    """Returns the temperature that `evaluate --calibrate` stored.

    Raises:
        UsageError: the run has none, or gives no probabilities.
    """
    if not isinstance(task.output, Decisions):
        raise UsageError("--calibrated is for probabilities; a regression has none")
    temperature = run.temperature()
    if temperature is None:
        raise UsageError(f"{run.id} is not calibrated: {command()} evaluate {run.id} --calibrate fits a temperature")
    return temperature
