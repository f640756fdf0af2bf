"""`doctor`: what this machine can do, and what keeps it from training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlcli.stages.doctor import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    runs: Annotated[Path, typer.Option("--runs", envvar="DLCLI_RUNS", help="The runs folder.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Checks this machine: Python, packages, GPU, memory, folders; then trains for three seconds.

    Exit code 0 if it can train, 1 if not.
    """
    from dlcli.stages.doctor import examine

    checks = list(examine(runs))
    can_train = all(check.status != "fail" for check in checks)
    if json:
        print_json(checks, can_train)
    else:
        print_table(checks, can_train)
    if not can_train:
        raise typer.Exit(1)


def print_json(checks: Sequence[Check], can_train: bool) -> None:
    """Prints `{"can_train": ..., "checks": [{"name", "status", "found", "remedy"}, ...]}`."""
    import json
    from dataclasses import asdict

    print(json.dumps({"can_train": can_train, "checks": [asdict(check) for check in checks]}, indent=2))


def print_table(checks: Sequence[Check], can_train: bool) -> None:
    """Prints a line for each check, its remedy below it, and the sum of all."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("check", "", "found"):
        table.add_column(column, overflow="fold")
    for check in checks:
        found = Text(check.found)
        if check.remedy:
            found.append(f"\nremedy: {check.remedy}", style="italic")
        table.add_row(check.name, Text(check.status, style=COLOURS[check.status]), found)
    console = Console(highlight=False)
    console.print(table)
    console.print(Text("This machine can train." if can_train else "This machine cannot train yet: see `fail` above."))
