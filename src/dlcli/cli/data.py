"""`dlcli data`: the issues of a spec's data, before a training."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, Overrides, RunsFolder, SpecFile, named_run
from dlcli.program import command

if TYPE_CHECKING:
    from dlcli.data.doctor.check import Progress, Subject
    from dlcli.data.doctor.doctor import Examination
    from dlcli.data.doctor.issue import Issue
    from dlcli.data.doctor.preview import Preview

_MOST_EXAMPLES = 5
_MOST_LINES = 5
_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold"}


def data(
    spec: SpecFile,
    overrides: Overrides = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with all issues to this file.")] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the examples that may be left out to this new CSV file, for `data.exclude` of a spec."
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write contact sheets of images to this folder: examples, augmented variants, and ways of resizing.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 if there is an error or a warning.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Make only the fast checks, which a training makes too; do not decode images.")
    ] = False,
    beside: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="RUN", help="Find label errors with the network of this run; repeat for several runs."),
    ] = None,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Check the data of a spec without training.

    Each issue is printed with its severity, its evidence, the first of its examples, and what to do. Nothing is changed.
    """
    from dlcli.spec.load import load

    loaded = load(spec, overrides or ())
    if html is not None:
        from dlcli.report.report import refuse_other_file

        refuse_other_file(html, "--html")
    if exclude is not None:
        _refuse_existing(exclude)
    if preview is not None:
        _refuse_existing_previews(preview)
    judges = list({run.id: run for run in (named_run(name, runs) for name in beside or ())}.values())

    from dlcli.data.doctor.doctor import examine, open_subject

    with _progress() as progress:
        subject = open_subject(loaded.experiment, offline=offline, thorough=not fast, progress=progress, runs=judges)
        examination = examine(subject, fast=fast, progress=progress)
    again = _command(spec, overrides, beside)
    if html is not None:
        from dlcli.report.data_page import write_data_page

        write_data_page(examination, loaded.experiment.name, _totals(examination), f"{again} --json", html)
    excluded = _write_exclusion(examination, exclude) if exclude is not None else 0
    sheets = _write_previews(subject, preview) if preview is not None else None
    if as_json:
        _print_json(examination, html, exclude if excluded else None, sheets)
    else:
        _show(examination, again)
        _show_files(examination, html, exclude, excluded, Path(spec))
        _show_previews(preview, sheets)
    if strict and not examination.is_clean:
        raise typer.Exit(1)


def _refuse_existing(path: Path) -> None:
    """Checks that a list may be written.

    Raises:
        UsageError: the file exists, or its folder does not.
    """
    from dlcli.errors import UsageError

    if os.path.lexists(path):
        raise UsageError(f"--exclude: {path} exists; give another name: a list that you have edited is not overwritten")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--exclude: {path}: no folder {path.absolute().parent}")


