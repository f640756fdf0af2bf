"""The commands that train: `dlcli train` and `dlcli finetune`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, Overrides, Profile, Quiet, RunsFolder, complete_run, named_run
from dlcli.cli.parents import refuse_combinations
from dlcli.visible import visible

if TYPE_CHECKING:
    from dlcli.cli.console import TrainingDisplay
    from dlcli.runs import RunFolder
    from dlcli.runtime.cluster import Cluster


def train(
    spec: Annotated[str | None, typer.Argument(metavar="SPEC", help="Spec (a YAML file).")] = None,
    overrides: Overrides = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Resume or extend this run, in place of training SPEC.", autocompletion=complete_run),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY", help="Learning-rate schedule in added epochs, with --resume: continue, stretch or rewarm."
        ),
    ] = None,
    runs: RunsFolder = DEFAULT_RUNS,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT,...", help="Addresses of all processes that train the model together; the chief is the first."
        ),
    ] = None,
    index: Annotated[int | None, typer.Option(min=0, help="Index of this process in --workers, from 0.")] = None,
    local_workers: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Start N workers on this machine, for tests.")
    ] = None,
    profile: Profile = "",
    folds: Annotated[
        int | None, typer.Option(min=2, metavar="K", help="Cross-validate: train a run for each of K folds, and average them.")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="With --folds: divide the examples N times.  [default: 1]")
    ] = None,
    data_fractions: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="Train on fractions of the data, e.g. 0.1,0.3,1.0: would more help?"),
    ] = "",
    seeds: Annotated[str, typer.Option(metavar="0-2", help="With --data-fractions: seeds for each fraction.")] = "",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="With --folds or --data-fractions: number of runs at once, as for `batch`.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Train a model from a spec, or resume an interrupted run.

    The run folder contains the model of the best epoch and its scores on the test split.
    """
    several: dict[str, Any] = {"folds": folds, "repeats": repeats, "data_fractions": data_fractions, "seeds": seeds}
    several |= {"jobs": jobs}
    workers_set = bool(workers or local_workers or index is not None)
    others = {"--resume": resume is not None, "--schedule": schedule is not None, "--profile": bool(profile)}
    refuse_combinations(several, others | {"--workers": workers_set})
    from dlcli.cli.parents import train_several
    from dlcli.errors import UsageError

    if (workers is None) != (index is None) or (workers and local_workers):
        raise UsageError("--workers needs --index, and neither can be combined with --local-workers")
    _check_profile(profile, several=bool(workers or local_workers))
    if local_workers:
        _start_workers(local_workers)
    if resume is not None:
        if spec is not None:
            raise UsageError("--resume uses the spec of the run: omit SPEC; --set training.epochs=30 adds epochs")
        if _is_parent(resume, runs):
            _resume_several(resume, runs, overrides or [], several, others, quiet=quiet, as_json=as_json, offline=offline)
            return
        if jobs is not None:
            raise UsageError("--jobs is for a run of --folds or --data-fractions")
        shown = {"quiet": quiet, "as_json": as_json}
        _resume(resume, runs, overrides or [], schedule, workers, index, offline=offline, profile=profile, **shown)
        return
    if spec is None or schedule is not None:
        raise UsageError("train needs a SPEC, or --resume RUN" if spec is None else "--schedule needs --resume RUN")
    if folds is not None or data_fractions:
        show_run(
            train_several(spec, overrides or (), runs, several, quiet=quiet, offline=offline), quiet=quiet, as_json=as_json
        )
        return
    if jobs is not None:
        raise UsageError("--jobs needs --folds or --data-fractions")
    run = _train_one(spec, overrides or (), runs, workers, index, offline=offline, profile=profile, quiet=quiet)
    if run is not None:
        show_run(run, quiet=quiet, as_json=as_json)


