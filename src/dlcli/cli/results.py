"""`dlcli evaluate`, `describe` and `runs`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, Overrides, RunName, RunsFolder, complete_run
from dlcli.errors import DamagedFile, UsageError
from dlcli.visible import visible

if TYPE_CHECKING:
    from dlcli.runs import Run

runs_app = typer.Typer(help="List, show, compare and remove runs.", no_args_is_help=True, rich_markup_mode=None)


def evaluate(
    run: RunName,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "",
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Score a run's model on one of its splits, from the run folder alone; test unless another is named."""
    found = _found(run, runs)

    from dlcli.cli.console import print_json, show_scores
    from dlcli.stages.evaluate import evaluate as stage

    scores = stage(found, split, offline=offline)
    if as_json:
        print_json({"run": str(found.path), **found.metrics(scores.split)})
    else:
        show_scores(found, scores.split)
        print("\n" + visible(f"written to {found.evaluation(scores.split)}"))


def describe(
    what: Annotated[str, typer.Argument(metavar="SPEC|RUN", help="A spec file or a run.", autocompletion=complete_run)],
    overrides: Overrides = None,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Show a model layer by layer, its memory, and the data's shapes and class counts."""
    is_spec = os.path.isfile(what) or what.endswith((".yaml", ".yml"))
    if is_spec:
        from dlcli.spec.file import load

        loaded = load(what, overrides or ())
    elif overrides:
        raise UsageError("--set changes a spec; a run is what it is")
    else:
        found = _found(what, runs)

    from dlcli.cli.describe import as_dict, show_description
    from dlcli.stages.describe import describe_run, describe_spec

    description = describe_spec(loaded.experiment) if is_spec else describe_run(found)
    if as_json:
        from dlcli.cli.console import print_json

        print_json(as_dict(description))
    else:
        show_description(description)


def _found(text: str, runs: Path) -> Run:
    """Returns the run that the user named, and says which it is."""
    from dlcli.runs import find_run

    run = find_run(text, runs)
    typer.echo(visible(f"run: {run.path}"), err=True)
    return run


@runs_app.command("list")
def list_runs(
    name: Annotated[str | None, typer.Argument(help="Only runs of this name.")] = None,
    sort: Annotated[str | None, typer.Option(help="A score to sort by, the best first: test.accuracy.")] = None,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """List runs with their state and scores."""
    from dlcli.cli.tables import run_rows, show_runs
    from dlcli.runs import all_runs

    listed = [run for run in all_runs(runs) if name in (None, run.name)]
    if name and not listed:
        raise UsageError(f"no run of the name {name!r} in {runs}")
    rows = run_rows(listed, sort)
    if as_json:
        from dlcli.cli.console import print_json

        print_json({"runs": rows})
    else:
        show_runs(rows, runs)


@runs_app.command("show")
def show_run(run: RunName, runs: RunsFolder = DEFAULT_RUNS, as_json: Json = False) -> None:
    """Show one run: state, data, epochs, scores, files."""
    from dlcli.cli.tables import run_as_dict
    from dlcli.cli.tables import show_run as show

    found = _found(run, runs)
    if as_json:
        from dlcli.cli.console import print_json

        print_json(run_as_dict(found))
    else:
        show(found)


@runs_app.command("compare")
def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two or more runs.", autocompletion=complete_run)],
    split: Annotated[str, typer.Option(help="The split whose scores are compared.")] = "test",
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Show what differs between runs: fields of their specs, and scores."""
    if len(names) < 2:
        raise UsageError("compare needs two runs or more")
    from dlcli.cli.tables import comparison_as_dict, show_comparison
    from dlcli.runs.compare import compare_runs

    comparison = compare_runs([_found(name, runs) for name in names], split)
    if as_json:
        from dlcli.cli.console import print_json

        print_json(comparison_as_dict(comparison))
    else:
        show_comparison(comparison)


@runs_app.command("rm")
def remove(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="The runs to remove.", autocompletion=complete_run)],
    runs: RunsFolder = DEFAULT_RUNS,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove run folders; one that is running is refused."""
    found = list({run.path: run for run in (_found(name, runs) for name in names)}.values())
    for run in found:
        _refuse_to_remove(run)
    if not yes:
        typer.confirm(visible(f"Remove {', '.join(run.id for run in found)}?"), abort=True)
    for run in found:
        try:
            _remove(run)
        except OSError as error:
            raise UsageError(f"cannot remove {error.filename or run.path}: {error.strerror or error}") from None
        typer.echo(visible(f"removed {run.id}"))


def _remove(run: Run) -> None:
    """Removes a run that nobody writes; first its name, so that no list shows half of it."""
    import shutil

    with run.hold():
        hidden = run.path.with_name(f".{run.path.name}.removed")
        run.path.rename(hidden)
        shutil.rmtree(hidden)


def _refuse_to_remove(run: Run) -> None:
    """Raises UsageError for a run that is running, and for a folder that neither its status nor its name shows to be a run."""
    try:
        state = run.shown_state
    except DamagedFile as error:
        if not run.has_a_given_name:
            raise UsageError(f"{run.path} is no run of dlcli's, by its name and by its status ({error}): not removed") from None
        return
    if state == "running":
        raise UsageError(f"{run.id} is running: stop it first")
