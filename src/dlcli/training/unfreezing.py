"""Whether the stages after the first gave a better model: tested on the validation examples, as `runs compare` tests two runs.

The best model of each stage answers the validation split once. The answers stand in `stages/<number>.npz` of the run's folder,
so that a run that is interrupted between two stages can still compare them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcli.data.batches import prediction_batches
from dlcli.runs import RunFolder
from dlcli.runs.scored_splits import score_text
from dlcli.runs.stage_answers import read_stage_answers, write_stage_answers
from dlcli.score.compare import Difference, compare, compare_losses, sentence
from dlcli.score.evaluate import predictions, with_losses
from dlcli.score.outcome import Outcome
from dlcli.training.recorder import Record
from dlcli.training.setup import TrainingSetup


def can_be_compared(setup: TrainingSetup, record: Record) -> bool:
    """Whether the stages of a training can be compared: there are several, and a validation split chooses their epochs.

    With several workers none predicts the complete split.
    """
    stages = setup.experiment.training.stages or []
    several = len(stages) > 1 and any(stage.train != "all" for stage in stages)
    alone = setup.spread is None or setup.spread.workers == 1
    return several and alone and "validation" in setup.splits and record.monitor.startswith("val_")


def keep_answers(setup: TrainingSetup, run: RunFolder, stage: int) -> None:
    """Keeps the answers of the model as it is now to the validation split, as those of a stage, counted from 0."""
    inputs = setup.splits["validation"].inputs
    batches = prediction_batches(inputs, setup.experiment, len(setup.splits["validation"]))
    scores = predictions(setup.network.whole, batches, setup.experiment)
    write_stage_answers(run, stage, setup.experiment.task.output.model_output(scores))


def verdict(setup: TrainingSetup, record: Record, stages: list[dict[str, Any]]) -> str:
    """Returns in one line whether the stages after the first gave a better model than it."""
    first, *later = [stage for stage in stages if stage["best_value"] is not None] or [{}]
    if not later:
        return "no later stage has a score to compare"
    sign = 1 if record.higher_is_better else -1
    best = max(later, key=lambda stage: sign * stage["best_value"])
    outcomes = [_outcome(setup, record, stages.index(stage)) for stage in (first, best)]
    remark = f"; the model of {record.best.stage} is kept"
    if outcomes[0] is None or outcomes[1] is None:
        values = " against ".join(f"{score_text(stage['best_value'])} in {stage['name']}" for stage in (best, first))
        return f"unfreezing: {best['monitor']} {values}; not tested: the predictions of both stages were not stored{remark}"
    compared = differences(setup, record, outcomes[0], outcomes[1])
    return f"{in_words(compared, first['name'], best['name'], len(outcomes[0]))}{remark}"


def _outcome(setup: TrainingSetup, record: Record, stage: int) -> Outcome | None:
    part, task = setup.splits.validation, setup.experiment.task
    answers = read_stage_answers(record.run, stage)
    if part is None or answers is None:
        return None
    if answers.ndim == 1:  # earlier versions kept the one number of a binary task as (n,)
        answers = answers[:, None]
    if answers.shape != (len(part), *setup.splits.output_shape) or not np.isfinite(answers).all():
        return None
    outcome = Outcome(task, "validation", list(part.ids), setup.splits.classes, part.targets, task.output.scores(answers))
    return with_losses(setup.experiment, outcome)


def differences(setup: TrainingSetup, record: Record, first: Outcome, best: Outcome) -> list[Difference]:
    """Returns how the monitored score differs, and the loss."""
    name = record.monitor.removeprefix("val_")
    metric = next((metric for metric in setup.experiment.training.metrics or [] if metric.name == name), None)
    of_score = [compare(metric, first, best)] if metric is not None else []
    return of_score + ([compare_losses(first, best)] if first.losses is not None and best.losses is not None else [])


def in_words(compared: list[Difference], first: str, best: str, examples: int) -> str:
    """Returns whether a later stage is better than the first one; the first difference is that of the monitored score."""
    sentences = "; ".join(
        sentence(difference, first, best).removeprefix("no significant difference: ") for difference in compared
    )
    by_verdict = {difference.verdict: difference.metric for difference in reversed(compared)}
    if not compared:
        return "unfreezing: there is no score to test"
    if "better" not in by_verdict and "worse" not in by_verdict:
        return f"unfreezing: no significant difference on {examples:,} validation examples: {sentences}"
    if "worse" not in by_verdict:
        return f"unfreezing helped: {sentences}"
    if "better" not in by_verdict:
        return f"unfreezing did not help: {sentences}"
    return f"unfreezing helped the {by_verdict['better']} and not the {by_verdict['worse']}: {sentences}"