def _train_one(
    spec: str,
    overrides: Sequence[str],
    runs: Path,
    workers: str | None,
    index: int | None,
    *,
    offline: bool,
    profile: str,
    quiet: bool,
) -> RunFolder | None:
    """Trains a spec and returns its run; None in a worker that is not the chief of its cluster."""
    from dlcli.api.training import load
    from dlcli.api.training import train as train_model
    from dlcli.report.write_up import beside_training

    loaded = load(spec, set=overrides)
    cluster = _cluster(loaded.experiment.hardware.strategy, workers, index)
    if cluster is not None and not cluster.is_chief:
        from dlcli.training.workers import follow

        follow(loaded, cluster, offline=offline)
        return None
    with training_display(quiet) as display, beside_training(enabled=cluster is None):
        run = train_model(loaded, runs=runs, offline=offline, reporter=display, cluster=cluster, profile=profile)
    return run.folder


def _is_parent(name: str, runs: Path) -> bool:
    """Whether a name means a run whose results are those of other runs."""
    from dlcli.runs import find_run

    return bool(find_run(name, runs, newest=True).status().children)


def _resume_several(
    name: str,
    runs: Path,
    overrides: list[str],
    several: dict[str, Any],
    others: dict[str, bool],
    *,
    quiet: bool,
    as_json: bool,
    offline: bool,
) -> None:
    from dlcli.cli.parents import resume_several
    from dlcli.errors import UsageError
    from dlcli.runs import find_run

    run = find_run(name, runs, newest=True)
    unfit = next((option for option, is_set in others.items() if is_set and option != "--resume"), "")
    if overrides or unfit:
        raise UsageError(f"{run.id} consists of several runs, which are resumed as they are: omit {unfit or '--set'}")
    typer.echo(f"run: {run.path}", err=True)
    resume_several(run, several["jobs"], quiet=quiet, offline=offline)
    show_run(run, quiet=quiet, as_json=as_json)


def _check_profile(text: str, *, several: bool) -> None:
    """Checks the steps of `--profile` before anything is loaded."""
    from dlcli.errors import UsageError
    from dlcli.runs.profile import StepRange

    if text:
        StepRange.parse(text)
    if text and several:
        raise UsageError("--profile: supports a single device; omit --workers and --local-workers")


def _cluster(strategy: str, workers: str | None, index: int | None) -> Cluster | None:
    """Returns the workers that train together: those of the command line, else those of the environment."""
    if workers is None and strategy not in ("multi_worker", "auto"):
        return None
    from dlcli.runtime.cluster import cluster_around, named_cluster

    cluster = named_cluster(workers, index) if workers is not None else cluster_around(strategy)
    if cluster is not None:
        place = "the chief" if cluster.is_chief else f"the chief at {cluster.addresses[0]} writes the run"
        typer.echo(visible(f"worker {cluster.index} of {len(cluster.addresses)}: {place}; waiting for the others"), err=True)
    return cluster


def _start_workers(count: int) -> NoReturn:
    """Runs this command in several processes, each with its worker index, and exits with the chief's exit code."""
    from dlcli.training.local_workers import run_local_workers

    words, arguments = iter(sys.argv[1:]), list[str]()
    for word in words:
        if word == "--local-workers":
            next(words)
        elif not word.startswith("--local-workers="):
            arguments.append(word)
    raise typer.Exit(run_local_workers(count, arguments))


