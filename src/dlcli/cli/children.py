"""What the terminal shows of a run whose results are those of other runs: the folds, or the fractions of the data."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from dlcli.cli.console import PlainConsole, shown
from dlcli.runs import RunFolder
from dlcli.runs.children import FoldsFile, FractionsFile, read_folds, read_fractions

_COLUMNS = 4


def children_as_dict(run: RunFolder) -> dict[str, Any]:
    """Returns the contents of `folds.json` and `fractions.json`; empty for a run that has neither."""
    contents = {"folds": read_folds(run), "fractions": read_fractions(run)}
    return {name: content.content() for name, content in contents.items() if content is not None}


def show_children(console: PlainConsole, run: RunFolder) -> None:
    """Prints the spread of the scores over the folds, or the scores of the fractions; nothing for other runs."""
    folds, fractions = read_folds(run), read_fractions(run)
    if folds is not None:
        _show_folds(console, folds)
    if fractions is not None:
        _show_fractions(console, fractions)


def _show_folds(console: PlainConsole, folds: FoldsFile) -> None:
    times = f", {folds.repeats} times" if folds.repeats > 1 else ""
    table = Table("score", "mean", "standard deviation", "smallest", "largest", title_justify="left")
    table.title = f"Scores of the {len(folds.runs)} runs on their folds ({folds.folds} folds{times})"
    for name, spread in folds.metrics.items():
        table.add_row(name, *map(shown, (spread.mean, spread.deviation, spread.smallest, spread.largest)))
    console.print(table)


def _show_fractions(console: PlainConsole, fractions: FractionsFile) -> None:
    names = [fractions.metric, *(name for name in fractions.points[0].metrics if name != fractions.metric)][:_COLUMNS]
    seeds = f", mean of {len(fractions.seeds)} seeds" if len(fractions.seeds) > 1 else ""
    table = Table("fraction", "training examples", *names, title_justify="left")
    table.title = f"Scores by training examples, with 95 % intervals{seeds}"
    for point in fractions.points:
        cells = []
        for name in names:
            score = point.metrics[name]
            low, high = score.interval or (None, None)
            cells.append(shown(score.mean) + (f" ({shown(low)} to {shown(high)})" if score.interval else ""))
        table.add_row(f"{point.fraction:g}", f"{point.examples:,.0f}", *cells)
    console.print(table)
    console.print(fractions.sentence, soft_wrap=True)
    for note in fractions.notes:
        console.print(f"note: {note}", soft_wrap=True)
