"""The Typer app, and the one place where errors become text and exit codes."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dlcli import __version__
from dlcli.cli import explaining, finding, fleet, machine, reporting, results, runs, serving, specs, sweeping, training
from dlcli.errors import NO_ROOM, DlcliError
from dlcli.visible import visible


class _Group(TyperGroup):
    """Prints a user's error without a traceback and leaves with its exit code; our own errors keep theirs."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DlcliError as error:
            text = visible(error, keep="\n\t")
            print(text if error.exit_code == 2 else f"error: {text}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:  # the reader of our output has gone: `dlcli list layers | head -1`
            sys.stderr.close()
            raise typer.Exit(0) from None
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            place = f" {visible(str(error.filename))}" if error.filename else ""
            print(f"error: cannot write{place}: {error.strerror}", file=sys.stderr)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="dlcli",
    cls=_Group,
    help="One YAML file in; a trained, evaluated, explained and shippable Keras model out.",
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
        bool, typer.Option("--version", help="Show the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """One YAML file in; a trained, evaluated, explained and shippable Keras model out."""


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
