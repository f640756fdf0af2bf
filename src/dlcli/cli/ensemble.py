"""`dlcli ensemble`: a run that averages the models of other runs."""

from __future__ import annotations

from typing import Annotated

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, Overrides, Quiet, RunsFolder, complete_run, named_run
from dlcli.errors import UsageError


def ensemble(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two or more runs.", autocompletion=complete_run)],
    name: Annotated[str, typer.Option(help="Name of the ensemble.  [default: that of the runs with -ensemble]")] = "",
    weights: Annotated[
        str, typer.Option(metavar="A,B,...", help="Weight of each run in the mean.  [default: equal weights]")
    ] = "",
    overrides: Overrides = None,
    runs: RunsFolder = DEFAULT_RUNS,
    quiet: Quiet = False,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Average the models of runs, as a new run.

    The runs have the same task, classes, inputs and split. The ensemble is one Keras model, scored on their test split.
    """
    shares = _weights(weights, len(names))
    members = [named_run(text, runs) for text in names]

    from dlcli.api.training import ensemble as build
    from dlcli.cli.training import show_run, training_display
    from dlcli.report.write_up import beside_training

    options = {"weights": shares, "name": name, "set": overrides or (), "offline": offline}
    with training_display(quiet) as display, beside_training():
        run = build([member.path for member in members], runs=runs, reporter=display, **options)  # type: ignore[arg-type]
    show_run(run.folder, quiet=quiet, as_json=as_json)


def _weights(text: str, runs: int) -> list[float] | None:
    """Returns the weights of `2,1,1`; None where there are none.

    Raises:
        UsageError: these are not positive numbers, or not one for each run.
    """
    if not text:
        return None
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if not weights or not all(0 < weight < float("inf") for weight in weights):
        raise UsageError(f"--weights: expected positive numbers such as 2,1,1; found {text!r}")
    if len(weights) != runs:
        raise UsageError(f"--weights: expected a weight for each of the {runs} runs, found {len(weights)}")
    return weights
