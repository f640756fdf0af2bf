"""Options that several commands share, and their completion."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlcli.visible import visible

if TYPE_CHECKING:
    from dlcli.runs import RunFolder


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """Returns run names and ids that start with what was typed."""
    from dlcli.runs import all_runs

    folder = context.params.get("runs") or Path("runs")
    # A shell inserts a completion as if it were typed: a name with special characters of the shell is not offered.
    ids = [run.id for run in all_runs(folder) if re.fullmatch(r"\w[\w.+-]*/\w[\w.+-]*", run.id)]
    names = sorted({candidate.split("/")[0] for candidate in ids})
    return [candidate for candidate in [*names, *ids] if candidate.startswith(incomplete)]


RunsFolder = Annotated[Path, typer.Option("--runs", envvar="DLCLI_RUNS", help="Folder of the runs.")]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run folder, a name (its latest completed run), NAME@best, or the first characters of an id.",
        autocompletion=complete_run,
    ),
]
SpecFile = Annotated[str, typer.Argument(metavar="SPEC", help="Spec (a YAML file).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override a field, e.g. training.epochs=3. An index selects a list entry; += appends one.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as a JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the path of the run folder.")]
Offline = Annotated[bool, typer.Option("--offline", help="Do not access the network.")]
Profile = Annotated[
    str,
    typer.Option(
        metavar="FIRST:LAST",
        help="Profile these steps, counted from 1 over all epochs: the time of each layer, and a profile for TensorBoard.",
    ),
]
DEFAULT_RUNS = Path("runs")


def named_run(text: str, runs: Path) -> RunFolder:
    """Returns the run that the user named, and prints which it is."""
    from dlcli.runs import find_run, newer_run

    run = find_run(text, runs)
    typer.echo(visible(f"run: {run.path}"), err=True)
    newer = newer_run(run, text, runs)
    if newer is not None:
        typer.echo(visible(f"note: {newer.id} is newer, but it is not completed ({state_of(newer)})"), err=True)
    return run


def state_of(run: RunFolder) -> str:
    """Returns a run's state as a list shows it; `damaged` where it cannot be read."""
    from dlcli.errors import DamagedFile

    try:
        return run.shown_state
    except DamagedFile:
        return "damaged"
