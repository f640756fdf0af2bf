"""The outcome of a sweep: its trials, the best, which parameters matter, and what was not explored."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any

from dlcli.errors import UsageError
from dlcli.fleet.sweep.study import Search
from dlcli.fleet.sweep.trials import REASON, RUN, SAME, STATE, SURPLUS, WORKER
from dlcli.runs import find_run
from dlcli.runs.files import write_table, write_text
from dlcli.runs.sweeps import SweepFolder
from dlcli.spec.search.space import Choice, Number, names_of
from dlcli.visible import visible

_EDGE = 0.03
"""Share of a range that counts as its edge."""
_GAP = 0.35
"""Smallest share of a range without a trial that is reported."""
_FEWEST = 4
"""Trials from which importances and gaps say anything."""


@dataclass(frozen=True)
class Row:
    """A trial: `state` is completed, pruned, skipped, failed or running; `values` are its objectives, if it has them."""

    number: int
    state: str
    values: list[float] | None
    drawn: dict[str, Any]
    run: str
    reason: str
    same_as: int | None
    worker: str


@dataclass(frozen=True)
class Outcome:
    """A sweep's trials and what follows from them; `best` are the best trial's number, or those that none beats in all
    objectives, best by the first one first."""

    sweep: str
    name: str
    objectives: list[str]
    higher_is_better: list[bool]
    trials: list[Row]
    planned: int
    best: list[int]
    importances: dict[str, float]
    unexplored: list[str]

    def row(self, number: int) -> Row:
        """Returns a trial."""
        return next(row for row in self.trials if row.number == number)

    def of_state(self, *states: str) -> list[Row]:
        """Returns the trials of some states."""
        return [row for row in self.trials if row.state in states]


def outcome(folder: SweepFolder, search: Search) -> Outcome:
    """Reads what a sweep's study holds now."""
    from optuna.trial import TrialState

    trials = [trial for trial in search.study.get_trials(deepcopy=False) if not trial.user_attrs.get(SURPLUS)]
    rows = [_row(trial) for trial in trials if trial.state != TrialState.WAITING]
    finished = any(row.state == "completed" for row in rows)
    best = sorted(search.study.best_trials, key=lambda trial: _rank(search, trial)) if finished else []
    numbers = [trial.number for trial in best] if len(search.objectives) > 1 else [trial.number for trial in best][:1]
    return Outcome(
        folder.id,
        search.experiment.name,
        list(search.objectives),
        list(search.rises),
        rows,
        planned_trials(search),
        numbers,
        _importances(search, rows),
        _unexplored(search, rows, rows_of(rows, numbers[:1])),
    )


def planned_trials(search: Search) -> int:
    """Returns how many trials a sweep makes: of a grid, whose points are all known from the start, no more than those."""
    sweep = search.experiment.sweep
    if sweep is None or sweep.sampler != "grid":
        return search.plan.trials
    trials = [trial for trial in search.study.get_trials(deepcopy=False) if not trial.user_attrs.get(SURPLUS)]
    return min(search.plan.trials, len(trials))


def rows_of(rows: Sequence[Row], numbers: Sequence[int]) -> list[Row]:
    """Returns the trials of some numbers, in their order."""
    return [row for number in numbers for row in rows if row.number == number]


def _rank(search: Search, trial: Any) -> tuple[float, int]:
    return (-trial.values[0] if search.rises[0] else trial.values[0]), trial.number


def _row(trial: Any) -> Row:
    attributes = trial.user_attrs
    state = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}[trial.state.name]
    return Row(
        trial.number,
        str(attributes.get(STATE, state)) if state != "running" else state,
        list(trial.values) if trial.state.name == "COMPLETE" else None,
        dict(trial.params),
        str(attributes.get(RUN, "")),
        str(attributes.get(REASON, "")),
        attributes.get(SAME),
        str(attributes.get(WORKER, "")),
    )


def _importances(search: Search, rows: Sequence[Row]) -> dict[str, float]:
    """Returns each parameter's share in the variance of the first objective, largest first; of parameters that every trial has.

    Optuna's PED-ANOVA (Watanabe et al. 2023).
    """
    from optuna.importance import get_param_importances

    values = {tuple(row.values) for row in rows if row.values}
    if sum(row.state == "completed" for row in rows) < _FEWEST or len(values) < 2:
        return {}
    target = (lambda trial: trial.values[0]) if len(search.objectives) > 1 else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a study that is small; the table says how many trials there are
        try:
            return dict(get_param_importances(search.study, target=target))
        except (ValueError, RuntimeError):  # all trials have the same values of every parameter
            return {}


