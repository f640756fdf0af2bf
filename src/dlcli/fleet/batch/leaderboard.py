"""The leaderboard of a batch: for each spec and setting the mean and deviation over seeds, and why runs failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from dlcli.errors import DlcliError, UsageError
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Job, JobStatus
from dlcli.runs.files import write_table
from dlcli.runs.scored_splits import split_note, split_title
from dlcli.spec.load import load_text
from dlcli.spec.training.metrics import higher_is_better


@dataclass(frozen=True)
class Line:
    """One spec and its settings: metric -> mean and sample deviation over the runs that completed (None of one alone).

    Scores of the validation split start with `val_`; they are those of the epoch whose model was kept. `each` are the scores of
    each run, in the order of `runs`.
    """

    group: str
    data: str
    split: str
    note: str
    scores: dict[str, tuple[float, float | None]]
    completed: int
    jobs: int
    runs: list[str]
    each: list[dict[str, float]]


@dataclass(frozen=True)
class Failure:
    """A job without a completed run."""

    job: int
    group: str
    seed: int
    state: str
    reason: str
    run: str


@dataclass(frozen=True)
class Leaderboard:
    """The lines, the best by `metric` on top, and the failures."""

    metric: str
    lines: list[Line]
    failures: list[Failure]

    def by_data(self) -> Iterator[tuple[str, list[Line]]]:
        """Yields each dataset with its lines: scores on different data do not show which model is better."""
        for data in dict.fromkeys(line.data for line in self.lines):
            yield data, [line for line in self.lines if line.data == data]


def leaderboard(batch: Batch, sort: str = "") -> Leaderboard:
    """Returns what the runs of a batch reached, by its job files and run folders alone.

    Args:
        batch: the batch.
        sort: the score to sort by, such as `accuracy` or `val_loss`; the first one that is no loss if not given.

    Raises:
        UsageError: no run has the score.
    """
    jobs = batch.jobs()
    runs = {number: job_runs[-1] for number, job_runs in batch.runs_by_job(jobs).items()}
    statuses = {job.number: batch.status(job) for job in jobs}
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.group, []).append(job)
    lines = [_line(group, members, statuses, runs) for group, members in groups.items()]
    names = list(dict.fromkeys(name for line in lines for name in line.scores))
    if sort and lines and names and sort not in names:
        raise UsageError(f"--sort: no run of this batch has the score {sort!r}; available: {', '.join(names)}")
    metric = sort or next((name for name in names if name != "loss" and not name.startswith("val_")), "loss")
    sign = -1 if _rises(metric, runs) else 1
    lines.sort(key=lambda line: (metric not in line.scores, sign * line.scores.get(metric, (0.0, None))[0]))
    failed = [
        Failure(job.number, job.group, job.seed, status.state, status.reason, runs[job.number].id if job.number in runs else "")
        for job in jobs
        for status in [statuses[job.number]]
        if status.state != "completed"
    ]
    return Leaderboard(metric, lines, failed)


def write_leaderboard(batch: Batch, board: Leaderboard) -> Path:
    """Writes `leaderboard.csv` into the batch's folder, a row for each run that completed, and returns the file."""
    names = list(dict.fromkeys(name for line in board.lines for scores in line.each for name in scores))
    path = batch.leaderboard_path
    rows = (
        [place, line.group, line.data, line.split, run, *(scores.get(name, "") for name in names)]
        for place, line in enumerate(board.lines, 1)
        for run, scores in zip(line.runs, line.each, strict=True)
    )
    write_table(path, ("rank", "spec", "data", "part", "run", *names), rows)
    return path


def _line(group: str, jobs: list[Job], statuses: dict[int, JobStatus], runs: dict[int, RunFolder]) -> Line:
    done = [runs[job.number] for job in jobs if statuses[job.number].state == "completed" and job.number in runs]
    title, note, completed, each = "", "", list[RunFolder](), list[dict[str, float]]()
    for run in done:
        try:
            split = next(iter(run.scored_splits()), "")
            scores = _scores(run, split)
            title, note = (split_title(run, split), split_note(run, split)) if split else ("", "")
        except DlcliError:
            continue
        completed.append(run)
        each.append(scores)
    values: dict[str, list[float]] = {}
    for scores in each:
        for name, value in scores.items():
            values.setdefault(name, []).append(value)
    spreads = {name: (fmean(series), stdev(series) if len(series) > 1 else None) for name, series in values.items()}
    return Line(group, _data_of(jobs[0]), title, note, spreads, len(done), len(jobs), [run.id for run in completed], each)


def _scores(run: RunFolder, split: str) -> dict[str, float]:
    """Returns the scores of a split, then those of the validation split in the epoch whose model was saved."""
    entries = run.metrics(split).get("metrics", {}) if split else {}
    values = {name: entry["value"] for name, entry in entries.items() if entry["value"] is not None}
    best = run.status().best_epoch
    row = next((row for row in run.history() if row.get("epoch") == str(best)), {})
    return values | {name: float(cell) for name, cell in row.items() if name.startswith("val_") and cell}


def _data_of(job: Job) -> str:
    """Returns a description of a job's dataset: its source's kind and name."""
    try:
        source: Any = load_text(job.text, job.file, job.overrides).experiment.data.source
    except DlcliError:
        return ""
    name = next((str(getattr(source, field)) for field in ("name", "path", "dataset") if getattr(source, field, None)), "")
    return f"{source.kind} {name}".strip()


def _rises(metric: str, runs: dict[int, RunFolder]) -> bool:
    for run in runs.values():
        try:
            return higher_is_better(metric, list(run.experiment().training.metrics or []))
        except DlcliError:
            continue
    return False
