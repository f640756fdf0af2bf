"""`dlcli evaluate` and `dlcli describe`: what a run's model is and how good it is."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, Overrides, RunName, RunsFolder, complete_run, named_run
from dlcli.errors import UsageError
from dlcli.visible import visible

_LARGEST_COST = 1e12


def evaluate(
    run: RunName,
    split: Annotated[str, typer.Option(help="Split to score: train, validation or test.  [default: test]")] = "",
    data: Annotated[
        str, typer.Option(metavar="PATH", help="Other labelled data of the same kind: a folder, table or .npz file.")
    ] = "",
    slice_by: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="COLUMN",
            help="Also score groups of examples: a column of the table, or of an image folder's metadata.csv.",
        ),
    ] = None,
    cost: Annotated[
        str,
        typer.Option(
            metavar="A,B", help="Costs of a false positive and a false negative; adds the threshold with the lowest cost."
        ),
    ] = "",
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Fit a temperature on the validation split and store it in the run.")
    ] = False,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Score a run's model on a split or on other data."""
    costs = _costs(cost)
    chosen_run = named_run(run, runs)

    from dlcli.api.run import Run
    from dlcli.cli.console import print_json, show_scores
    from dlcli.report.write_up import beside_training

    with beside_training():
        scores = Run(chosen_run.path).evaluate(
            split, data=data, slice_by=slice_by or (), cost=costs, calibrate=calibrate, offline=offline
        )
    for note in scores.notes:
        typer.echo(visible(f"note: {note}"), err=True)
    if as_json:
        print_json({"run": str(chosen_run.path), **chosen_run.metrics(scores.split)})
    else:
        show_scores(chosen_run, scores.split, whole=True)
        print("\n" + visible(f"written to {chosen_run.evaluation(scores.split)}"))


def _costs(text: str) -> tuple[float, float] | None:
    """Returns the costs of `1,5`.

    Raises:
        UsageError: these are not two numbers from 0.
    """
    if not text:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        first = second = -1.0
    if not (0 <= first <= _LARGEST_COST and 0 <= second <= _LARGEST_COST and first + second > 0):
        raise UsageError(f"--cost: expected the costs of a false positive and a false negative, e.g. 1,5; found {text!r}")
    return first, second


def describe(
    what: Annotated[str, typer.Argument(metavar="SPEC|RUN", help="Spec (a YAML file), or a run.", autocompletion=complete_run)],
    overrides: Overrides = None,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Show the layers and memory of a model, and its data."""
    is_spec = os.path.isfile(what) or what.endswith((".yaml", ".yml"))
    if is_spec:
        from dlcli.spec.load import load

        loaded = load(what, overrides or ())
    elif overrides:
        raise UsageError("--set changes a spec; it cannot change a run")
    else:
        chosen_run = named_run(what, runs)

    from dlcli.cli.describe import as_dict, show_description
    from dlcli.models.describe import describe_run, describe_spec

    description = describe_spec(loaded.experiment) if is_spec else describe_run(chosen_run)
    if as_json:
        from dlcli.cli.console import print_json

        print_json(as_dict(description))
    else:
        show_description(description)