def _unexplored(search: Search, rows: Sequence[Row], best: Sequence[Row]) -> list[str]:
    """Returns sentences on unexplored regions: bounds with the best value, gaps, choices tried less than twice."""
    tried = [row for row in rows if row.state in ("completed", "pruned")]
    remarks: list[str] = []
    for name, kind in names_of(search.parameters):
        values = [row.drawn[name] for row in tried if name in row.drawn]
        if isinstance(kind, Choice):
            remarks += _few(name, kind, values)
        elif not values:
            remarks.append(f"{name} was never sampled")
        else:
            remarks += _edges(name, kind, best)
            remarks += _gaps(name, kind, values)
    return [visible(remark) for remark in remarks]


def _few(name: str, choice: Choice, values: Sequence[str]) -> list[str]:
    counts = Counter(values)
    return [
        f"{name}: {label} was {'never tried' if not counts[label] else 'tried once'}"
        for label in choice.labels
        if counts[label] < 2
    ]


def _edges(name: str, number: Number, best: Sequence[Row]) -> list[str]:
    low, high = number.ends
    remarks: list[str] = []
    for row in best:
        if name not in row.drawn:
            continue
        at = position(number, row.drawn[name])
        value = f"{row.drawn[name]:.4g}"
        if at <= _EDGE:
            remarks.append(f"{name}: the best trial's {value} is at the lower bound {low:g}; smaller values were not tried")
        elif at >= 1 - _EDGE:
            remarks.append(f"{name}: the best trial's {value} is at the upper bound {high:g}; larger values were not tried")
    return remarks


def _gaps(name: str, number: Number, values: Sequence[float]) -> list[str]:
    low, high = number.ends
    if len(values) == 1:
        return [f"{name} was sampled once"]
    if len(values) < _FEWEST or (number.count is not None and number.count < _FEWEST):
        return []
    ordered = sorted({low, high, *values}, key=lambda value: position(number, value))
    pairs = pairwise(ordered)
    return [
        f"{name}: no trial between {a:.4g} and {b:.4g}" for a, b in pairs if position(number, b) - position(number, a) > _GAP
    ]


def position(number: Number, value: float) -> float:
    """Returns the position of a value in its range, from 0 to 1; on a logarithmic scale where it was drawn so."""
    low, high = number.ends
    if number.log:
        return (log(value) - log(low)) / (log(high) - log(low))
    return (value - low) / (high - low)


def write_best(folder: SweepFolder, result: Outcome) -> str:
    """Writes the best trial's spec as its run resolved it, and returns the run's id; empty where no trial has completed.

    Raises:
        UsageError: the run is not in this runs folder: another machine made it.
    """
    if not result.best:
        return ""
    best = result.row(result.best[0])
    row = result.row(best.same_as) if best.same_as is not None else best
    try:
        run = find_run(row.run, folder.batch.runs)
    except UsageError:
        raise UsageError(
            f"the best trial, {row.number}, belongs to another runs folder, which contains its run {row.run}"
        ) from None
    scores = ", ".join(f"{name} {value:.6g}" for name, value in zip(result.objectives, row.values or [], strict=True))
    drawn = "".join(f"#   {visible(name)}: {visible(value)}\n" for name, value in row.drawn.items())
    head = (
        f"# Best trial of sweep {result.sweep}: trial {row.number}, {scores}; its run is {run.id}.\n# Sampled values:\n{drawn}"
    )
    write_text(folder.best_path, head + run.spec_path.read_text(encoding="utf-8"))
    return run.id


def write_trials(folder: SweepFolder, result: Outcome) -> None:
    """Writes a row for every trial."""
    names = list(dict.fromkeys(name for row in result.trials for name in row.drawn))
    columns = ["trial", "state", *result.objectives, *names, "run", "reason"]
    write_table(folder.table_path, columns, (_cells(row, names, len(result.objectives)) for row in result.trials))


def _cells(row: Row, names: Sequence[str], objectives: int) -> list[Any]:
    values: list[Any] = [*row.values] if row.values else [""] * objectives
    return [row.number, row.state, *values, *(row.drawn.get(name, "") for name in names), row.run, row.reason]
