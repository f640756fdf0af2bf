"""`dlcli explain`: explanations of a run's predictions, as pictures."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, RunName, RunsFolder, found_run
from dlcli.visible import visible


class Method(StrEnum):
    """What can be asked for; the methods of `stages.explaining`."""

    GRAD_CAM = "grad_cam"
    OCCLUSION = "occlusion"
    PERMUTATION = "permutation"
    BOUNDARY = "boundary"
    FILTERS = "filters"


def explain(
    run: RunName,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...", help="Images to explain; some of the test part, wrong answers first, if none."),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            help=(
                "grad_cam or occlusion: parts of images; permutation: columns; boundary: two numbers' plane; filters: first"
                " layer. The one that fits if not given."
            )
        ),
    ] = None,
    class_name: Annotated[str, typer.Option("--class", metavar="NAME", help="Explain this class, not the predicted one.")] = "",
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Explain a run's predictions: parts of an image, columns of a table, decision boundaries, first filters."""
    trained_run = found_run(run, runs)

    from dlcli.explain import explain as stage

    skipped: list[str] = []
    made = stage(
        trained_run,
        files or (),
        method=method or "",
        class_name=class_name,
        offline=offline,
        skip=lambda *words: skipped.append(": ".join(words)),
    )
    for words in skipped:
        typer.echo(visible(f"skipped {words}"), err=True)
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
