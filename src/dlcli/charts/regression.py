"""Charts of a regression: predicted against actual values, residuals, errors by tenth of the examples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.charts.chart import SQUARE, Chart, Medium, save_charts, short
from dlcli.charts.content import Decile
from dlcli.runs import layout
from dlcli.runs.numbers import short_number

_LONGEST = 30


def save_regression(targets: Sequence[str], truth: Array, guess: Array, folder: Path) -> None:
    """Writes `predicted_against_actual.png` and `residuals.png`, a panel for each target.

    Args:
        targets: the names of the targets.
        truth: values `(n, targets)`.
        guess: predictions `(n, targets)`.
        folder: the folder of the scored split.
    """
    columns = list(enumerate(targets))
    actual = [actual_chart(name, truth[:, at], guess[:, at]) for at, name in columns]
    residuals = [residual_chart(name, truth[:, at], guess[:, at]) for at, name in columns]
    save_charts(actual, folder / layout.ACTUAL_PICTURE)
    save_charts(residuals, folder / layout.RESIDUALS_PICTURE)


def actual_chart(target: str, truth: Array, guess: Array) -> Chart:
    """Returns the predictions of one target against its actual values, both `(n,)`."""
    text = f"{len(truth):,} predictions of {target} against the actual values; on the dashed line both are equal."
    title = f"{short(target, _LONGEST)}: predicted against actual"
    return Chart(title, text, partial(_draw_actual, truth=truth, guess=guess), SQUARE)


def _draw_actual(axes: Any, medium: Medium, truth: Array, guess: Array) -> None:
    ends = [float(min(truth.min(), guess.min())), float(max(truth.max(), guess.max()))]
    axes.plot(ends, ends, color=medium.muted, linewidth=1, linestyle="--")
    _draw_cloud(axes, medium, truth, guess)
    axes.set(xlabel="actual", ylabel="predicted")


def residual_chart(target: str, truth: Array, guess: Array) -> Chart:
    """Returns the errors of one target by predicted value; both arrays `(n,)`."""
    errors = guess.astype("float64") - truth
    text = f"Errors of {target} by predicted value; their mean is {short_number(float(errors.mean()))}."
    title = f"{short(target, _LONGEST)}: residuals"
    return Chart(title, text, partial(_draw_residuals, guess=guess, errors=errors), SQUARE)


def _draw_residuals(axes: Any, medium: Medium, guess: Array, errors: Array) -> None:
    axes.axhline(0, color=medium.muted, linewidth=1, linestyle="--")
    _draw_cloud(axes, medium, guess, errors)
    axes.set(xlabel="predicted", ylabel="predicted minus actual")


def _draw_cloud(axes: Any, medium: Medium, x: Array, y: Array) -> None:
    points = np.unique(np.linspace(0, len(x) - 1, min(len(x), medium.cloud_points)).astype(int))
    style = {"color": medium.series[0], "markersize": 3.4, "markeredgewidth": 0, "alpha": 0.6}
    axes.plot(x[points], y[points], "o", **style)


def decile_chart(target: str, rows: Sequence[Decile]) -> Chart:
    """Returns the error of one target by tenth of the examples."""
    worst = max(rows, key=lambda row: row.mae)
    ends = f"{short_number(worst.low)} to {short_number(worst.high)}"
    text = f"The error of {target} is largest from {ends}: {short_number(worst.mae)} on average."
    return Chart("Error by decile", text, partial(_draw_deciles, rows=rows), SQUARE)


def _draw_deciles(axes: Any, medium: Medium, rows: Sequence[Decile]) -> None:
    places = [row.decile for row in rows]
    mean = {"color": medium.series[0], "alpha": 0.75, "width": 0.75}
    axes.bar(places, [row.mae for row in rows], label="mean absolute error", **mean)
    axes.plot(places, [row.bias for row in rows], "o-", color=medium.series[1], markersize=3.4, label="bias")
    axes.axhline(0, color=medium.muted, linewidth=0.8)
    axes.set_xticks(places)
    axes.set_xlabel("tenth of the examples, by actual value")
    axes.grid(axis="x", visible=False)
    axes.legend()
