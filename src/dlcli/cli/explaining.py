"""`dlcli explain`: explanations of a run's predictions, as pictures."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, RunName, RunsFolder, named_run
from dlcli.visible import visible


class Method(StrEnum):
    """The methods of `dlcli explain`."""

    GRAD_CAM = "grad_cam"
    OCCLUSION = "occlusion"
    PERMUTATION = "permutation"
    BOUNDARY = "boundary"
    FILTERS = "filters"


def explain(
    run: RunName,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Images or texts to explain.  [default: examples of the test split, wrong predictions first]",
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            help=(
                "grad_cam, occlusion: image regions; occlusion: words; permutation: table columns; boundary: two numeric"
                " inputs; filters: first layer.  [default: the first that applies]"
            )
        ),
    ] = None,
    class_name: Annotated[
        str, typer.Option("--class", metavar="NAME", help="Class to explain, in place of the predicted one.")
    ] = "",
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Explain what predictions rely on.

    The methods show image regions, words, table columns, decision boundaries and filters of the first layer.
    """
    trained_run = named_run(run, runs)

    from dlcli.api.run import Run

    skipped: dict[str, str] = {}
    made = Run(trained_run.path).explain(
        files or (), method=method or "", class_name=class_name, offline=offline, skip=skipped.__setitem__
    )
    for name, reason in skipped.items():
        typer.echo(visible(f"skipped {name}: {reason}"), err=True)
    folder = trained_run.explanations_path
    if as_json:
        from dataclasses import asdict

        from dlcli.cli.console import print_json

        print_json(
            {"run": str(trained_run.path), "folder": str(folder), "explanations": [asdict(explanation) for explanation in made]}
        )
        return
    for explanation in made:
        print(visible(f"{explanation.title}: {explanation.text}"))
        print(visible(f"  {folder / explanation.file}"))
