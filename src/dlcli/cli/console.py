"""What dlcli shows: progress on stderr, results on stdout; plain lines where there is no terminal."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dlcli.cli.fitting import fitted
from dlcli.errors import DamagedFile
from dlcli.models.blocks import words_of
from dlcli.program import command
from dlcli.runs import RunFolder, layout
from dlcli.runs.files import json_text
from dlcli.runs.history import is_setting
from dlcli.runs.profile import merged_rows, read_profile
from dlcli.runs.reporter import EpochReport, Reporter
from dlcli.runs.scored_splits import score_text, split_note, split_title
from dlcli.spec.support import Feature, supports
from dlcli.visible import visible

_PIPE_WIDTH = 10_000
"""Columns of an output that is no terminal: nothing is cut or broken there."""
_MOST_MEMBERS = 10
"""Members of an ensemble whose scores are printed; `metrics.json` and the report have all."""


class PlainConsole(Console):
    """A console that takes every text as it is: no markup, no emoji codes, control characters written out.

    All texts come through here, cells and headings of tables too; a `Text` of rich's does not, so names go into it by
    `visible` alone.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints; a table that is wider than the terminal as lists, so that no cell is cut."""
        shown = [fitted(self, item) if isinstance(item, Table) else item for item in objects]
        if shown != list(objects) and not any(isinstance(item, Table) for item in shown):
            options = {"soft_wrap": True, **options}
        super().print(*shown, **options)

    def on_broken_pipe(self) -> None:
        """Prints nothing more once the reader of the output has ended; the training continues."""
        self.quiet = True

    def render_str(self, text: str, **options: Any) -> Text:
        """Returns the text as rich shows it."""
        return super().render_str(visible(text, keep="\n"), **{**options, "markup": False, "emoji": False})


def results_console() -> PlainConsole:
    """Returns the console for results, on stdout."""
    return PlainConsole(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def print_json(data: Any) -> None:
    """Prints one JSON object; control characters in it are written out, so that a terminal shows what it holds."""
    print(json_text(data))


class TrainingDisplay(Reporter):
    """Shows a training on stderr: a live bar with rate and remaining time, and one line an epoch."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = PlainConsole(stderr=True, quiet=quiet)
        self._live = self._console.is_terminal and not quiet
        self._progress: Progress | None = None
        self._epochs = self._steps = 0

    @contextmanager
    def waiting(self, reason: str) -> Iterator[None]:
        """Shows a spinner with the reason."""
        if not self._live:
            yield
            return
        with self._console.status(reason):
            yield

    def log(self, line: str) -> None:
        """Prints one line."""
        self._console.print(line, soft_wrap=True)

    def fit_started(self, epochs: int, steps: int) -> None:
        """Starts the bar."""
        self._epochs, self._steps = epochs, steps
        if self._live:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._progress.start()
            self._task = self._progress.add_task("", total=epochs * steps, rate="")

    def step_finished(self, epoch: int, step: int, examples: int) -> None:
        """Moves the bar."""
        if self._progress is None:
            return
        task = self._progress.tasks[0]
        rate = f"{task.speed * examples / step:,.0f} examples/s" if task.speed else ""
        self._progress.update(
            self._task, completed=epoch * self._steps + step, description=f"epoch {epoch + 1}/{self._epochs}", rate=rate
        )

    def epoch_finished(self, report: EpochReport) -> None:
        """Prints the epoch's line: every value with its change, and whether it is the best so far."""
        width = len(str(report.epochs))
        pieces = [
            _value_with_change(name, value, (report.previous or {}).get(name))
            for name, value in report.row.items()
            if not is_setting(name)
        ]
        pieces.append(Text(f"{report.row['seconds']:.1f} s"))
        if report.improved:
            pieces[-1].append(" * best", "green")
        head = f"epoch {report.epoch:>{width}}/{report.epochs}  "
        room = self._console.width if self._console.is_terminal else _PIPE_WIDTH
        self._console.print(in_lines(head, pieces, room), soft_wrap=True)

    def fit_finished(self) -> None:
        """Takes the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def in_lines(head: str, pieces: Sequence[Text], width: int) -> Text:
    """Returns the pieces behind a head, in lines of a width that break between pieces; later lines are indented."""
    text, used = Text(head), len(head)
    for place, piece in enumerate(pieces):
        if place and used + 2 + piece.cell_len > width:
            text.append("\n" + " " * len(head))
            used = len(head)
        elif place:
            text.append("  ")
            used += 2
        text.append_text(piece)
        used += piece.cell_len
    return text


def _value_with_change(name: str, value: float, previous: float | None) -> Text:
    change = "      " if previous is None else score_text(value - previous, sign="+", digits=3)
    return Text.assemble(f"{visible(name)} {score_text(value)} ", (change, "dim"))


def show_result(run: RunFolder) -> None:
    """Prints the scores beside the baseline's, the worst confusions, what stands out, the run folder, and what to do next."""
    from dlcli.cli.children import show_children

    console = results_console()
    show_stages(run)
    for split in run.scored_splits()[: 2 if run.status().children else 1]:
        show_scores(run, split)
    show_children(console, run)
    show_diagnosis(run)
    show_profile(run)
    console.print(f"\nrun: {run.path}", soft_wrap=True)
    if os.path.lexists(run.report_path):
        console.print(f"report: {run.report_path}", soft_wrap=True)
    console.print("next:")
    for words in _next_commands(run):
        console.print(f"  {command()} {words}", soft_wrap=True)


