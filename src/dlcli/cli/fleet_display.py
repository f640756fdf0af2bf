"""A batch on the terminal: a live table while it runs, a leaderboard at its end."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType

from rich.live import Live
from rich.table import Table

from dlcli.cli.console import PlainConsole, results_console, shown
from dlcli.cli.fitting import fitted
from dlcli.errors import DlcliError
from dlcli.fleet.batch.active import Active
from dlcli.fleet.batch.batch import Watcher, resume_hint
from dlcli.fleet.batch.leaderboard import Leaderboard, Line
from dlcli.program import command
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Job, JobStatus
from dlcli.runs.lookup import has_quality
from dlcli.runs.progress import epochs_of

_COLUMNS = 4
_EVERY = 1.0
"""Seconds between two readings of the run folders."""


class BatchDisplay(Watcher):
    """Prints a line for each job that starts or ends; on a terminal also a table of those that run.

    `places` says how many run at once, where dlcli has decided it.
    """

    def __init__(self, batch: Batch, places: str, *, quiet: bool) -> None:
        self._batch, self._jobs, self._places = batch, len(batch.jobs()), places
        self._console = PlainConsole(stderr=True, quiet=quiet)
        self._live = Live(console=self._console, transient=True) if self._console.is_terminal and not quiet else None
        self._looked, self._runs = 0.0, dict[int, RunFolder]()

    def __enter__(self) -> BatchDisplay:
        line = f"batch {self._batch.id}: {self._jobs} runs{f', {self._places}' if self._places else ''}"
        self._console.print(line, soft_wrap=True)
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def changed(self, batch: Batch, job: Job, status: JobStatus, slot: str) -> None:
        """Prints the state of a job."""
        line = f"{job.number}/{self._jobs} {job.group}, seed {job.seed}: {status.state}"
        line += f" on {slot}" if status.state == "running" else ""
        line += f" (attempt {status.attempts})" if status.attempts > 1 else ""
        line += f": {status.reason.splitlines()[0]}" if status.reason else ""
        self._console.print(line, soft_wrap=True)

    def looked(self, active: Sequence[Active], waiting: int) -> None:
        """Shows the jobs that run."""
        if self._live is None or monotonic() - self._looked < _EVERY:
            return
        self._looked = monotonic()
        self._runs = {n: runs[-1] for n, runs in self._batch.runs_by_job([work.job for work in active]).items()}
        table = Table("run", "seed", "on", "epoch", "minutes", title=f"{len(active)} running, {waiting} waiting")
        for work in active:
            minutes = f"{(monotonic() - work.began) / 60:.1f}" if work.began else "waits"
            table.add_row(work.job.group, str(work.job.seed), work.slot.name, self._epoch(work.job), minutes)
        self._live.update(fitted(self._console, table))

    def _epoch(self, job: Job) -> str:
        try:
            status = self._runs[job.number].status()
        except (KeyError, DlcliError):
            return "-"
        best = f", best {shown(status.best_value)}" if status.best_epoch else ""
        return f"{epochs_of(self._runs[job.number], status)}{best}"


def show_leaderboard(batch: Batch, board: Leaderboard, path: Path) -> None:
    """Prints a table for each dataset, the best line first, every failure with its reason, and what to do next."""
    console = results_console()
    for data, lines in board.by_data():
        parts = " or ".join(dict.fromkeys(line.split for line in lines if line.split)) or "not scored"
        console.print(_table_of(board, lines, f"batch {batch.id}: {data}, {parts}; mean and standard deviation of the runs"))
        for rank, line in enumerate(lines, 1):
            if line.runs:
                console.print(f"{rank}: {', '.join(line.runs)}", soft_wrap=True)
        for note in dict.fromkeys(line.note for line in lines if line.note):
            console.print(f"note: {note}", soft_wrap=True)
    for failure in board.failures:
        reason = failure.reason.partition("\n")[0] or "no reason was recorded"
        where = f" [{failure.run}]" if failure.run else ""
        console.print(f"{failure.state}: {failure.group}, seed {failure.seed}: {reason}{where}", soft_wrap=True)
    unfinished = sum(failure.state not in ("completed", "failed") for failure in board.failures)
    if unfinished:
        console.print(resume_hint(batch, batch.settings()), soft_wrap=True)
    console.print(f"sorted by {board.metric}; all runs: {path}", soft_wrap=True)
    for line_of_words in _next(batch, board):
        console.print(line_of_words, soft_wrap=True)


def _table_of(board: Leaderboard, lines: Sequence[Line], title: str) -> Table:
    metrics = list(dict.fromkeys([board.metric, *(name for line in lines for name in line.scores)]))
    names = [name for name in metrics if any(name in line.scores for line in lines)][:_COLUMNS]
    table = Table("", "spec and settings", "runs", *names, title=title, title_justify="left")
    for rank, line in enumerate(lines, 1):
        cells = [_spread(line.scores[name]) if name in line.scores else "-" for name in names]
        table.add_row(str(rank), line.group, f"{line.completed} of {line.jobs}", *cells)
    return table


def _next(batch: Batch, board: Leaderboard) -> Iterator[str]:
    """Yields the commands that come next; those that name runs name the runs folder where it is not the usual one."""
    first = next((line for line in board.lines if line.runs), None)
    if first is None:
        return
    usual = Path(os.environ.get("DLCLI_RUNS") or "runs").absolute()
    folder = "" if batch.runs.absolute() == usual else f" --runs {shlex.quote(str(batch.runs))}"
    rival = next((line for line in board.lines if line.runs and line is not first and line.data == first.data), None)
    if rival:
        yield f"next: {command()} runs compare {first.runs[0]} {rival.runs[0]}{folder}"
    else:
        yield f"next: {command()} runs show {first.runs[0]}{folder}"
    name = first.runs[0].partition("/")[0]
    if has_quality(RunFolder(batch.runs / first.runs[0])):
        yield f"{name}@best is the run of this name with the best monitored score (training.monitor)"


def _spread(score: tuple[float, float | None]) -> str:
    mean, deviation = score
    return shown(mean) if deviation is None else f"{shown(mean)} ± {shown(deviation)}"
