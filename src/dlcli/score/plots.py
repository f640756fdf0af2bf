"""Learning curves and confusion matrices as pictures, drawn by matplotlib without a display."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from dlcli.runs import Run
from dlcli.runs.files import replacing
from dlcli.visible import visible

Array = np.ndarray[Any, Any]
BLUE, ORANGE, GREY = "#2b6cb0", "#dd6b20", "#718096"
_FEW, _SOME = 25, 60  # classes up to which a cell has room for share and count, for the count
PLAIN = {"text.parse_math": False}  # `$` in a name starts no formula
_NOT_DRAWN = ("stage", "epoch", "learning_rate", "learning_rate_backbone", "seconds", "examples_per_second")


@contextmanager
def without_warnings() -> Iterator[None]:
    """Draws without two words of matplotlib's: a letter that no font at hand has is drawn as a box, the tables beside the
    picture hold the name; and the best place of a legend is slow to find where the machine is busy."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+|Creating legend", UserWarning)
        yield


def plain_ticks(figure: Figure) -> None:
    """Labels logarithmic axes with plain numbers: matplotlib's labels are formulas, which `PLAIN` shows as they are written."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                low, high = sorted(axis.get_view_interval())
                one_decade = low > 0 and high / low < 20
                axis.set_major_formatter(lambda value, _: f"{value:.3g}")
                axis.set_minor_formatter((lambda value, _: f"{value:.3g}") if one_decade else NullFormatter())


def save(figure: Figure, path: Path) -> None:
    """Replaces a PNG file."""
    plain_ticks(figure)
    FigureCanvasAgg(figure)
    with replacing(path) as temporary, without_warnings():
        figure.savefig(temporary, dpi=130, facecolor="white")


@rc_context(PLAIN)
def draw_curves(run: Run) -> None:
    """Writes `curves.png`: loss and every metric by epoch, training and validation, the best epoch marked."""
    rows = run.history()
    if not rows:
        return
    names = [name for name in rows[0] if name not in _NOT_DRAWN and not name.startswith("val_")]
    names += [name[4:] for name in rows[0] if name.startswith("val_") and name[4:] not in names]
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.2 * lines), layout="constrained")
    figure.suptitle(visible(run.id), fontsize=10, color=GREY)
    for axes, name in zip(figure.subplots(lines, columns, squeeze=False).flat, names, strict=False):
        _draw_curve(axes, rows, name, run.status().best_epoch)
    for axes in list(figure.axes)[len(names) :]:
        axes.set_visible(False)
    save(figure, run.curves_path)


def _draw_curve(axes: Any, rows: list[dict[str, str]], name: str, best: int) -> None:
    epochs = [int(row["epoch"]) for row in rows]
    marker = "o" if len(rows) < 30 else None
    of_training = "weights" if name == "penalty" else "training"
    for column, colour, label in ((name, BLUE, of_training), (f"val_{name}", ORANGE, "validation")):
        values = [float(row[column]) if row.get(column) else float("nan") for row in rows]
        if any(map(isfinite, values)):
            axes.plot(epochs, values, color=colour, marker=marker, markersize=3, label=label)
    for epoch, stage in stage_borders(rows):
        axes.axvline(epoch, color=GREY, linewidth=1)
        axes.annotate(f" {visible(stage)}", (epoch, 1), xycoords=("data", "axes fraction"), va="top", fontsize=7, color=GREY)
    if best:
        axes.axvline(best, color=GREY, linewidth=1, linestyle=":", label=f"best epoch: {best}")
    axes.set_title(visible(name), loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)


def stage_borders(rows: list[dict[str, str]]) -> list[tuple[float, str]]:
    """Returns where each stage begins, between two epochs, and its name; none where there is one stage."""
    starts = [index for index, row in enumerate(rows) if index == 0 or row["stage"] != rows[index - 1]["stage"]]
    return [(int(rows[index]["epoch"]) - 0.5, rows[index]["stage"]) for index in starts] if len(starts) > 1 else []


@rc_context(PLAIN)
def draw_confusion_matrix(matrix: Array, classes: tuple[str, ...], path: Path) -> None:
    """Writes a confusion matrix: colours are row shares, cells show share and count while they are large enough.

    Args:
        matrix: counts `(classes, classes)`, a row for each label, a column for each prediction.
        classes: the names, in label order.
        path: the PNG file.
    """
    count = len(classes)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    side = float(np.clip(2.6 + 0.62 * count, 4.6, 16))
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.subplots()
    # Among many classes confusions are small shares: the scale of colours is stretched at its lower end.
    picture = axes.imshow(shares, cmap="Blues", norm=PowerNorm(1.0 if count <= _FEW else 0.5, vmin=0, vmax=1))
    right = int(np.trace(matrix))
    axes.set_title(f"{right:,} of {int(matrix.sum()):,} right ({right / max(1, matrix.sum()):.1%})", loc="left", fontsize=11)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    _name_axes(axes, classes, side)
    if count <= _SOME:
        _write_cells(axes, matrix, shares)
    else:
        _ring_confusions(axes, matrix)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, format=lambda share, _: f"{share:.0%}")
    bar.set_label("share of the label's examples")
    save(figure, path)


def _name_axes(axes: Any, classes: tuple[str, ...], side: float) -> None:
    count = len(classes)
    step = -(-count // 100)
    places = range(0, count, step)
    size = float(np.clip(72 * side * 0.75 / max(count / step, 1) * 0.8, 3.5, 10))
    names = [short(classes[place]) for place in places]
    letters = max(map(len, names), default=0)
    long = letters * size * 0.62 > 72 * side * 0.75 / max(count / step, 1)  # wider than its column, in points
    axes.set_xticks(places, names, rotation=90 if long else 0, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    axes.tick_params(length=0)


def short(name: str, length: int = 22) -> str:
    """Returns a name for an axis: in one line, cut where it is long."""
    name = visible(name)
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _write_cells(axes: Any, matrix: Array, shares: Array) -> None:
    """Writes share and count into the cells, of more than a few classes the count alone."""
    few = len(matrix) <= _FEW
    size = float(np.clip(115 / (len(matrix) + 3), 4.5, 10) if few else np.clip(300 / len(matrix), 4.5, 8))
    for row, column in np.argwhere(matrix > 0):
        share, count = shares[row, column], matrix[row, column]
        text = f"{share:.0%}\n{count:,}" if few and share >= 0.005 else f"{count:,}"
        colour = "white" if share > (0.55 if few else 0.3) else "#1a202c"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour, linespacing=1.1)


def _ring_confusions(axes: Any, matrix: Array, most: int = 10) -> None:
    """Rings and counts the largest confusions where cells are too small for text."""
    errors = matrix.copy()
    np.fill_diagonal(errors, 0)
    for place in np.argsort(errors, axis=None)[::-1][:most]:
        row, column = np.unravel_index(place, errors.shape)
        if errors[row, column]:
            axes.plot(column, row, "o", markersize=9, markerfacecolor="none", markeredgecolor=ORANGE, markeredgewidth=1.4)
            text = f" {errors[row, column]:,}"
            axes.annotate(text, (column, row), xytext=(5, 5), textcoords="offset points", fontsize=7, color=ORANGE)
