"""One trial: drawn values -> a job, and the result of its run -> the study."""

from __future__ import annotations

from math import isfinite
from typing import Any

from dlcli.errors import DamagedFile
from dlcli.fleet.sweep.study import Drawing, Search
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Job
from dlcli.runs.files import read_json
from dlcli.spec.load import to_flow
from dlcli.spec.search.space import changed, drawn

WORKER, RUN, STATE, REASON, SAME, SURPLUS = "worker", "run", "state", "reason", "same_as", "surplus"
"""Attributes that trials have in the study: who makes it, its run, how it ended and why, which one had the same values before
it, and that there are more than were asked for."""


def job_of(search: Search, trial: Any) -> Job:
    """Returns the job of a trial, its values drawn where they are not yet."""
    values = drawn(search.parameters, Drawing(trial))
    data = {key: value for key, value in search.loaded.document.data.items() if key != "sweep"}
    overrides = [f"{path}={to_flow(value)}" for path, value in changed(data, values).items()]
    experiment = search.experiment
    return Job(
        trial.number,
        experiment.name,
        f"trial {trial.number}",
        search.plan.file,
        search.text,
        [*search.overrides, *overrides],
        experiment.seed,
    )


def objective_values(search: Search, batch: Batch, job: Job, run: RunFolder) -> list[float] | None:
    """Returns a completed run's objectives at the epoch that it kept; None where one is no number.

    A run that kept the weights it began with, or has no epochs, has no such row.

    Raises:
        DamagedFile: a file of the run cannot be read.
    """
    rows, status = run.history(), run.status()
    row = next((row for row in rows if int(row["epoch"]) == status.best_epoch), None)
    values: list[float] = []
    for name in search.objectives:
        if name == "seconds":
            values.append(sum(float(entry["seconds"]) for entry in rows))
        elif name == "parameters":
            values.append(float(read_json(batch.size_path(job.number))["parameters"]))
        elif row is not None:
            values.append(_number(row.get(name, "")))
        elif name == status.monitor and status.best_value is not None:
            values.append(status.best_value)
        else:
            values.append(_scored(run, name))
    return values if all(map(isfinite, values)) else None


def _scored(run: RunFolder, name: str) -> float:
    """Returns a score of the model that a run keeps from its evaluation."""
    entry = run.metrics("validation").get("metrics", {}).get(name.removeprefix("val_"), {})
    value = entry.get("value")
    return float("nan") if value is None else float(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


class PruningWatch:
    """Reports a run's epochs to the study as they end, and asks it whether to continue the run."""

    def __init__(self, search: Search, trial: Any) -> None:
        self._trial = trial
        self._objective = search.objectives[0]
        self._follows = len(search.objectives) == 1 and self._objective.startswith("val_")
        trials = search.study.get_trials(deepcopy=False)
        self._reported = set(next(other.intermediate_values for other in trials if other.number == trial.number))

    def verdict(self, run: RunFolder) -> str:
        """Returns why the run should end now, empty if it should not."""
        if not self._follows:
            return ""
        try:
            rows, epochs = run.history(), run.status().epochs
        except DamagedFile:
            return ""
        for row in rows:
            epoch, value = int(row["epoch"]), _number(row.get(self._objective, ""))
            if epoch in self._reported or not isfinite(value):
                continue
            self._trial.report(value, epoch)
            self._reported.add(epoch)
            if epoch < epochs and self._trial.should_prune():
                return f"pruned after epoch {epoch}: {self._objective} {value:.4g} was worse than others at that epoch"
        return ""
