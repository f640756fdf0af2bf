"""A search over a space of specs: `dlcli sweep`."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, Overrides, RunsFolder
from dlcli.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from dlcli.fleet.batch.devices import Slot
    from dlcli.fleet.batch.engines.local import LocalEngine
    from dlcli.fleet.sweep.study import Search
    from dlcli.runs.sweeps import SweepFolder
    from dlcli.spec.load import LoadedSpec


def sweep(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="Spec (a YAML file) with a `sweep` section.")] = "",
    overrides: Overrides = None,
    resume: Annotated[str, typer.Option(metavar="ID", help="Resume this sweep (`latest`: the newest), in place of SPEC.")] = "",
    join: Annotated[
        str, typer.Option(metavar="ID", help="Join this sweep, which another process started, in place of SPEC.")
    ] = "",
    storage: Annotated[
        str,
        typer.Option(metavar="URL", help="Storage of the trials: a postgresql:// or mysql:// URL, or a file on a shared disk."),
    ] = "",
    trials: Annotated[int | None, typer.Option(min=1, help="Total number of trials, in place of the spec's.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Number of trials at once in this process, in place of the spec's.")
    ] = None,
    gpus: Annotated[str, typer.Option(metavar="0,1", help="GPUs to use, or `none` for the CPU.  [default: all]")] = "",
    per_gpu: Annotated[int, typer.Option(min=1, help="Number of trials per GPU, which share its memory evenly.")] = 1,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Search a space of specs for the best score.

    Each trial has its own process. --resume resumes an interrupted sweep.
    """
    if sum(map(bool, (spec, resume, join))) != 1:
        raise UsageError("sweep needs a SPEC, --resume ID or --join ID")
    if overrides and not spec:
        raise UsageError("--set is for a new sweep: omit it with --resume and --join")

    from dlcli.fleet.batch.devices import slots
    from dlcli.runs.sweeps import absolute_storage

    storage = absolute_storage(storage)
    places = slots(jobs, gpus, per_gpu)
    if spec:
        loaded = _checked(spec, overrides or [], trials, on_gpus=places[0].is_gpu)
        engine = _loading_engine()
        folder, search = _new_sweep(loaded, storage, runs)
    else:
        folder, search = _existing_sweep(resume, join, storage, trials, runs)
        engine = _loading_engine()
    _run(folder, search, engine, places, jobs, per_gpu, joins=bool(join), as_json=as_json, offline=offline)


def _loading_engine() -> LocalEngine:
    """Returns the engine, whose process loads TensorFlow while this one loads Optuna."""
    from dlcli.fleet.batch.engines.local import LocalEngine

    return LocalEngine()


def _checked(spec: str, overrides: list[str], trials: int | None, *, on_gpus: bool) -> LoadedSpec:
    """Returns the checked spec of a new sweep."""
    from dlcli.spec.load import load

    loaded = load(spec, [*overrides, *([f"sweep.trials={trials}"] if trials else [])], with_search=True)
    sweep = loaded.experiment.sweep
    if sweep is None:
        raise UsageError(f"{spec} has no `sweep` section; docs/sweep.md describes it")
    from dlcli.fleet.batch.plan import refuse_mirrored
    from dlcli.fleet.sweep.study import require_optuna
    from dlcli.runs.batches import Job

    require_optuna(sweep.sampler)
    job = Job(0, loaded.experiment.name, "", spec, loaded.document.text, list(loaded.overrides), loaded.experiment.seed)
    refuse_mirrored([job], on_cluster=False, on_gpus=on_gpus)
    return loaded


def _new_sweep(loaded: LoadedSpec, storage: str, runs: Path) -> tuple[SweepFolder, Search]:
    """Makes the folder and the study of a sweep."""
    from dlcli.fleet.sweep.study import create
    from dlcli.runs.sweeps import SweepFolder

    folder = SweepFolder.make(runs, storage)
    try:
        return folder, create(folder, storage, loaded)
    except UsageError:
        shutil.rmtree(folder.path)  # `make` has just made it, under a new name
        raise


def _existing_sweep(resume: str, join: str, storage: str, trials: int | None, runs: Path) -> tuple[SweepFolder, Search]:
    """Opens the study of an existing sweep; one that another machine started has no folder here yet."""
    from dlcli.fleet.sweep.study import require_optuna
    from dlcli.runs.sweeps import SweepFolder, find_sweep

    require_optuna()
    try:
        folder = find_sweep(resume or join, runs)
    except UsageError as error:
        if resume or not storage:
            raise
        elsewhere = SweepFolder.elsewhere(runs, join)
        if elsewhere is None:
            raise UsageError(f"{error}; to join a sweep of another machine, give its complete id") from None
        search = _opened(elsewhere, storage, trials)
        elsewhere.write(storage)
        return elsewhere, search
    others = folder.others("")
    if resume and others:
        raise UsageError(f"sweep {folder.id} is in progress; use --join {folder.id} to work on it too")
    return folder, _opened(folder, folder.storage(storage), trials)


def _opened(folder: SweepFolder, storage: str, trials: int | None) -> Search:
    """Opens a study, and refuses one whose sampler is not installed here."""
    from dlcli.fleet.sweep.study import open_search, require_optuna

    search = open_search(folder, storage, trials)
    assert search.experiment.sweep is not None
    require_optuna(search.experiment.sweep.sampler)
    return search


def _run(
    folder: SweepFolder,
    search: Search,
    engine: LocalEngine,
    places: list[Slot],
    jobs: int | None,
    per_gpu: int,
    *,
    joins: bool,
    as_json: bool,
    offline: bool,
) -> None:
    from dlcli.cli.console import print_json
    from dlcli.cli.sweep_display import SweepDisplay, show_sweep
    from dlcli.fleet.batch.active import Fleet
    from dlcli.fleet.batch.devices import slots
    from dlcli.fleet.sweep.study import with_resume_hint
    from dlcli.fleet.sweep.sweep import Working, run_sweep
    from dlcli.fleet.sweep.write import write_results

    sweep = search.experiment.sweep
    assert sweep is not None
    if jobs is None and not places[0].is_gpu:
        places = slots(sweep.jobs, "none", per_gpu)
    try:
        with folder.working() as name, closing(Fleet(engine, places)) as fleet:
            working = Working(name, fleet, joins, offline)
            run_sweep(folder, search, working, SweepDisplay(folder, search, quiet=as_json))
    except Interrupted:
        with with_resume_hint(folder):
            write_results(folder, search)
        raise
    with with_resume_hint(folder):
        results = write_results(folder, search)
    if as_json:
        print_json(results.plain())
    else:
        show_sweep(results)
    if results.outcome.of_state("failed"):
        raise typer.Exit(1)
