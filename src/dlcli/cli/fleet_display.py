"""A batch on the terminal: a live table while it runs, a leaderboard at its end."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from types import TracebackType

from rich.live import Live
from rich.table import Table

from dlcli.cli.console import PlainConsole, results_console, shown
from dlcli.errors import DlcliError
from dlcli.runs import Run
from dlcli.runs.batches import Batch, Job, JobStatus
from dlcli.stages.batch.active import Active
from dlcli.stages.batch.batch import Watcher, how_to_go_on
from dlcli.stages.batch.leaderboard import Leaderboard

_COLUMNS = 4
_EVERY = 1.0
"""Seconds between two looks at the run folders."""


class BatchDisplay(Watcher):
    """Prints a line for each job that begins or ends; on a terminal also a table of those that run."""

    def __init__(self, batch: Batch, *, quiet: bool) -> None:
        self._batch, self._jobs = batch, len(batch.jobs())
        self._console = PlainConsole(stderr=True, quiet=quiet)
        self._live = Live(console=self._console, transient=True) if self._console.is_terminal and not quiet else None
        self._looked, self._runs = 0.0, dict[int, Run]()

    def __enter__(self) -> BatchDisplay:
        self._console.print(f"batch {self._batch.id}: {self._jobs} runs", soft_wrap=True)
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def changed(self, batch: Batch, job: Job, status: JobStatus, slot: str) -> None:
        """Prints how a job stands."""
        told = f"{job.number}/{self._jobs} {job.group}, seed {job.seed}: {status.state}"
        told += f" on {slot}" if status.state == "running" else ""
        told += f" (attempt {status.attempts})" if status.attempts > 1 else ""
        told += f": {status.reason.splitlines()[0]}" if status.reason else ""
        self._console.print(told, soft_wrap=True)

    def looked(self, active: Sequence[Active], waiting: int) -> None:
        """Shows the jobs that run."""
        if self._live is None or monotonic() - self._looked < _EVERY:
            return
        self._looked = monotonic()
        self._runs = {n: runs[-1] for n, runs in self._batch.runs_by_job([one.job for one in active]).items()}
        table = Table("run", "seed", "on", "epoch", "minutes", title=f"{len(active)} running, {waiting} waiting")
        for one in active:
            minutes = f"{(monotonic() - one.began) / 60:.1f}" if one.began else "waits"
            table.add_row(one.job.group, str(one.job.seed), one.slot.name, self._epoch(one.job), minutes)
        self._live.update(table)

    def _epoch(self, job: Job) -> str:
        try:
            status = self._runs[job.number].status()
        except (KeyError, DlcliError):
            return "-"
        best = f", best {shown(status.best_value)}" if status.best_epoch else ""
        return f"{status.epoch}/{status.epochs}{best}"


def show_leaderboard(batch: Batch, board: Leaderboard) -> None:
    """Prints the lines, the best first, and every failure with its reason."""
    console = results_console()
    names = list(dict.fromkeys([board.metric, *(name for line in board.lines for name in line.scores)]))[:_COLUMNS]
    table = Table("", "spec", "runs", *names, title=f"batch {batch.id}: mean and deviation over runs", title_justify="left")
    for rank, line in enumerate(board.lines, 1):
        cells = [_spread(line.scores[name]) if name in line.scores else "-" for name in names]
        table.add_row(str(rank), line.group, f"{line.completed} of {line.jobs}", *cells)
    console.print(table)
    for failure in board.failures:
        reason = failure.reason.partition("\n")[0] or "no reason was told"
        where = f" [{failure.run}]" if failure.run else ""
        console.print(f"{failure.state}: {failure.group}, seed {failure.seed}: {reason}{where}", soft_wrap=True)
    left = sum(failure.state not in ("completed", "failed") for failure in board.failures)
    if left:
        console.print(how_to_go_on(batch, batch.settings()), soft_wrap=True)


def _spread(score: tuple[float, float | None]) -> str:
    mean, deviation = score
    return shown(mean) if deviation is None else f"{shown(mean)} ± {shown(deviation)}"