@contextmanager
def _progress() -> Iterator[Progress]:
    """Shows a bar on stderr for each step of the work; nothing where stderr is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    from dlcli.cli.console import PlainConsole

    console = PlainConsole(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield show


def _command(spec: str, overrides: list[str] | None, runs: list[str] | None) -> str:
    """Returns the command that makes the same checks again."""
    options = [word for override in overrides or () for word in ("--set", override)]
    options += [word for run in runs or () for word in ("--run", run)]
    return shlex.join([*shlex.split(command()), "data", spec, *options])


def _write_exclusion(examination: Examination, path: Path) -> int:
    """Writes a row for each example and issue, and returns the number of examples; without examples there is no file.

    Raises:
        UsageError: the file cannot be written.
    """
    from dlcli.errors import UsageError
    from dlcli.runs.files import print_table

    columns = ("id", "part", "issue", "severity", "summary")
    rows = [
        (name, examination.parts.get(name, ""), issue.kind, issue.severity, issue.summary)
        for issue in examination.issues
        for name in issue.exclude
    ]
    if rows:
        try:
            with path.open("x", encoding="utf-8", errors="surrogateescape", newline="") as file:
                print_table(file, columns, rows)
        except FileExistsError:
            _refuse_existing(path)
        except OSError as error:
            raise UsageError(f"--exclude: {path}: {error.strerror}") from None
    return len({row[0] for row in rows})


def _refuse_existing_previews(folder: Path) -> None:
    from dlcli.data.doctor.preview import refuse_existing_previews

    refuse_existing_previews(folder)


def _write_previews(subject: Subject, folder: Path) -> Preview:
    from dlcli.data.doctor.preview import write_previews

    return write_previews(subject, folder)


def _show_previews(folder: Path | None, preview: Preview | None) -> None:
    from dlcli.cli.console import results_console

    if preview is not None:
        console = results_console()
        console.print(f"preview: {folder}" if preview.files else "preview: no sheet was written", soft_wrap=True)
        for line in preview.lines:
            console.print(f"  {line}", soft_wrap=True)


def _print_json(examination: Examination, html: Path | None, exclude: Path | None, preview: Preview | None) -> None:
    from dataclasses import asdict

    from dlcli.cli.console import print_json

    content = {name: value for name, value in asdict(examination).items() if name != "parts"}
    files = {"html": html, "exclude": exclude}
    print_json(
        {"clean": examination.is_clean, "severities": examination.by_severity}
        | content
        | {name: str(path.absolute()) for name, path in files.items() if path is not None}
        | ({"preview": [str(path.absolute()) for path in preview.files]} if preview is not None else {})
    )


def _show(examination: Examination, again: str) -> None:
    from dlcli.cli.console import results_console

    console = results_console()
    for issue in examination.issues:
        _show_issue(issue)
    for note in examination.notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print(_totals(examination), soft_wrap=True)
    if any(len(issue.examples) > _MOST_EXAMPLES or len(issue.evidence) > _MOST_LINES for issue in examination.issues):
        console.print(f"all examples: {again} --json", soft_wrap=True)


def _show_issue(issue: Issue) -> None:
    from rich.text import Text

    from dlcli.cli.console import results_console
    from dlcli.data.doctor import words
    from dlcli.visible import visible

    console = results_console()
    console.print(Text.assemble((issue.severity, _STYLES[issue.severity]), f": {visible(issue.kind)}"), soft_wrap=True)
    console.print(f"  {issue.summary}", soft_wrap=True)
    for line in issue.evidence[:_MOST_LINES]:
        console.print(f"    {line}", soft_wrap=True)
    if len(issue.evidence) > _MOST_LINES:
        console.print(f"    and {len(issue.evidence) - _MOST_LINES:,} more lines")
    if issue.examples:
        console.print(f"  examples: {words.names(issue.examples, _MOST_EXAMPLES)}", soft_wrap=True)
    console.print(f"  do: {issue.advice}\n", soft_wrap=True)


def _totals(examination: Examination) -> str:
    """Returns the numbers of issues and examples, and the seconds, as a sentence."""
    from dlcli.data.doctor import words
    from dlcli.runs.scored_splits import sizes_in_words

    issues = ", ".join(words.count(number, severity) for severity, number in examination.by_severity.items())
    unreadable = f"; {words.count(examination.unreadable, 'file')} cannot be read" if examination.unreadable else ""
    seconds = f"{sum(examination.seconds.values()):.1f} s"
    return f"{issues} in {sizes_in_words(examination.examples, shared=False)} examples{unreadable}; {seconds}"


def _show_files(examination: Examination, html: Path | None, exclude: Path | None, excluded: int, spec: Path) -> None:
    from dlcli.cli.console import results_console
    from dlcli.data.doctor import words

    console = results_console()
    if html is not None:
        console.print(f"page: {html}", soft_wrap=True)
    if exclude is not None and not excluded:
        console.print("no example to exclude: no list was written")
    elif exclude is not None:
        is_beside = exclude.absolute().parent == spec.absolute().parent
        console.print(
            f"list: {exclude} ({words.count(excluded, 'example')}); nothing is excluded until a spec names it:", soft_wrap=True
        )
        console.print(f"  data: {{exclude: {exclude.name if is_beside else exclude.absolute()}}}", soft_wrap=True)
    elif excludable := len({name for issue in examination.issues for name in issue.exclude}):
        console.print(
            f"{words.count(excludable, 'example')} may be left out: --exclude FILE writes them to a list", soft_wrap=True
        )