def show_diagnosis(run: RunFolder) -> None:
    """Prints what stands out in a run; nothing for one that was not diagnosed."""
    from dlcli.report.diagnosis import findings, in_words

    run_findings = findings(run)
    if run_findings is not None:
        results_console().print("\n".join(in_words(run, run_findings)), soft_wrap=True)


def show_profile(run: RunFolder, most: int = 20) -> None:
    """Prints the time of the longest layers and of all other parts of a step; nothing for a run that was not profiled."""
    rows = read_profile(run)
    if not rows:
        return
    layers = [row for row in rows if row.part == "layer"]
    table = Table(title="Time of a step by layer; operations of several threads overlap, so the sum may exceed the step's time")
    table.add_column("part")
    for column in ("forward, ms", "backward, ms", "both, ms", "share", "operations"):
        table.add_column(column, justify="right")
    shown_rows = [*layers[:most], *merged_rows(layers[most:]), *(row for row in rows if row.part != "layer")]
    for row in shown_rows:
        times = (f"{value:.3f}" for value in (row.forward_ms, row.backward_ms, row.ms))
        table.add_row(row.name, *times, f"{100 * row.share:.1f} %", f"{row.operations:g}")
    total = sum(row.ms for row in rows)
    table.add_row("sum", "", "", f"{total:.3f}", "", "")
    results_console().print(table)


def show_stages(run: RunFolder) -> None:
    """Prints what each of several stages trained and reached; nothing where there was one."""
    stages = run.stages()
    if len(stages) < 2:
        return
    console, best_stage = results_console(), run.status().best_stage
    table = Table()
    table.add_column("stage")
    table.add_column("learns")
    table.add_column("parameters", justify="right")
    table.add_column("epochs", justify="right")
    table.add_column(f"best {stages[0]['monitor']}", justify="right")
    table.add_column("kept")
    for stage in stages:
        value = shown(stage["best_value"])
        row = (stage["name"], words_of(stage["train"]), f"{stage['trainable']:,}", str(stage["epochs"]), value)
        table.add_row(*row, "*" if stage["name"] == best_stage else "")
    console.print(table)
    if stages[-1].get("compared"):
        console.print(stages[-1]["compared"], soft_wrap=True)


def _next_commands(run: RunFolder) -> list[str]:
    """Returns commands to try; they name the run's folder where it is not in the default runs folder."""
    usual = Path(os.environ.get("DLCLI_RUNS") or "runs").absolute()
    name = shlex.quote(run.id if run.path.parents[1] == usual else str(run.path))
    if not run.has_model:
        return [f"runs show {name}"]
    other = next((part for part in ("validation", "train") if part in run.data()["examples"]), "train")
    commands: dict[Feature, str] = {
        "evaluate": f"evaluate {name} --split {other}",
        "explain": f"explain {name}",
        "export": f"export {name} --format saved_model",
    }
    experiment = run.experiment()
    return [*(words for feature, words in commands.items() if supports(experiment, feature)), f"runs show {name}"]


def show_scores(run: RunFolder, split: str, *, whole: bool = False) -> None:
    """Prints the scores of one split beside the baseline's, and the worst confusions; `whole` adds all further figures."""
    console = results_console()
    console.print(f"{split_title(run, split)}: {run.metrics(split)['examples']:,} examples")
    console.print(score_table(run, split))
    note = split_note(run, split)
    if note:
        console.print(f"note: {note}", soft_wrap=True)
    for name, entry in run.metrics(split)["metrics"].items():
        if entry.get("no_interval"):
            console.print(f"No interval for {name}: {entry['no_interval']}", soft_wrap=True)
    pairs = worst_confusions(run, split)
    if pairs:
        console.print("Most often confused: " + "; ".join(pairs), soft_wrap=True)
    _show_members(console, run.metrics(split))
    if whole:
        show_details(run, split)
        return
    for text in run.metrics(split).get("notes") or []:  # `evaluate` recorded them
        console.print(f"note: {visible(text)}", soft_wrap=True, markup=False)


