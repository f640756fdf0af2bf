"""The Typer app, and the one place where errors become text and exit codes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dlcli import __version__
from dlcli.cli import explaining, finding, fleet, machine, reporting, results, runs, serving, specs, sweeping, training
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


app.command()(training.train)
app.command()(training.finetune)
app.command()(results.evaluate)
app.command()(serving.predict)
app.command()(serving.export)
app.command()(reporting.report)
app.command()(explaining.explain)
app.command()(specs.check)
app.command()(results.describe)
app.add_typer(runs.app, name="runs")
app.command("list")(specs.list_)
app.command()(specs.schema)
app.command()(specs.init)
app.command()(machine.doctor)
app.command("lr-find")(finding.lr_find)
app.command("batch-find")(finding.batch_find)
app.command()(finding.baseline)
app.command()(fleet.batch)
app.command()(sweeping.sweep)
