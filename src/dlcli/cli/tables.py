"""The tables of `dlcli runs`: the list, which is the leaderboard where it is sorted by a score, and one run on one screen."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from dlcli.cli.children import children_as_dict, show_children
from dlcli.cli.console import PlainConsole, results_console, show_stages, shown, worst_confusions
from dlcli.errors import DlcliError, UsageError
from dlcli.program import command
from dlcli.runs import RunFolder, layout
from dlcli.runs.progress import epochs_of, seconds_of, seed_of, settings_of
from dlcli.runs.scored_splits import MARK, marked, marked_note, sizes_in_words, split_note, split_title, test_is_validation
from dlcli.runs.trackers import tracker_ids
from dlcli.spec.training.metrics import LAST_EPOCH
from dlcli.visible import visible

_HEADLINES = 3
_STARTED = "started"
_EVIDENCE = 2
"""Lines of evidence of a finding that `runs show` has room for; the report has all."""


def run_rows(runs: list[RunFolder], sort: str | None) -> list[dict[str, Any]]:
    """Returns a row a run: id, state, epochs, scores as `test.accuracy`, their intervals; by name and time, or sorted.

    Sorted by a score the best is first and has rank 1; those without it are last, without rank. `started` sorts by time,
    the newest first.

    Raises:
        UsageError: no run has the score.
    """
    rows = [_row(run) for run in runs]
    if sort is None:
        return rows
    if sort == _STARTED:
        return sorted(rows, key=lambda row: str(row["started"]), reverse=True)
    scored = [row for row in rows if row["scores"].get(sort) is not None]
    if not scored:
        scores = sorted({name for row in rows for name in row["scores"]})
        raise UsageError(f"no run has the score {sort!r}; available: {', '.join([*scores, _STARTED])}")
    by_id = {run.id: run for run in runs}
    higher = _is_better_higher(sort.partition(".")[2], [by_id[row["id"]] for row in scored])
    scored.sort(key=lambda row: row["scores"][sort], reverse=higher)
    ranked = [row | {"rank": rank} for rank, row in enumerate(scored, 1)]
    return [*ranked, *(row | {"rank": None} for row in rows if row["scores"].get(sort) is None)]


STATES = ("completed", "failed", "interrupted", "running", "dead", "damaged")


def in_states(rows: list[dict[str, Any]], states: str) -> list[dict[str, Any]]:
    """Returns the rows in some states, which are given with commas between them; all rows where none is given.

    Raises:
        UsageError: there is no such state.
    """
    chosen = [name.strip() for name in states.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in STATES]
    if unknown:
        raise UsageError(f"--state: expected one or more of {', '.join(STATES)}, found {unknown[0]!r}")
    return [row for row in rows if not chosen or row["state"] in chosen]


def _is_better_higher(name: str, runs: list[RunFolder]) -> bool:
    """Returns which way a score improves, by the first spec that has the metric: reading hundreds of them takes seconds."""
    from dlcli.spec.training.metrics import higher_is_better

    if name == "loss":
        return False
    for run in runs:
        try:
            metrics: list[Any] = list(run.experiment().training.metrics or [])
        except DlcliError:
            continue
        if any(metric.name == name for metric in metrics):
            return higher_is_better(name, metrics)
    return False


def _row(run: RunFolder) -> dict[str, Any]:
    """Returns a run's entry in the list; one that cannot be read is `damaged` and does not hide the others."""
    try:
        return _sound_row(run)
    except DlcliError as error:
        reason = str(error).partition("\n")[0]
        sound = {"epoch": 0, "epochs": 0, "best_epoch": 0, "started": "", "scores": {}, "intervals": {}}
        sound |= {"test_is_validation": False, "seconds": None, "seed": None, "settings": [], "epochs_shown": "-"}
        return {"id": run.id, "state": "damaged", "error": reason} | sound


def _sound_row(run: RunFolder) -> dict[str, Any]:
    status = run.status()
    entries = {
        f"{split}.{name}": entry
        for split in run.scored_splits()
        for name, entry in run.metrics(split).get("metrics", {}).items()
    }
    return {
        "id": run.id,
        "state": run.shown_state,
        "epoch": status.epoch,
        "epochs": status.epochs,
        "best_epoch": status.best_epoch,
        "epochs_shown": epochs_of(run, status),
        "started": status.started,
        "seconds": seconds_of(status),
        "seed": seed_of(run),
        "settings": [setting for setting in settings_of(run) if not setting.startswith("seed=")],
        "error": status.error.partition("\n")[0],
        "scores": {name: entry["value"] for name, entry in entries.items()},
        "intervals": {name: entry.get("interval") for name, entry in entries.items()},
        "test_is_validation": marked(run, "test"),
    }


