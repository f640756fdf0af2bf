"""Learning curves: losses and metrics by epoch, of one run or of several, and the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isfinite
from typing import Any

from dlcli.charts.chart import Chart, Medium, save_charts
from dlcli.runs import RunFolder
from dlcli.runs.history import is_rate, is_setting
from dlcli.runs.numbers import short_number
from dlcli.visible import visible

_FEW_EPOCHS = 25  # with fewer epochs, each is marked
History = list[dict[str, str]]


def save_curves(run: RunFolder) -> None:
    """Writes `curves.png`: loss and every metric by epoch, training and validation, the best epoch marked."""
    charts = learning_charts(run.history(), run.status().best_epoch)
    if charts:
        save_charts(charts, run.curves_path, heading=run.id)


def learning_charts(rows: History, best: int) -> list[Chart]:
    """Returns a chart for the loss and for every metric; `best` is the best epoch, 0 where there is none."""
    return [_learning_chart(rows, name, best) for name in _curve_names(rows)]


def _curve_names(rows: History) -> list[str]:
    names = [name for name in (rows[0] if rows else ()) if not is_setting(name)]
    return list(dict.fromkeys(name.removeprefix("val_") for name in names))


def _learning_chart(rows: History, name: str, best: int) -> Chart:
    spans = []
    for column, split in _columns_of(name):
        values = [value for value in _numbers(rows, column) if isfinite(value)]
        if values:
            spans.append(f"{split} from {short_number(values[0])} to {short_number(values[-1])}")
    at = f"; the best epoch is {best}" if best else ""
    text = f"{name} over {len(rows)} epochs: {', '.join(spans) or 'no numbers'}{at}."
    return Chart(name, text, partial(_draw_learning, rows=rows, name=name, best=best))


def _draw_learning(axes: Any, medium: Medium, rows: History, name: str, best: int) -> None:
    epochs = [int(row["epoch"]) for row in rows]
    marker = "o" if len(rows) < _FEW_EPOCHS else ""
    for (column, split), colour in zip(_columns_of(name), medium.series, strict=False):
        values = _numbers(rows, column)
        if any(map(isfinite, values)):
            axes.plot(epochs, values, color=colour, marker=marker, markersize=2.6, label=split)
    for epoch, stage in stage_borders(rows):
        axes.axvline(epoch, color=medium.muted, linewidth=0.8)
        place = {"xycoords": ("data", "axes fraction"), "va": "bottom", "fontsize": 7.5, "color": medium.muted}
        axes.annotate(visible(stage)[:24], (epoch, 0.02), xytext=(3, 0), textcoords="offset points", **place)
    if best:
        axes.axvline(best, color=medium.ink, linewidth=1, linestyle=(0, (2, 2)), label=f"best epoch, {best}")
    _set_integer_epochs(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _columns_of(name: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Returns the two columns of a metric, each with the name of its split; a penalty is computed on the weights."""
    return (name, "weights" if name == "penalty" else "training"), (f"val_{name}", "validation")


def stage_borders(rows: History) -> list[tuple[float, str]]:
    """Returns the start of each stage, between two epochs, and its name; nothing for a run with one stage."""
    starts = [index for index, row in enumerate(rows) if index == 0 or row["stage"] != rows[index - 1]["stage"]]
    return [(int(rows[index]["epoch"]) - 0.5, rows[index]["stage"]) for index in starts] if len(starts) > 1 else []


def rate_charts(rows: History) -> list[Chart]:
    """Returns a chart of the learning rates where one of them changes, else nothing."""
    rates = dict.fromkeys(name for row in rows for name in row if is_rate(name))
    names = [name for name in rates if len({row.get(name) for row in rows}) > 1]
    if not names:
        return []
    return [Chart("learning rate", "The learning rate of every epoch.", partial(_draw_rates, rows=rows, names=names))]


def _draw_rates(axes: Any, medium: Medium, rows: History, names: Sequence[str]) -> None:
    epochs = [int(row["epoch"]) for row in rows]
    for name, colour in zip(names, medium.series[3:], strict=False):
        of_training = "head" if "learning_rate_backbone" in names else "training" if len(names) > 1 else "rate"
        label = name.removeprefix("learning_rate").strip("_") or of_training
        axes.step(epochs, _numbers(rows, name), where="mid", color=colour, label=label)
    if all(value > 0 for value in _numbers(rows, names[0])):
        axes.set_yscale("log")
    _set_integer_epochs(axes)
    if len(names) > 1:
        axes.legend()


def overlaid_charts(histories: Sequence[tuple[str, History]]) -> list[Chart]:
    """Returns a chart for every metric with a line for each run: validation where there is one, else training."""
    names = dict.fromkeys(name for _, rows in histories for name in _curve_names(rows))
    return [
        Chart(name, f"{name} by epoch, a line for each run.", partial(_draw_overlaid, histories=histories, name=name))
        for name in names
    ]


def _draw_overlaid(axes: Any, medium: Medium, histories: Sequence[tuple[str, History]], name: str) -> None:
    for number, (label, rows) in enumerate(histories):
        validated = any(row.get(f"val_{name}") for row in rows)
        values = _numbers(rows, f"val_{name}" if validated else name)
        if any(map(isfinite, values)):
            colour, split = medium.series[number % len(medium.series)], "validation" if validated else "training"
            style = "-" if validated else "--"
            axes.plot([int(row["epoch"]) for row in rows], values, style, color=colour, label=f"{label}, {split}")
    _set_integer_epochs(axes)
    if axes.lines:
        axes.legend()


def _set_integer_epochs(axes: Any) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _numbers(rows: History, column: str) -> list[float]:
    return [float(row[column]) if row.get(column) else float("nan") for row in rows]
