"""The scores of an ensemble's members on the examples that the ensemble is scored on, and its difference to the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.models.ensemble import member_name
from dlcli.runs import RunFolder
from dlcli.runtime.engine import keras
from dlcli.runtime.stream import data_errors
from dlcli.score.compare import compare, compare_losses, sentence
from dlcli.score.intervals import dependent, loss_estimate, metric_estimate
from dlcli.score.outcome import Outcome
from dlcli.spec.experiment import Experiment
from dlcli.spec.training.metrics import MetricSpec, higher_is_better


@dataclass(frozen=True)
class Members:
    """The outcomes of an ensemble's members, by the id of the run, on the same examples as the ensemble's outcome."""

    outcomes: dict[str, Outcome]

    def entries(self, ensemble: Outcome, metrics: Sequence[MetricSpec]) -> dict[str, Any]:
        """Returns the entries `members` and `against_best` of `metrics.json`."""
        scores = {run: _scores(outcome, metrics) for run, outcome in self.outcomes.items()}
        best, metric = _best(scores, metrics)
        sentences = _sentences(self.outcomes[best], ensemble, metrics, best)
        return {
            "members": [{"run": run, "metrics": entry} for run, entry in scores.items()],
            "against_best": {"run": best, "metric": metric, "sentences": sentences},
        }


def _best(scores: dict[str, Any], metrics: Sequence[MetricSpec]) -> tuple[str, str]:
    """Returns the member with the best first metric, of equal ones that with the lowest loss, and the metric's name."""
    name = next((metric.name for metric in metrics), "loss")
    sign = -1 if higher_is_better(name, list(metrics)) else 1

    def rank(run: str) -> tuple[float, float]:
        values = [(scores[run].get(metric) or {}).get("value") for metric in (name, "loss")]
        first, loss = (inf if value is None or not isfinite(value) else value for value in values)
        return (first if first == inf else sign * first), loss

    return min(scores, key=rank), name


def member_outputs(experiment: Experiment, model: Any, batches: Any) -> dict[str, Array]:
    """Returns the scores of each member for all inputs, by the id of its run, in one pass over the batches."""
    nested = {layer.name.rstrip("_"): layer for layer in model.layers}
    members = [nested[member_name(number)] for number in range(1, len(experiment.model.members) + 1)]
    combined = keras.Model(model.input, [member(model.input) for member in members])
    combined.jit_compile = experiment.hardware.xla
    with data_errors():
        outputs = combined.predict(batches, verbose=0)
    ids = [RunFolder(Path(folder)).id for folder in experiment.model.members]
    return {run: experiment.task.output.scores(np.asarray(output)) for run, output in zip(ids, outputs, strict=True)}


def _scores(outcome: Outcome, metrics: Sequence[MetricSpec]) -> dict[str, Any]:
    """Returns the loss, where it has one value for each example, and the metrics of an outcome with their intervals."""
    assert outcome.scores is not None
    estimates, groups = {}, outcome.groups
    if outcome.losses is not None:
        is_counted = np.isfinite(outcome.losses)
        losses = loss_estimate(outcome.losses[is_counted])
        estimates["loss"] = dependent(losses, None if groups is None else groups[is_counted], outcome.task)
    for metric in metrics:
        estimates[metric.name] = dependent(
            metric_estimate(metric, outcome.truth, outcome.scores, outcome.task), groups, outcome.task
        )
    return {name: {"value": estimate.value, "interval": estimate.interval} for name, estimate in estimates.items()}


def _sentences(best: Outcome, ensemble: Outcome, metrics: Sequence[MetricSpec], name: str) -> list[str]:
    differences = [compare(metric, best, ensemble) for metric in metrics]
    if best.losses is not None and ensemble.losses is not None:
        differences.append(compare_losses(best, ensemble))
    return [sentence(difference, name, "the ensemble") for difference in differences]
