"""The confusion matrix as a picture; a page shows it as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from dlcli.arrays import Array
from dlcli.charts.chart import ORANGE, PLAIN, save_figure, short

_MOST_WITH_SHARES, _MOST_WITH_COUNTS = 25, 60  # classes up to which cells have room for share and count, or the count


@rc_context(PLAIN)
def draw_confusion_matrix(matrix: Array, classes: tuple[str, ...], path: Path) -> None:
    """Writes a confusion matrix: colours are row shares, cells show share and count where they are large enough.

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
    # With many classes the confusions are small shares, so the lower end of the colour scale is stretched.
    picture = axes.imshow(shares, cmap="Blues", norm=PowerNorm(1.0 if count <= _MOST_WITH_SHARES else 0.5, vmin=0, vmax=1))
    correct = int(np.trace(matrix))
    title = f"{correct:,} of {int(matrix.sum()):,} correct ({correct / max(1, matrix.sum()):.1%})"
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    _name_axes(axes, classes, side)
    if count <= _MOST_WITH_COUNTS:
        _write_cells(axes, matrix, shares)
    else:
        _ring_confusions(axes, matrix)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, format=lambda share, _: f"{share:.0%}")
    bar.set_label("share of the label's examples")
    save_figure(figure, path)


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


def _write_cells(axes: Any, matrix: Array, shares: Array) -> None:
    """Writes share and count into the cells; with many classes only the count."""
    few = len(matrix) <= _MOST_WITH_SHARES
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
