"""`dlcli evaluate`, `describe` and `runs`."""

from __future__ import annotations

from typing import Annotated

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, Overrides, RunName, RunsFolder

runs_app = typer.Typer(help="List, show, compare and remove runs.", no_args_is_help=True, rich_markup_mode=None)


def evaluate(
    run: RunName,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Score a run's model on one of its splits, from the run folder alone."""
    from dlcli.runs import find_run

    found = find_run(run, runs)
    typer.echo(f"run: {found.path}", err=True)

    from dlcli.cli.console import print_json, results_console, score_table, worst_confusions
    from dlcli.stages.evaluate import evaluate as stage

    stage(found, split, offline=offline)
    if as_json:
        print_json({"run": str(found.path), **found.metrics(split)})
        return
    console = results_console()
    console.print(score_table(found, split))
    pairs = worst_confusions(found, split)
    if pairs:
        console.print("Most often confused: " + "; ".join(pairs))
    console.print(f"\nwritten to {found.evaluation(split)}")


def describe(
    what: Annotated[str, typer.Argument(metavar="SPEC|RUN", help="A spec file or a run.")],
    overrides: Overrides = None,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Show a model layer by layer, its memory, and the data's shapes and class counts."""
    raise NotImplementedError