def _show_members(console: PlainConsole, scores: dict[str, Any]) -> None:
    """Prints the scores of an ensemble's members on the same examples, and its difference to the best of them."""
    members, best = scores.get("members") or [], scores.get("against_best")
    if not members:
        return
    names = list(scores["metrics"])
    table = Table("member", *names)
    for member in members[:_MOST_MEMBERS]:
        entries = [member["metrics"].get(name) or {} for name in names]
        table.add_row(member["run"], *(shown(entry.get("value")) for entry in entries))
    console.print(table)
    if len(members) > _MOST_MEMBERS:
        console.print(f"... {len(members) - _MOST_MEMBERS} more members")
    for text in best["sentences"] if best else ():
        console.print(f"against the best member: {text}", soft_wrap=True)


def show_details(run: RunFolder, split: str) -> None:
    """Prints calibration, thresholds and slices where there are any."""
    console, scores = results_console(), run.metrics(split)
    calibration = scores.get("calibration")
    if calibration:
        console.print(
            f"Calibration: error {calibration['ece']:.4f}, Brier score {calibration['brier']:.4f}{_warmer(calibration)}"
        )
        if note := run.experiment().data.balance.calibration_note:
            console.print(note)
    if scores.get("thresholds"):
        table = Table("threshold for", "best by", "threshold", "precision", "recall", "F1", "cost")
        for row in scores["thresholds"]:
            rates = (shown(row[name]) for name in ("threshold", "precision", "recall", "f1"))
            table.add_row(row["label"], row["best_by"], *rates, "-" if row["cost"] is None else f"{row['cost']:g}")
        console.print(table)
    path = run.evaluation(split) / layout.SLICES
    if os.path.lexists(path):
        console.print(_slice_table(path))


def _warmer(calibration: dict[str, Any]) -> str:
    """Returns a sentence on how the stored temperature changes the calibration."""
    temperature = calibration.get("temperature")
    if not temperature:
        return ""
    return (
        f"; with the temperature {temperature['value']:.3f} the error is {temperature['ece']:.4f},"
        f" the Brier score {temperature['brier']:.4f}"
    )


def _slice_table(path: Path) -> Table:
    from dlcli.runs.files import read_table

    table = Table("slice", "examples", "metric", "score", "95 % interval")
    for row in read_table(path):
        missing = {"column", "value", "examples", "metric", "score", "low", "high"} - row.keys()
        if missing:
            raise DamagedFile(f"{path}: lacks the column {min(missing)}")
        numbers = [_cell(row[name], path) for name in ("score", "low", "high")]
        table.add_row(
            f"{row['column']} = {row['value']}", row["examples"], row["metric"], shown(numbers[0]), interval(numbers[1:])
        )
    return table


def _cell(text: str, path: Path) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise DamagedFile(f"{path}: {text[:40]!r} is not a number") from None


def score_table(run: RunFolder, split: str) -> Table:
    """Returns the table of one split's scores with their 95 % intervals, and the baseline's."""
    scores = run.metrics(split)
    baseline = scores["baseline"]
    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column(f"baseline: {baseline['name']}", justify="right")
    for name, entry in scores["metrics"].items():
        row = (shown(entry["value"], name), interval(entry.get("interval")), shown(baseline["metrics"].get(name), name))
        table.add_row(name, *row)
    return table


def interval(bounds: Sequence[float | None] | None) -> str:
    """Returns an interval as tables show it."""
    if not bounds or None in bounds:
        return "-"
    return f"{shown(bounds[0])} to {shown(bounds[1])}"


def shown(value: float | None, metric: str = "") -> str:
    """Returns a number, or the score of a metric, as tables show it."""
    if value is None:
        return "-"
    return score_text(value, metric)


def worst_confusions(run: RunFolder, split: str, most: int = 3) -> list[str]:
    """Returns the pairs of classes that are confused most often, as text."""
    from dlcli.runs.files import read_table

    path = run.evaluation(split) / layout.CONFUSION_MATRIX
    if not os.path.lexists(path):
        return []
    rows = read_table(path)
    if [next(iter(row.values())) for row in rows] != (list(rows[0])[1:] if rows else None):
        raise DamagedFile(f"{path}: its rows and columns name different classes")
    pairs = [
        (_count(count, path), visible(label), visible(predicted))
        for row in rows
        for label in [next(iter(row.values()))]
        for predicted, count in list(row.items())[1:]
        if predicted != label and _count(count, path)
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return [f"{label} predicted as {predicted} ({count})" for count, label, predicted in pairs[:most]]


def _count(cell: str, path: Path) -> int:
    if not (cell.isdecimal() and len(cell) < 20):
        raise DamagedFile(f"{path}: {cell[:40]!r} is not a count")
    return int(cell)
