"""Scores of simple models on a sample of the run's data, compared with the run's model example by example."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.data.splits import Splits
from dlcli.report.checks.modes import errors_of_scores
from dlcli.report.checks.sampling import sample
from dlcli.report.diagnosis.relation import probability_of_no_relation
from dlcli.runs import RunFolder
from dlcli.runs.checks import SimpleModel, SimpleModels
from dlcli.runtime.helper_process import submit
from dlcli.score.baseline import fit_targets, model_rows
from dlcli.score.outcome import read_outcome
from dlcli.spec.experiment import Experiment
from dlcli.tasks.simple_models import SimpleExamples, quick_answers

MOST = 2000
"""The most training examples for simple models, and the most examples for their scores."""
MOST_WINDOWS = 20_000
"""The most windows of series, whose simple models are faster, and whose neighbours overlap."""


def simple_models(experiment: Experiment, splits: Splits, run: RunFolder) -> SimpleModels | None:
    """Returns the scores of simple models on up to 2,000 examples, or 20,000 windows, of the scored split.

    None where nothing was scored.
    """
    split = next((name for name in ("test", "validation") if name in run.scored_splits()), "")
    if not split or split not in splits or not splits.task.output.is_row:
        return None
    outcome = read_outcome(run, split)
    most = MOST_WINDOWS if splits.task.output.needs_series else MOST
    train, scored = sample(splits.train, most), sample(splits[split], most)
    place_of_id = {name: place for place, name in enumerate(outcome.ids)}
    places = np.array([place_of_id[name] for name in scored.ids])
    if outcome.scores is None or len(train) < 10:
        return None
    own_answers = outcome.scores[places]
    train_rows, scored_rows = model_rows(experiment, train, scored)
    rows = [
        _compared(name, answers, own_answers, scored.targets, experiment)
        for name, answers in _answers(experiment, splits, train_rows, train.targets, scored_rows)
    ]
    return SimpleModels(
        part=split,
        examples=len(scored),
        trained_on=len(train),
        own=_scores(experiment, scored.targets, own_answers),
        rows=rows,
    )


def _answers(experiment: Experiment, splits: Splits, train: Any, targets: Array, scored_rows: Any) -> list[tuple[str, Array]]:
    """Returns the name and the scores of each simple model, which the helper process fits if there is one."""
    texts = bool(splits.train.inputs.text_columns)
    examples = SimpleExamples(train, fit_targets(targets, splits.task), scored_rows, splits.classes, are_texts=texts)
    return submit(quick_answers, splits.task.output, experiment.seed, examples).result()


def _compared(name: str, answers: Array, own_answers: Array, truth: Array, experiment: Experiment) -> SimpleModel:
    task = experiment.task
    return SimpleModel(
        name=name,
        scores=_scores(experiment, truth, answers),
        related=probability_of_no_relation(task, truth, answers),
        better=_probability_of_no_gain(errors_of_scores(truth, own_answers, task), errors_of_scores(truth, answers, task)),
    )


def _scores(experiment: Experiment, truth: Array, answers: Array) -> dict[str, float | None]:
    task = experiment.task
    scores = {metric.name: metric.score(truth, answers, task) for metric in experiment.training.metrics or []}
    scores |= {task.output.score_name: 1 - float(errors_of_scores(truth, answers, task).mean())}
    return {name: float(value) if np.isfinite(value) else None for name, value in scores.items()}


def _probability_of_no_gain(own_errors: Array, simple_errors: Array) -> float:
    """Returns the one-sided p-value of the paired differences of errors, by their mean and its standard error."""
    gain = own_errors - simple_errors
    spread = float(gain.std(ddof=1)) / sqrt(len(gain)) if len(gain) > 1 else 0.0
    if spread == 0:
        return 1.0 if gain.mean() <= 0 else 0.0
    return 1 - NormalDist().cdf(float(gain.mean()) / spread)