def show_runs(rows: list[dict[str, Any]], folder: Path, sort: str | None, *, all_of: int) -> None:
    """Prints the list of runs; `all_of` is their number including those not shown."""
    console = results_console()
    if not rows and all_of:
        console.print(f"none of the {all_of:,} runs in {folder} has this state", soft_wrap=True)
        return
    if not rows:
        console.print(f"no runs in {folder}; `{command()} train SPEC` makes one", soft_wrap=True)
        return
    ranked = sort is not None and sort != _STARTED
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    if ranked:
        table.add_column("", justify="right")
    for heading in ("run", "state", "epochs", str(sort) if ranked else "scores", "started", "took", "seed", "settings", ""):
        table.add_column(heading)
    for row in rows:
        scores = _ranked_score(row, str(sort)) if ranked else _headlines(row)
        rank = [str(row["rank"] or "")] if ranked else []
        table.add_row(*rank, row["id"], row["state"], row["epochs_shown"], scores, *_origins(row), row["error"])
    console.print(table)
    note = marked_note(row["test_is_validation"] and any(name.startswith("test.") for name in row["scores"]) for row in rows)
    if note:
        console.print(note, soft_wrap=True)
    if len(rows) < all_of:
        console.print(f"... {all_of - len(rows):,} more")


def _origins(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Returns when a run started, how long it took, its seed, and the settings that were changed on the command line."""
    took = "" if row["seconds"] is None else in_words(row["seconds"])
    seed = "" if row["seed"] is None else str(row["seed"])
    return _time(row["started"])[:16], took, seed, ", ".join(row["settings"])


def _ranked_score(row: dict[str, Any], sort: str) -> str:
    score = with_interval(row["scores"].get(sort), row["intervals"].get(sort))
    return f"{score}{_mark(row, sort)}" if row["scores"].get(sort) is not None else score


def _mark(row: dict[str, Any], name: str) -> str:
    return MARK if row["test_is_validation"] and name.startswith("test.") else ""


def _headlines(row: dict[str, Any]) -> str:
    """Returns the first scores of a row; the loss only where there is nothing else."""
    names = [name for name in row["scores"] if not name.endswith(".loss")] or list(row["scores"])
    return ", ".join(f"{name} {shown(row['scores'][name])}{_mark(row, name)}" for name in names[:_HEADLINES])


def with_interval(value: float | None, interval: list[float] | None) -> str:
    """Returns a score as tables show it, its interval behind it."""
    if not interval:
        return shown(value)
    return f"{shown(value)} ({shown(interval[0])} to {shown(interval[1])})"


def run_as_dict(run: RunFolder) -> dict[str, Any]:
    """Returns everything that `runs show` prints."""
    scores = {split: run.metrics(split) for split in run.scored_splits()}
    return {
        "id": run.id,
        "path": str(run.path),
        "status": asdict(run.status()) | {"state": run.shown_state},
        "data": run.data(),
        "environment": run.environment(),
        "scores": scores,
        "diagnosis": [asdict(finding) for finding in _findings(run)],
        **children_as_dict(run),
    }


def show_run(run: RunFolder) -> None:
    """Prints one run on one screen: facts, stages, scores, what stands out, files."""
    console = results_console()
    facts = Table(show_header=False, box=None, pad_edge=False)
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for row in [("run", run.id), *_state(run), *_origin(run), *_place(run), *_trackers(run)]:
        facts.add_row(*row)
    console.print(facts)
    show_stages(run)
    _show_scores(console, run)
    show_children(console, run)
    _show_findings(console, run)
    console.print(f"\n{run.path}", soft_wrap=True)
    console.print(f"  {', '.join(_files(run))}")


def _state(run: RunFolder) -> list[tuple[str, str]]:
    status = run.status()
    rows = [("state", f"{run.shown_state}{': ' + status.error if status.error else ''}")]
    if run.is_resumable:
        rows.append(("resume with", f"{command()} train --resume {run.id}"))
    value = "last" if status.monitor == LAST_EPOCH else f"{status.monitor} {shown(status.best_value)}"
    best = f"; best {status.best_epoch} ({value})" if status.best_epoch else ""
    reason = f"; {status.reason}" if status.reason else ""
    rows.append(("epochs", f"{epochs_of(run, status)}{best}{reason}"))
    return rows


def _origin(run: RunFolder) -> list[tuple[str, str]]:
    """Returns what was trained on what."""
    rows, data, parent = [], run.data(), run.status().parent
    try:
        experiment = run.experiment()
        rows.append(("model", f"{experiment.model.kind} for {experiment.task}, seed {experiment.seed}"))
    except DlcliError as error:
        rows.append(("model", f"its spec cannot be read: {str(error).partition(chr(10))[0]}"))
    if parent:
        rows.append(("continues", parent))
    if run.status().children:
        rows.append(("runs of", f"batch {run.status().children}"))
    if data:
        classes = f"; {len(data['classes'])} {_outputs(run)}" if data.get("classes") else ""
        rows.append(("data", sizes_in_words(data["examples"], shared=test_is_validation(run)) + classes))
    return rows


def _outputs(run: RunFolder) -> str:
    try:
        return run.experiment().task.output.nouns
    except DlcliError:
        return "classes"


def _place(run: RunFolder) -> list[tuple[str, str]]:
    """Returns when and where it was trained."""
    status, environment = run.status(), run.environment()
    ended = f", for {_duration(status.started, status.finished)}" if status.finished else ""
    resumed = f", resumed {'once' if status.resumed == 1 else f'{status.resumed} times'}" if status.resumed else ""
    rows = [("started", f"{_time(status.started)}{ended}{resumed}")]
    if environment:
        device = environment["device"]
        rows.append(("device", f"{device['kind']} ({device['name']}), {environment['precision']}, on {status.host}"))
        git = environment.get("git")
        if isinstance(git, dict) and git.get("commit"):
            rows.append(("commit", f"{str(git['commit'])[:12]}{', with changes' if git.get('changed') else ''}"))
    return rows


def _trackers(run: RunFolder) -> list[tuple[str, str]]:
    """Returns under which id each tracker knows the run; a file that cannot be read is ignored."""
    trackers = [f"{kind} {id_there}" for kind, id_there in tracker_ids(run).items()]
    return [("trackers", ", ".join(trackers))] if trackers else []


def _time(text: str) -> str:
    """Returns a time to the second; one that is none as it is."""
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return text


def _duration(start: str, end: str) -> str:
    try:
        return in_words((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
    except (ValueError, TypeError):
        return "an unknown time"


def in_words(seconds: float) -> str:
    """Returns a time as people say it."""
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _show_scores(console: PlainConsole, run: RunFolder) -> None:
    """Prints the scores of every split that was scored, and what the first one's baseline would reach."""
    scores = {split: run.metrics(split) for split in run.scored_splits()}
    if not scores:
        return
    first, baseline = next(iter(scores)), next(iter(scores.values()))["baseline"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("score")
    for split, split_scores in scores.items():
        table.add_column(f"{split_title(run, split)}, {split_scores['examples']:,} examples", justify="right")
    table.add_column(baseline["name"], justify="right", overflow="fold")
    for name in dict.fromkeys(name for split_scores in scores.values() for name in split_scores["metrics"]):
        entries = [split_scores["metrics"].get(name, {}) for split_scores in scores.values()]
        cells = [with_interval(entry.get("value"), entry.get("interval")) for entry in entries]
        table.add_row(name, *cells, shown(baseline["metrics"].get(name), name))
    console.print()
    console.print(table)
    for note in dict.fromkeys(filter(None, (split_note(run, split) for split in scores))):
        console.print(f"note: {note}", soft_wrap=True)
    pairs = worst_confusions(run, first)
    if pairs:
        console.print(f"most often confused on {split_title(run, first)}: {'; '.join(pairs)}")


def _findings(run: RunFolder) -> list[Any]:
    if not os.path.lexists(run.diagnosis_path):
        return []
    from dlcli.report.diagnosis import findings

    return findings(run) or []


def _show_findings(console: PlainConsole, run: RunFolder) -> None:
    """Prints the diagnosis with its first evidence and the first thing to try; the report has all of it."""
    for finding in _findings(run):
        console.print(f"\ndiagnosis: {finding.name}")
        for text in finding.evidence[:_EVIDENCE]:
            console.print(f"  {text}")
        for remedy in finding.remedies[:1]:
            console.print(f"  try: {remedy.words}")


def _files(run: RunFolder) -> list[str]:
    """Returns what is in the folder: files by name, folders with how many files they hold."""
    paths = [path.relative_to(run.path) for path in run.path.rglob("*") if path.is_file()]
    names = sorted(path.name for path in paths if len(path.parts) == 1)
    folders = Counter(_folder(path) for path in paths if len(path.parts) > 1)
    return [visible(name) for name in names] + [visible(f"{name}/ ({count:,})") for name, count in sorted(folders.items())]


def _folder(path: Path) -> str:
    """Returns the folder that a file is listed under: those of the splits apart."""
    return "/".join(path.parts[: 2 if path.parts[0] == layout.EVALUATION and len(path.parts) > 2 else 1])
