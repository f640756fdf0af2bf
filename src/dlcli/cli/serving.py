"""`dlcli predict` and `dlcli export`: a run's model at work, here and elsewhere."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, RunName, RunsFolder, named_run
from dlcli.errors import UsageError
from dlcli.program import install_command
from dlcli.visible import visible

if TYPE_CHECKING:
    from dlcli.predict.answers import Answers
    from dlcli.predict.predict import Prediction

_BLOCK = 500
"""Rows of one table on the terminal: the layout of a table needs all its rows, and millions are not held."""
_MOST_NAMED = 100


def predict(
    run: RunName,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|FOLDER|GLOB|CSV|-...",
            help="Images, text files, folders, glob patterns, tables or NumPy files; - reads image paths or table rows from"
            " stdin.",
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="Number of classes to print, the most probable first.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    csv: Annotated[str, typer.Option("--csv", metavar="FILE|-", help="Write a CSV file; - writes to stdout.")] = "",
    calibrated: Annotated[bool, typer.Option(help="Apply the temperature that `evaluate --calibrate` has fitted.")] = False,
    runs: RunsFolder = DEFAULT_RUNS,
) -> None:
    """Predict classes or values for new images, rows, texts or arrays.

    Inputs are preprocessed as in training.
    """
    chosen_run = named_run(run, runs)
    _refuse_what_is_wrong(what, as_json, csv)

    from dlcli.predict.predict import prepare

    skipped = _Skipped()
    prediction = prepare(chosen_run, what, calibrate=calibrated)
    skipped.print_notes(prediction.notes)
    _print(prediction, prediction.answers(skipped), top, as_json=as_json, csv=csv)
    skipped.end()
    unfamiliar = prediction.unfamiliar.notes() if prediction.unfamiliar else []
    for note in [*prediction.row_notes, *unfamiliar]:
        typer.echo(visible(f"warning: {note}"), err=True)


class Format(StrEnum):
    """The formats of `dlcli export`."""

    keras = "keras"
    saved_model = "saved_model"
    tflite = "tflite"
    onnx = "onnx"


class Quantize(StrEnum):
    """What numbers of a TFLite file may be."""

    int8 = "int8"
    float16 = "float16"


def export(
    run: RunName,
    form: Annotated[Format, typer.Option("--format", help="Format of the export.")],
    quantize: Annotated[Quantize | None, typer.Option(help="tflite only: quantize to this type.")] = None,
    to: Annotated[Path | None, typer.Option(help="Folder to create.  [default: exports/FORMAT in the run folder]")] = None,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Export a run's model for use without dlcli.

    The export is loaded with its own runtime and compared with the original.
    """
    chosen_run = named_run(run, runs)
    if quantize and form is not Format.tflite:
        raise UsageError("--quantize needs --format tflite")
    _refuse_missing_packages(form)

    from dlcli.api.run import Run

    made = Run(chosen_run.path).export(form.value, quantize=quantize.value if quantize else "", to=to, offline=offline)
    if as_json:
        from dlcli.cli.console import print_json

        print_json({"run": str(chosen_run.path), "path": str(made.path), "agreement": made.agreement.as_dict()})
    else:
        print(visible(made.agreement.words))
        print(visible(f"written to {made.path}"))


_PACKAGES = {Format.tflite: ("ai_edge_litert",), Format.onnx: ("onnx", "tf2onnx", "onnxruntime")}


def _refuse_missing_packages(form: Format) -> None:
    """Raises UsageError where a package is missing that writes or reads the format."""
    missing = [name for name in _PACKAGES.get(form, ()) if find_spec(name) is None]
    if missing:
        raise UsageError(f"--format {form.value} needs {', '.join(missing)}: {install_command('export')}")


def _refuse_what_is_wrong(what: Sequence[str], as_json: bool, csv: str) -> None:
    """Raises UsageError for what can be checked before TensorFlow starts."""
    if as_json and csv:
        raise UsageError("--json and --csv cannot be combined")
    for source in what:
        if source != "-" and not os.path.lexists(source) and not glob.glob(source, recursive=True):
            raise UsageError(f"{source}: {'matches no file' if glob.has_magic(source) else 'no such file or folder'}")
    if csv not in ("", "-"):
        if os.path.lexists(csv):
            raise UsageError(f"--csv {csv}: the file exists and is not overwritten")
        if not Path(csv).parent.is_dir():
            raise UsageError(f"--csv {csv}: there is no folder {Path(csv).parent}")


class _Skipped:
    """Prints on stderr what was skipped and why, up to a maximum number, and the total."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, name: str, why: str) -> None:
        self._count += 1
        if self._count <= _MOST_NAMED:
            typer.echo(visible(f"skipped {name}: {why}"), err=True)

    def print_notes(self, notes: Iterable[str]) -> None:
        """Prints notes on the files in folders that are not predicted on."""
        for note in notes:
            typer.echo(visible(f"note: {note}"), err=True)

    def end(self) -> None:
        if self._count:
            more = f", {_MOST_NAMED} of them listed" if self._count > _MOST_NAMED else ""
            typer.echo(f"skipped: {self._count:,}{more}", err=True)


def _print(prediction: Prediction, answers: Iterator[Answers], top: int, *, as_json: bool, csv: str) -> None:
    from dlcli.predict.answers import layout_of

    layout, classes = layout_of(prediction.experiment.task), prediction.classes
    if as_json:
        from dlcli.runs.files import json_text

        for answer in answers:
            for entry in layout.objects(answer, top):
                print(json_text(entry, indent=None))
        return
    if csv:
        _write_csv(csv, layout.columns(classes, top), (row for answer in answers for row in layout.rows(answer, top)))
        return
    _show_tables(layout.headings(classes, top), (row for answer in answers for row in layout.cells(answer, top)))


def _write_csv(target: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes rows as they come, to stdout or to a file that exists only once it is complete."""
    from dlcli.runs.files import print_table, write_table

    if target == "-":
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")  # names of files need not be text
        print_table(sys.stdout, columns, rows)
    else:
        try:
            write_table(Path(target), columns, rows)
        except OSError as error:
            raise UsageError(f"--csv: cannot write {target}: {error.strerror or error}") from None


def _show_tables(headings: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    from itertools import islice

    from rich.table import Table

    from dlcli.cli.console import results_console

    console = results_console()
    while not console.quiet and (block := list(islice(rows, _BLOCK))):  # quiet: its reader has ended
        table = Table()
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in block:
            table.add_row(*row)
        console.print(table)
