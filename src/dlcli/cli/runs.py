"""`dlcli runs`: list, show, compare and remove runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dlcli.cli.deferred import deferred_command
from dlcli.cli.options import DEFAULT_RUNS, Json, RunName, RunsFolder, complete_run, named_run
from dlcli.errors import DamagedFile, UsageError
from dlcli.visible import visible

if TYPE_CHECKING:
    from dlcli.runs import RunFolder

app = typer.Typer(help="List, show, compare and remove runs.", no_args_is_help=True, rich_markup_mode=None)


@deferred_command(app, "list")
def list_runs(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the runs to list; * matches any characters: 'mnist*'.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="Score to sort by, best first, e.g. test.accuracy; or `started`, newest first.")
    ] = None,
    state: Annotated[
        str,
        typer.Option(help="States to list, separated by commas: completed,failed,interrupted,running,dead,damaged."),
    ] = "",
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Maximum number of runs.")] = None,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """List runs with their states and scores."""
    from fnmatch import fnmatchcase

    from dlcli.cli.tables import in_states, run_rows, show_runs
    from dlcli.runs import all_runs

    listed = [run for run in all_runs(runs) if name is None or fnmatchcase(run.name, name)]
    if name and not listed:
        raise UsageError(f"no run named {name!r} in {runs}")
    all_rows = run_rows(listed, sort)
    rows = in_states(all_rows, state)
    if as_json:
        from dlcli.cli.console import print_json

        print_json({"runs": rows[:limit]})
    else:
        show_runs(rows[:limit], runs, sort, all_of=len(rows) or len(all_rows))


@deferred_command(app, "show")
def show_run(run: RunName, runs: RunsFolder = DEFAULT_RUNS, as_json: Json = False) -> None:
    """Show one run: state, model, data, scores, diagnosis, files."""
    from dlcli.cli.tables import run_as_dict
    from dlcli.cli.tables import show_run as show

    chosen_run = named_run(run, runs)
    if as_json:
        from dlcli.cli.console import print_json

        print_json(run_as_dict(chosen_run))
    else:
        show(chosen_run)


@deferred_command(app, "compare")
def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two or more runs.", autocompletion=complete_run)],
    split: Annotated[
        str,
        typer.Option(
            help="Split whose scores are compared.  [default: test, or out_of_fold for cross-validations without one]"
        ),
    ] = "",
    any_data: Annotated[
        bool, typer.Option("--any-data", help="Also compare runs that were scored on different examples.")
    ] = False,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Compare the specs and scores of runs.

    Every run is tested against the first one on the same examples.
    """
    if len(names) < 2:
        raise UsageError("compare needs two runs or more")
    from dlcli.runs.compare import compare_runs, default_split

    compared = [named_run(name, runs) for name in names]
    split = split or default_split(compared)
    comparison = compare_runs(compared, split)
    from dlcli.cli.comparison import comparison_as_dict, show_comparison
    from dlcli.cli.console import TrainingDisplay
    from dlcli.score.compare import pair_runs

    with TrainingDisplay(quiet=False).waiting("comparing them example by example"):
        pairings = pair_runs(compared, split, any_data=any_data)
    if as_json:
        from dlcli.cli.console import print_json

        print_json(comparison_as_dict(comparison, pairings))
    else:
        show_comparison(comparison, pairings)


@deferred_command(app, "rm")
def remove(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs to remove.", autocompletion=complete_run)],
    runs: RunsFolder = DEFAULT_RUNS,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove run folders; running runs are refused."""
    removable = list({run.path: run for run in (named_run(name, runs) for name in names)}.values())
    for run in removable:
        _refuse_to_remove(run)
    if not yes:
        typer.confirm(visible(f"Remove {', '.join(run.id for run in removable)}?"), abort=True)
    for run in removable:
        try:
            _remove(run)
        except OSError as error:
            raise UsageError(f"cannot remove {error.filename or run.path}: {error.strerror or error}") from None
        typer.echo(visible(f"removed {run.id}"))


def _remove(run: RunFolder) -> None:
    """Removes a run that no process writes; first its name, so that no list shows half of it."""
    import shutil

    with run.hold():
        hidden = run.path.with_name(f".{run.path.name}.removed")
        run.path.rename(hidden)
        shutil.rmtree(hidden)


def _refuse_to_remove(run: RunFolder) -> None:
    """Raises UsageError for a run that is running, and for a folder that neither its status nor its name shows to be a run."""
    try:
        state = run.shown_state
    except DamagedFile as error:
        if not run.has_generated_name:
            raise UsageError(f"{run.path} is not a run folder of dlcli ({error}): not removed") from None
        return
    if state == "running":
        raise UsageError(f"{run.id} is running: stop it first")
