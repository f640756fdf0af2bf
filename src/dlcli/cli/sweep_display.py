"""A sweep on the terminal: a line for each trial that begins or ends, and what it came to."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from dlcli.cli.console import PlainConsole, results_console, shown
from dlcli.fleet.sweep.outcome import Outcome, planned_trials
from dlcli.fleet.sweep.study import Search
from dlcli.fleet.sweep.sweep import Watcher
from dlcli.fleet.sweep.write import Results
from dlcli.program import command
from dlcli.runs.batches import Job
from dlcli.runs.sweeps import SweepFolder

_TOP = 10
_COLUMNS = 5


class SweepDisplay(Watcher):
    """Prints a line for each trial that starts or ends."""

    def __init__(self, folder: SweepFolder, search: Search, *, quiet: bool) -> None:
        self._console = PlainConsole(stderr=True, quiet=quiet)
        self._planned, self._skip = planned_trials(search), len(search.overrides)
        self._console.print(f"sweep {folder.id}: {self._planned} trials for {', '.join(search.objectives)}", soft_wrap=True)

    def began(self, search: Search, job: Job, slot: str) -> None:
        """Prints what was drawn."""
        overrides = ", ".join(job.overrides[self._skip :])
        self._console.print(f"trial {job.number} of {self._planned} on {slot}: {overrides}", soft_wrap=True)

    def ended(self, search: Search, job: Job, state: str, values: Sequence[float] | None, reason: str) -> None:
        """Prints how a trial has ended."""
        scores = ", ".join(f"{name} {shown(value)}" for name, value in zip(search.objectives, values or (), strict=False))
        words = "; ".join(filter(None, (scores, reason.partition("\n")[0])))
        self._console.print(f"trial {job.number}: {state}{f': {words}' if words else ''}", soft_wrap=True)


def show_sweep(results: Results) -> None:
    """Prints the best trials, what matters, what was not explored, failures, and where the best spec and the page are."""
    outcome = results.outcome
    console = results_console()
    console.print(_table(outcome))
    counts = ", ".join(
        f"{len(rows)} {state}"
        for state in ("completed", "pruned", "skipped", "failed", "running")
        if (rows := outcome.of_state(state))
    )
    console.print(f"{len(outcome.trials)} of {outcome.planned} trials: {counts}", soft_wrap=True)
    if outcome.importances:
        parts = ", ".join(f"{name} {value:.0%}" for name, value in list(outcome.importances.items())[:_COLUMNS])
        console.print(f"parameter importance: {parts}", soft_wrap=True)
    for line in outcome.unexplored:
        console.print(f"not explored: {line}", soft_wrap=True)
    for row in outcome.of_state("failed"):
        where = f" [{row.run}]" if row.run else ""
        reason = row.reason.partition("\n")[0] or "no reason was recorded"
        console.print(f"failed: trial {row.number}: {reason}{where}", soft_wrap=True)
    for note in results.notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print(f"report: {results.page}", soft_wrap=True)
    if results.best:
        console.print(f"best: {command()} train {results.best}", soft_wrap=True)
    if results.go_on:
        console.print(results.go_on, soft_wrap=True)


def _table(outcome: Outcome) -> Table:
    names = list(outcome.importances) or list(dict.fromkeys(name for row in outcome.trials for name in row.drawn))
    names = names[:_COLUMNS]
    title = f"sweep {outcome.sweep}: the best by {outcome.objectives[0]}"
    table = Table("trial", *outcome.objectives, *names, "run", title=title, title_justify="left")
    sign = -1 if outcome.higher_is_better[0] else 1
    rows = sorted((row for row in outcome.trials if row.values), key=lambda row: sign * (row.values or [0.0])[0])
    for row in rows[:_TOP]:
        drawn = [_drawn(row.drawn.get(name, "-")) for name in names]
        table.add_row(str(row.number), *map(shown, row.values or []), *drawn, row.run)
    return table


def _drawn(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
