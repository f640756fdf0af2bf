"""Many runs: `dlcli batch`."""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, RunsFolder
from dlcli.errors import UsageError

if TYPE_CHECKING:
    from dlcli.fleet.batch.active import Fleet
    from dlcli.runs.batches import Batch, Job, Settings


def batch(
    specs: Annotated[list[str] | None, typer.Argument(metavar="SPEC...", help="Specs (YAML files).")] = None,
    seeds: Annotated[str, typer.Option(metavar="0-4,7", help="Seeds for every spec.  [default: the spec's own]")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=A,B", help="Override a field. Several values give one run each."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Resume this batch (`latest`: the newest), in place of SPEC. On a cluster, repeat --engine and --address.",
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="With --resume: train failed runs again.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of runs at once.  [default: --per-gpu on each GPU; without a GPU one per core, at most 8,"
            " if networks and data are small, else 1]",
        ),
    ] = None,
    gpus: Annotated[str | None, typer.Option(metavar="0,1", help="GPUs to use, or `none` for the CPU.  [default: all]")] = None,
    per_gpu: Annotated[
        int | None, typer.Option(min=1, help="Number of runs per GPU, which share its memory.  [default: 1]")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Time limit of a run, which then stops with a checkpoint.")
    ] = None,
    memory: Annotated[float | None, typer.Option(min=0.1, metavar="GB", help="Memory limit of a run.")] = None,
    retries: Annotated[
        int | None, typer.Option(min=0, help="Number of retries after a process was killed.  [default: 1]")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="local|ray|slurm",
            help="Train on this machine, or on a cluster that shares the disk of the runs folder.  [default: local]",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ray cluster to use (`auto`: that of this machine). With --engine slurm, `local` runs tasks without SLURM.",
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(help="Score to sort the leaderboard by, e.g. accuracy, or val_accuracy for the validation split."),
    ] = "",
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Train specs with several seeds and settings.

    Each run has its own process. --resume resumes an interrupted batch.
    """
    from dlcli.fleet.batch.engines.choose import fleet_for
    from dlcli.runs.batches import Batch, Settings

    options: dict[str, Any] = {
        "jobs": jobs,
        "gpus": gpus,
        "per_gpu": per_gpu,
        "minutes": minutes,
        "memory_gb": memory,
        "retries": retries,
        "engine": engine,
        "address": address,
    }
    options = {name: value for name, value in options.items() if value is not None} | ({"offline": True} if offline else {})
    if resume is not None:
        if specs or seeds or settings:
            raise UsageError("--resume uses the specs and seeds of the batch: omit SPEC, --seeds and --set")
        job_batch, merged = _interrupted_batch(resume, runs, options)
        fleet = fleet_for(merged, job_batch.jobs())
        if retry_failed:
            job_batch.queue_failed()
    else:
        if retry_failed:
            raise UsageError("--retry-failed needs --resume ID")
        merged = replace(Settings(), **options)
        from dlcli.fleet.batch.plan import refuse_mirrored

        planned = _planned(specs or [], seeds, settings or [])
        fleet = fleet_for(merged, planned)  # an absent GPU is reported before anything is made
        refuse_mirrored(planned, on_cluster=merged.engine != "local", on_gpus=fleet.has_gpus)
        job_batch = Batch.create(runs, planned, merged)
    _run(job_batch, merged, fleet, sort, as_json=as_json)


def _interrupted_batch(resume: str, runs: Path, options: dict[str, Any]) -> tuple[Batch, Settings]:
    """Returns a batch to resume, and its settings with those of the options.

    The user names the cluster: the folder may belong to another user, and could name any server.
    """
    from dlcli.runs.batches import find_batch

    job_batch = find_batch(resume, runs)
    before = job_batch.settings()
    _refuse_kept_cluster(job_batch.id, before, options)
    if options.get("engine", before.engine) != before.engine:  # another engine has other places
        if before.engine == "slurm":
            from dlcli.fleet.batch.engines.slurm import refuse_left_tasks

            refuse_left_tasks(job_batch, before)
        before = replace(before, address="", gpus="", per_gpu=1)
    return job_batch, replace(before, **options)


def _refuse_kept_cluster(name: str, before: Settings, options: dict[str, Any]) -> None:
    """Raises UsageError where only the batch's folder says which cluster its runs go to."""
    address = f" --address {shlex.quote(before.address)}" if before.address else ""
    if before.engine != "local" and "engine" not in options:
        again = f"--engine {before.engine}{address}"
        raise UsageError(f"batch {name} ran with {again}: repeat these options, or use --engine local")
    if address and options.get("engine") == before.engine and "address" not in options:
        raise UsageError(f"batch {name} ran with{address}: repeat this option, or use --address '' for none")


def _planned(specs: list[str], seeds: str, settings: list[str]) -> list[Job]:
    """Checks every spec and returns the jobs."""
    from dlcli.fleet.batch.plan import planned, seeds_of

    if not specs:
        raise UsageError("batch needs a SPEC, or --resume ID")
    return planned(specs, seeds_of(seeds), settings)


def _run(job_batch: Batch, merged: Settings, fleet: Fleet, sort: str, *, as_json: bool) -> None:
    from dlcli.cli.console import print_json
    from dlcli.cli.fleet_display import BatchDisplay, show_leaderboard
    from dlcli.fleet.batch.batch import run_batch
    from dlcli.fleet.batch.leaderboard import leaderboard, write_leaderboard

    on_cores = merged.engine == "local" and merged.jobs is None and not fleet.has_gpus
    places = f"{fleet.size} at once (small networks; --jobs changes it)" if on_cores and fleet.size > 1 else ""
    with BatchDisplay(job_batch, places, quiet=as_json) as display, closing(fleet):
        run_batch(job_batch, fleet, merged, display)
    path = write_leaderboard(job_batch, leaderboard(job_batch))  # written independently of `sort`
    board = leaderboard(job_batch, sort)
    if as_json:
        print_json({"batch": job_batch.id, **asdict(board), "table": str(path)})
    else:
        show_leaderboard(job_batch, board, path)
    _name_parent(job_batch)
    if board.failures:
        raise typer.Exit(1)


def _name_parent(job_batch: Batch) -> None:
    """Prints which run the results of a batch belong to, if it is that of a cross-validation or of fractions of the data."""
    from dlcli.program import command
    from dlcli.runs.lookup import parent_of
    from dlcli.visible import visible

    parent = parent_of(job_batch.id, job_batch.runs)
    if parent is not None and parent.status().state != "completed":
        text = f"these are runs of {parent.id}; `{command()} train --resume {parent.path}` computes its results"
        typer.echo(visible(text), err=True)
