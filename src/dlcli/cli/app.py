"""The Typer app, and the one place where errors become text and exit codes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dlcli import __version__
from dlcli.cli import (
    data,
    ensemble,
    explaining,
    finding,
    fleet,
    machine,
    reporting,
    results,
    runs,
    serving,
    specs,
    sweeping,
    training,
)
from dlcli.cli.deferred import deferred_command
from dlcli.errors import NO_ROOM, DlcliError
from dlcli.visible import visible


class _Group(TyperGroup):
    """Prints a user's error without a traceback and exits with its exit code; defects of dlcli keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DlcliError as error:
            text = visible(error, keep="\n\t")
            _print_error(text if error.exit_code == 2 else f"error: {text}")
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:  # the reader of our output has ended: `dlcli list layers | head -1`
            _drop_unread_output()
            raise typer.Exit(0) from None
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            place = f" {visible(str(error.filename))}" if error.filename else ""
            _print_error(f"error: cannot write{place}: {error.strerror}")
            raise typer.Exit(1) from None


def _print_error(text: str) -> None:
    """Prints an error; the exit code stays the same where stderr is closed."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _drop_unread_output() -> None:
    """Redirects output whose reader has ended to the null device, so that the exit does not fail on it."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(null, stream.fileno())
    os.close(null)


app = typer.Typer(
    name="dlcli",
    cls=_Group,
    help="Train, evaluate, explain and export Keras models that are described by YAML files.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"dlcli {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Train, evaluate, explain and export Keras models that are described by YAML files."""


deferred_command(app, "train")(training.train)
deferred_command(app, "finetune")(training.finetune)
deferred_command(app, "ensemble")(ensemble.ensemble)
deferred_command(app, "evaluate")(results.evaluate)
deferred_command(app, "predict")(serving.predict)
deferred_command(app, "export")(serving.export)
deferred_command(app, "report")(reporting.report)
deferred_command(app, "explain")(explaining.explain)
deferred_command(app, "check")(specs.check)
deferred_command(app, "data")(data.data)
deferred_command(app, "describe")(results.describe)
app.add_typer(runs.app, name="runs")
deferred_command(app, "list")(specs.list_)
deferred_command(app, "schema")(specs.schema)
deferred_command(app, "init")(specs.init)
deferred_command(app, "doctor")(machine.doctor)
deferred_command(app, "lr-find")(finding.lr_find)
deferred_command(app, "batch-find")(finding.batch_find)
deferred_command(app, "baseline")(finding.baseline)
deferred_command(app, "batch")(fleet.batch)
deferred_command(app, "sweep")(sweeping.sweep)
