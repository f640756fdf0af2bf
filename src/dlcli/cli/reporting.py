"""`dlcli report`: what a run is written up in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, RunsFolder, complete_run, named_run
from dlcli.visible import visible


def report(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="One or more runs.", autocompletion=complete_run)],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write.  [default: in the run folder; for several runs, in the working folder]",
        ),
    ] = None,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Write the report and model card of a run, or a comparison of runs."""
    unique_runs = list({run.path: run for run in (named_run(name, runs) for name in names)}.values())

    from dlcli.report.card import write_model_card
    from dlcli.report.diagnosis import findings, write_diagnosis
    from dlcli.report.report import write_comparison, write_report
    from dlcli.runs.layout import REPORT

    written = {}
    if len(unique_runs) > 1:
        written["report"] = write_comparison(unique_runs, to or Path(REPORT))
    else:
        if findings(unique_runs[0]) is None and unique_runs[0].scored_splits():
            write_diagnosis(unique_runs[0])
        written["report"] = write_report(unique_runs[0], to)
        if to is None:
            written["model_card"] = write_model_card(unique_runs[0])
    if as_json:
        from dlcli.cli.console import print_json

        print_json({"runs": [run.id for run in unique_runs]} | {name: str(path.absolute()) for name, path in written.items()})
        return
    for path in written.values():
        print(visible(path))
