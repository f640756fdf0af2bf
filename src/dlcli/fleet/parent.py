"""A parent: the run whose results are those of several runs, its children. They are trained by a batch.

Its folder exists from the start, with the name of the spec; its status names the batch. The children are named like it with
`-folds` or `-fractions`. It is completed once all of them are, and is resumed like any run.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path

from dlcli.errors import Interrupted, RunFailed, UsageError
from dlcli.fleet import cross_validation, learning_curve
from dlcli.fleet.batch.active import Fleet
from dlcli.fleet.batch.batch import Watcher, run_batch
from dlcli.fleet.batch.engines.choose import fleet_for
from dlcli.fleet.batch.plan import refuse_mirrored
from dlcli.fleet.children import fold_jobs, fraction_jobs
from dlcli.program import command
from dlcli.report.write_up import beside_training
from dlcli.runs import RunFolder
from dlcli.runs.batches import Batch, Job, JobStatus, Settings, find_batch
from dlcli.runs.environment import process_started
from dlcli.runs.failures import recorded_failure
from dlcli.runs.reporter import Log, Reporter
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import LoadedSpec, to_yaml

Watch = Callable[[Batch, Fleet, Settings], AbstractContextManager[Watcher]]
"""Returns what shows the progress of the children while the block runs."""


def train_folds(
    loaded: LoadedSpec,
    runs: Path,
    reporter: Reporter,
    *,
    folds: int,
    repeats: int = 1,
    settings: Settings | None = None,
    watch: Watch | None = None,
) -> RunFolder:
    """Trains a run for each fold of a cross-validation and returns the parent, whose model averages theirs.

    Args:
        loaded: the spec.
        runs: the folder of the runs.
        reporter: receives the lines of the parent's log.
        folds: the number of folds.
        repeats: how often the examples are divided, each time differently.
        settings: of the batch that trains the runs.
        watch: shows the progress of the runs.

    Raises:
        SpecError: the spec, or a class with fewer examples than folds.
        RunFailed: a fold's run failed; the parent has no results then.
        Interrupted: a signal stopped it; `resume_parent` continues it.
    """
    settings = settings or Settings()
    jobs = fold_jobs(loaded, folds, repeats)
    check = partial(cross_validation.refuse_small_classes, loaded, jobs[0], offline=settings.offline)
    split = loaded.experiment.data.split.model_copy(update={"folds": folds})
    experiment = loaded.experiment.model_copy(update={"data": loaded.experiment.data.model_copy(update={"split": split})})
    return _trained(loaded, experiment, jobs, runs, reporter, settings, watch, check)


def train_fractions(
    loaded: LoadedSpec,
    runs: Path,
    reporter: Reporter,
    *,
    fractions: Sequence[float],
    seeds: Sequence[int] = (),
    settings: Settings | None = None,
    watch: Watch | None = None,
) -> RunFolder:
    """Trains a run for each fraction of the training data and seed, and returns the parent with the curve of their scores.

    The arguments and errors are those of `train_folds`.
    """
    jobs = fraction_jobs(loaded, fractions, seeds)
    return _trained(loaded, loaded.experiment, jobs, runs, reporter, settings or Settings(), watch)


def resume_parent(
    run: RunFolder, reporter: Reporter, *, jobs: int | None = None, offline: bool = False, watch: Watch | None = None
) -> None:
    """Trains the children of a parent that are missing, resumes interrupted ones and trains failed ones again.

    Raises:
        UsageError: another process trains them, or there is no such batch.
        RunFailed, Interrupted: as by `train_folds`.
    """
    batch = find_batch(run.status().children, run.path.parents[1])
    before = batch.settings()
    settings = Settings(jobs=jobs or before.jobs, gpus=before.gpus, per_gpu=before.per_gpu, offline=offline or before.offline)
    with run.hold():
        log = _logger(run, reporter)
        if run.status().state == "completed":
            log(f"{run.id} is complete")
            return
        batch.queue_failed()
        status = run.status()
        run.update_status(
            state="running",
            pid=os.getpid(),
            host=socket.gethostname(),
            process_started=process_started(),
            finished="",
            error="",
            resumed=status.resumed + 1,
        )
        _complete(run, batch, fleet_for(settings, batch.jobs()), settings, reporter, log, watch)


def _trained(
    loaded: LoadedSpec,
    experiment: Experiment,
    jobs: list[Job],
    runs: Path,
    reporter: Reporter,
    settings: Settings,
    watch: Watch | None,
    check: Callable[[], None] = lambda: None,
) -> RunFolder:
    """Trains the jobs and returns their parent; `check` opens the data.

    The process that runs are forked from is started first: it must not have what this process opens or starts.
    """
    fleet = fleet_for(settings, jobs)  # an absent GPU is reported before anything is made
    refuse_mirrored(jobs, on_cluster=False, on_gpus=fleet.has_gpus)
    check()
    batch = Batch.create(runs, jobs, settings)
    run = RunFolder.create(
        runs.absolute(), experiment.name, spec=to_yaml(experiment), source=loaded.source_text, children=batch.id
    )
    run.update_status(process_started=process_started())
    with run.hold():
        _complete(run, batch, fleet, settings, reporter, _logger(run, reporter), watch)
    return run


def _complete(
    run: RunFolder, batch: Batch, fleet: Fleet, settings: Settings, reporter: Reporter, log: Log, watch: Watch | None
) -> None:
    """Trains the children and computes the results of the parent, which this process holds."""
    log(f"{len(batch.jobs())} runs, batch {batch.id}")
    with recorded_failure(run):
        with closing(fleet), watch(batch, fleet, settings) if watch else nullcontext(Watcher()) as watcher:
            try:
                run_batch(batch, fleet, settings, watcher)
            except Interrupted as error:  # its words end with the command that resumes the batch
                raise Interrupted(str(error).partition(";")[0]) from None
        _refuse_incomplete(run, batch)
    children = [_run_of(batch, job) for job in batch.jobs()]
    with beside_training():
        _finish(run, batch, children, reporter, log, offline=settings.offline)


def _finish(
    run: RunFolder, batch: Batch, children: Sequence[RunFolder], reporter: Reporter, log: Log, *, offline: bool
) -> None:
    """Computes the results of the completed children."""
    if _is_cross_validation(batch):
        cross_validation.finish(run, batch, children, reporter, log, offline=offline)
        return
    with recorded_failure(run):
        learning_curve.finish(run, batch, children, log)


def _is_cross_validation(batch: Batch) -> bool:
    return any(override.startswith("data.split.fold=") for override in batch.jobs()[0].overrides)


def _refuse_incomplete(run: RunFolder, batch: Batch) -> None:
    """Raises RunFailed with the children that are not completed: results of fewer runs would be of another experiment."""
    jobs = batch.jobs()
    statuses = [(job, batch.status(job)) for job in jobs]
    lacking = [(job, status) for job, status in statuses if status.state != "completed"]
    if lacking:
        lines = "".join(f"\n  {_failure(batch, job, status)}" for job, status in lacking)
        raise RunFailed(
            f"{len(lacking)} of {len(jobs)} runs are not completed, so there are no results:{lines}\n"
            f"`{command()} train --resume {run.path}` trains them again"
        )


def _failure(batch: Batch, job: Job, status: JobStatus) -> str:
    child = batch.run_of(job)
    where = f" [{child.id}]" if child else ""
    return f"{job.group}, seed {job.seed}: {status.state}: {status.reason.partition(chr(10))[0] or 'no reason recorded'}{where}"


def _run_of(batch: Batch, job: Job) -> RunFolder:
    run = batch.run_of(job)
    if run is None:
        raise UsageError(f"the run of {job.group}, seed {job.seed} was removed; batch {batch.id} names it as completed")
    return run


def _logger(run: RunFolder, reporter: Reporter) -> Log:
    """Returns a function that writes a line for the user and to the parent's log."""

    def log(line: str) -> None:
        run.log(line)
        reporter.log(line)

    return log