def finetune(
    what: Annotated[
        str,
        typer.Argument(metavar="SPEC|RUN", help="Spec (a YAML file), or a completed run.", autocompletion=complete_run),
    ],
    overrides: Overrides = None,
    selection: Annotated[
        str | None,
        typer.Option("--train", metavar="WHAT", help="RUN only: layers to train: all, head, last:20, blocks:2 or from:LAYER."),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="RUN only: learning rate.  [default: that of the last stage, or a hundredth of it if the backbone was frozen]",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="RUN only: number of epochs.  [default: as in the last stage]")
    ] = None,
    runs: RunsFolder = DEFAULT_RUNS,
    profile: Profile = "",
    quiet: Quiet = False,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Fine-tune a model in stages, from a spec or a completed run.

    The stages of a spec train the head first, then layers of the backbone too. A completed run is trained in one more stage;
    the result is a new run.
    """
    from dlcli.api.run import Run
    from dlcli.api.training import finetune as finetune_model
    from dlcli.errors import UsageError
    from dlcli.report.write_up import beside_training

    _check_profile(profile, several=False)
    with training_display(quiet) as display, beside_training():
        options: dict[str, Any] = {"set": overrides or (), "runs": runs, "offline": offline, "reporter": display}
        options |= {"profile": profile}
        if os.path.isfile(what) or what.endswith((".yaml", ".yml")):
            if (selection, learning_rate, epochs) != (None, None, None):
                raise UsageError("--train, --learning-rate and --epochs need a RUN; a SPEC sets them in `training.stages`")
            tuned = finetune_model(what, **options)
        else:
            source, kind = Run(named_run(what, runs).path), _selection(selection or "all")
            tuned = finetune_model(source, train=kind, learning_rate=learning_rate, epochs=epochs, **options)
    show_run(tuned.folder, quiet=quiet, as_json=as_json)


def _selection(text: str) -> Any:
    """Returns what `--train` names in the form of a spec: `last:20` as {last: 20}."""
    selection, colon, count = text.partition(":")
    return {selection: int(count) if count.isdecimal() else count} if colon else text


def _resume(
    name: str,
    runs: Path,
    overrides: list[str],
    schedule: str | None,
    workers: str | None,
    index: int | None,
    *,
    quiet: bool,
    as_json: bool,
    offline: bool,
    profile: str,
) -> None:
    from dlcli.api.run import Run
    from dlcli.api.training import resume
    from dlcli.errors import UsageError
    from dlcli.report.write_up import beside_training
    from dlcli.runs import find_run

    run = find_run(name, runs, newest=True)
    if schedule not in (None, "continue", "stretch", "rewarm"):
        raise UsageError(f"--schedule: expected continue, stretch or rewarm, found {schedule!r}")
    typer.echo(f"run: {run.path}", err=True)
    strategy = next(
        (override.split("=")[1] for override in reversed(overrides) if override.startswith("hardware.strategy=")), ""
    )
    cluster = _cluster(strategy or run.experiment().hardware.strategy, workers, index)
    if cluster is not None and not cluster.is_chief:
        from dlcli.training.workers import follow_resumed

        follow_resumed(run, cluster, overrides=overrides, schedule=schedule, offline=offline)  # type: ignore[arg-type]
        return
    with training_display(quiet) as display, beside_training(enabled=cluster is None):
        options: dict[str, Any] = {"set": overrides, "schedule": schedule, "offline": offline, "cluster": cluster}
        resume(Run(run.path), reporter=display, profile=profile, **options)
    show_run(run, quiet=quiet, as_json=as_json)


@contextmanager
def training_display(quiet: bool) -> Iterator[TrainingDisplay]:
    """Yields what shows a training; a stopped training, too, gives the terminal its cursor back."""
    from dlcli.cli.console import TrainingDisplay

    display = TrainingDisplay(quiet=quiet)
    try:
        yield display
    finally:
        display.fit_finished()


def show_run(run: RunFolder, *, quiet: bool, as_json: bool) -> None:
    """Prints a trained run: its path, its results as JSON, or its results."""
    from dlcli.cli.children import children_as_dict
    from dlcli.cli.console import print_json, show_result

    if quiet:
        print(run.path)
    elif as_json:
        scores = run.metrics(next(iter(run.scored_splits()), "test"))
        results = {"run": str(run.path), "id": run.id, "status": vars(run.status()), "scores": scores}
        print_json(results | children_as_dict(run))
    else:
        show_result(run)
