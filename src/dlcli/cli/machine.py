"""`doctor`: what this machine can do, and what keeps it from training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, RunsFolder

if TYPE_CHECKING:
    from dlcli.runtime.machine import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(runs: RunsFolder = DEFAULT_RUNS, json: Json = False) -> None:
    """Check whether this machine can train.

    The checks are Python, packages, GPU, memory, folders and a training of three seconds.

    The exit code is 0 if this machine can train, else 1.
    """
    from dataclasses import asdict

    from dlcli.cli.console import print_json
    from dlcli.runtime.machine import examine

    checks = list(examine(runs))
    can_train = all(check.status != "fail" for check in checks)
    if json:
        print_json({"can_train": can_train, "checks": [asdict(check) for check in checks]})
    else:
        print_checks(checks, can_train)
    if not can_train:
        raise typer.Exit(1)


def print_checks(checks: Sequence[Check], can_train: bool) -> None:
    """Prints a row for each check, its remedy below it, and the sum of all."""
    from rich.table import Table
    from rich.text import Text

    from dlcli.cli.console import results_console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("check", "", "found"):
        table.add_column(column, overflow="fold")
    for check in checks:
        result = Text(check.found)
        if check.remedy:
            result.append(f"\nremedy: {check.remedy}", style="italic")
        table.add_row(check.name, Text(check.status, style=COLOURS[check.status]), result)
    console = results_console()
    console.print(table)
    console.print("This machine can train." if can_train else "This machine cannot train yet: see `fail` above.")
