"""The tables of `dlcli runs`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from dlcli.cli.console import results_console, show_scores, show_stages, shown
from dlcli.errors import DlcliError, UsageError
from dlcli.runs import Run
from dlcli.visible import visible

_HEADLINES = 3
_MOST_FILES = 100


def run_rows(runs: list[Run], sort: str | None) -> list[dict[str, Any]]:
    """Returns a row a run: id, state, epochs, scores as `test.accuracy`; sorted by a score, or by time.

    Raises:
        UsageError: no run has the score.
    """
    rows = [_row(run) for run in runs]
    if sort is None:
        return rows
    if not any(sort in row["scores"] for row in rows):
        known = sorted({name for row in rows for name in row["scores"]})
        raise UsageError(f"no run has the score {sort!r}; known: {', '.join(known) or 'none'}")
    from dlcli.spec.metrics import higher_is_better

    metrics = [metric for run in runs for metric in _metrics(run)]
    sign = -1 if higher_is_better(sort.partition(".")[2], metrics) else 1
    return sorted(rows, key=lambda row: (row["scores"].get(sort) is None, sign * (row["scores"].get(sort) or 0)))


def _metrics(run: Run) -> list[Any]:
    """Returns the metrics of a run's spec; none where it cannot be read."""
    try:
        return list(run.experiment().training.metrics or [])
    except DlcliError:
        return []


def _row(run: Run) -> dict[str, Any]:
    """Returns what the list tells of a run; one that cannot be read is `damaged` and hides no other."""
    try:
        return _sound_row(run)
    except DlcliError as error:
        reason = str(error).partition("\n")[0]
        sound = {"epoch": 0, "epochs": 0, "best_epoch": 0, "started": "", "scores": {}}
        return {"id": run.id, "state": "damaged", "error": reason} | sound


def _sound_row(run: Run) -> dict[str, Any]:
    status = run.status()
    scores = {
        f"{split}.{name}": entry["value"]
        for split in run.scored_splits()
        for name, entry in run.metrics(split).get("metrics", {}).items()
    }
    return {
        "id": run.id,
        "state": run.shown_state,
        "epoch": status.epoch,
        "epochs": status.epochs,
        "best_epoch": status.best_epoch,
        "started": status.started,
        "error": status.error.partition("\n")[0],
        "scores": scores,
    }


def show_runs(rows: list[dict[str, Any]], folder: Path) -> None:
    """Prints the list of runs."""
    console = results_console()
    if not rows:
        console.print(f"no runs in {folder}; `dlcli train SPEC` makes one", soft_wrap=True)
        return
    table = Table()
    for heading in ("run", "state", "epochs", "scores", ""):
        table.add_column(heading, overflow="fold")
    for row in rows:
        scores = [f"{name} {shown(value)}" for name, value in row["scores"].items() if not name.endswith(".loss")]
        epochs = f"{row['epoch']}/{row['epochs']}" if row["epochs"] else "-"
        table.add_row(row["id"], row["state"], epochs, ", ".join(scores[:_HEADLINES]), row["error"])
    console.print(table)


def run_as_dict(run: Run) -> dict[str, Any]:
    """Returns everything that `runs show` tells."""
    scores = {split: run.metrics(split) for split in run.scored_splits()}
    return {
        "id": run.id,
        "path": str(run.path),
        "status": asdict(run.status()) | {"state": run.shown_state},
        "data": run.data(),
        "environment": run.environment(),
        "scores": scores,
    }


def show_run(run: Run) -> None:
    """Prints one run on one screen."""
    console, status, data, environment = results_console(), run.status(), run.data(), run.environment()
    facts = Table(show_header=False, box=None)
    facts.add_row("state", f"{run.shown_state}{': ' + status.error if status.error else ''}")
    if run.can_go_on:
        facts.add_row("to go on", f"dlcli train --resume {run.id}")
    facts.add_row("started", status.started)
    facts.add_row("finished", status.finished or "-")
    facts.add_row("epochs", f"{status.epoch} of {status.epochs}{'; ' + status.reason if status.reason else ''}")
    if status.best_epoch:
        facts.add_row("best epoch", f"{status.best_epoch} ({status.monitor} {shown(status.best_value)})")
    if status.resumed:
        facts.add_row("resumed", "once" if status.resumed == 1 else f"{status.resumed} times")
    if status.parent:
        facts.add_row("continues", status.parent)
    if data:
        facts.add_row("data", ", ".join(f"{count:,} {part}" for part, count in data["examples"].items()))
    if environment:
        device = environment["device"]
        facts.add_row("device", f"{device['kind']} ({device['name']}), {environment['precision']}")
    console.print(f"{run.id}")
    console.print(facts)
    show_stages(run)
    for split in run.scored_splits():
        show_scores(run, split)
    files = sorted(path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file())
    names = [name for name in files if not name.startswith("tensorboard/")]
    more = f", ... {len(names) - _MOST_FILES:,} more" if len(names) > _MOST_FILES else ""
    console.print(visible(f"{run.path}: {', '.join(names[:_MOST_FILES])}{more}"), soft_wrap=True)
