"""What a batch came to: for each spec and setting the mean and deviation over seeds, and why runs failed."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from dlcli.errors import DamagedFile, DlcliError
from dlcli.runs import Run
from dlcli.runs.batches import Batch, Job, JobStatus
from dlcli.spec.metrics import higher_is_better


@dataclass(frozen=True)
class Line:
    """One spec and its settings: metric -> mean and sample deviation over the runs that completed (None of one alone)."""

    group: str
    split: str
    scores: dict[str, tuple[float, float | None]]
    completed: int
    jobs: int
    runs: list[str]


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
    """The lines, the best by the first metric on top, and the failures."""

    metric: str
    lines: list[Line]
    failures: list[Failure]


def leaderboard(batch: Batch) -> Leaderboard:
    """Returns what the runs of a batch reached, by its job files and run folders alone."""
    jobs = batch.jobs()
    runs = {number: found[-1] for number, found in batch.runs_by_job(jobs).items()}
    statuses = {job.number: batch.status(job) for job in jobs}
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.group, []).append(job)
    lines = [_line(group, members, statuses, runs) for group, members in groups.items()]
    metric = next((name for line in lines for name in line.scores if name != "loss"), "loss")
    sign = -1 if _rises(metric, runs) else 1
    lines.sort(key=lambda line: (metric not in line.scores, sign * line.scores.get(metric, (0.0, None))[0]))
    failed = [
        Failure(job.number, job.group, job.seed, status.state, status.reason, runs[job.number].id if job.number in runs else "")
        for job in jobs
        for status in [statuses[job.number]]
        if status.state != "completed"
    ]
    return Leaderboard(metric, lines, failed)


def _line(group: str, jobs: list[Job], statuses: dict[int, JobStatus], runs: dict[int, Run]) -> Line:
    done = [runs[job.number] for job in jobs if statuses[job.number].state == "completed" and job.number in runs]
    split, scores = "", list[dict[str, Any]]()
    for run in done:
        try:
            split = next(iter(run.scored_splits()), "")
            scores.append(run.metrics(split).get("metrics", {}) if split else {})
        except DamagedFile:
            continue
    values: dict[str, list[float]] = {}
    for one in scores:
        for name, entry in one.items():
            if entry["value"] is not None:
                values.setdefault(name, []).append(entry["value"])
    found = {name: (fmean(some), stdev(some) if len(some) > 1 else None) for name, some in values.items()}
    return Line(group, split, found, len(done), len(jobs), [run.id for run in done])


def _rises(metric: str, runs: dict[int, Run]) -> bool:
    for run in runs.values():
        try:
            return higher_is_better(metric, list(run.experiment().training.metrics or []))
        except DlcliError:
            continue
    return False
