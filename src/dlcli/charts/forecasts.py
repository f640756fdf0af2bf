"""Charts of forecasts: values and forecasts with their band, and the error by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.charts.chart import SQUARE, WIDE, Chart, Medium, save_charts, short
from dlcli.runs import layout
from dlcli.runs.numbers import short_number
from dlcli.tasks import Forecasts

_LONGEST = 30
_SHOWN = 200
"""The most forecasts, one after the other, of a chart."""
_SINGLE = 3
"""The number of single forecasts that are drawn with all their steps."""


@dataclass(frozen=True)
class ForecastTable:
    """Forecasts of a split beside the values.

    Attributes:
        output: the output type.
        ids: the name of each example.
        truth: the values `(n, columns)`.
        scores: the forecasts `(n, columns)`.
    """

    output: Forecasts
    ids: Sequence[str]
    truth: Array
    scores: Array

    def steps(self, target: int) -> tuple[Array, Array, Array | None, Array | None]:
        """Returns values, forecasts and the limits of the band of one target, each `(n, horizon)`."""
        by_step, band = self.output.by_step, self.output.band(self.scores)
        limits = (None, None) if band is None else tuple(by_step(limit)[..., target] for limit in band)
        return by_step(self.truth)[..., target], by_step(self.scores)[..., target], limits[0], limits[1]


def save_forecasts(table: ForecastTable, folder: Path) -> None:
    """Writes `forecasts.png` and, of several steps, `error_by_step.png`."""
    charts = [chart for target in range(len(table.output.series)) for chart in forecast_charts(table, target)]
    save_charts(charts, folder / layout.FORECASTS_PICTURE)
    if table.output.horizon > 1:
        errors = [error_chart(table, target) for target in range(len(table.output.series))]
        save_charts(errors, folder / layout.ERROR_BY_STEP_PICTURE)


def forecast_charts(table: ForecastTable, target: int) -> Iterator[Chart]:
    """Yields the charts of one target: the forecasts of one step over time, and single forecasts with all steps."""
    yield _timeline(table, target)
    if table.output.horizon > 1:
        places = np.unique(np.linspace(0, len(table.ids) - 1, 2 * _SINGLE + 1).astype(int)[1::2])
        yield from (_single(table, target, place) for place in places.tolist())


def _timeline(table: ForecastTable, target: int) -> Chart:
    name, step = table.output.series[target], table.output.horizon
    values, forecasts, low, high = (None if column is None else column[-_SHOWN:, step - 1] for column in table.steps(target))
    assert values is not None
    assert forecasts is not None
    ahead = "1 step ahead" if step == 1 else f"{step} steps ahead"
    error = short_number(float(np.abs(forecasts - values).mean()))
    text = (
        f"{name}, {ahead}, for the last {len(values):,} forecasts, from {table.ids[-len(values)]} to {table.ids[-1]}: the mean"
        f" absolute error is {error}."
    )
    draw = partial(_draw, values=values, forecasts=forecasts, low=low, high=high, label="forecast")
    return Chart(f"{short(name, _LONGEST)}: {ahead}", text, draw, WIDE)


def _single(table: ForecastTable, target: int, place: int) -> Chart:
    name = table.output.series[target]
    values, forecasts, low, high = (None if column is None else column[place] for column in table.steps(target))
    assert values is not None
    assert forecasts is not None
    text = f"Forecast of {name} from {table.ids[place]} on, with the values."
    draw = partial(_draw, values=values, forecasts=forecasts, low=low, high=high, label="step")
    return Chart(f"{short(name, _LONGEST)} after {short(table.ids[place], _LONGEST)}", text, draw, WIDE)


def _draw(
    axes: Any, medium: Medium, values: Array, forecasts: Array, low: Array | None, high: Array | None, label: str
) -> None:
    places = np.arange(1, len(values) + 1)
    axes.plot(places, values, color=medium.muted, linewidth=1.2, label="value")
    axes.plot(places, forecasts, color=medium.series[0], linewidth=1.4, label="forecast")
    if low is not None and high is not None:
        axes.fill_between(places, low, high, color=medium.series[0], alpha=0.2, linewidth=0, label="band")
    axes.set_xlabel(label)
    axes.legend()


def error_chart(table: ForecastTable, target: int) -> Chart:
    """Returns the mean absolute error of one target by step."""
    name = table.output.series[target]
    values, forecasts, _, _ = table.steps(target)
    errors = np.abs(forecasts.astype("float64") - values).mean(axis=0)
    text = (
        f"The mean absolute error of {name} is {short_number(float(errors[0]))} at the first step and"
        f" {short_number(float(errors[-1]))} at the last."
    )
    return Chart(f"{short(name, _LONGEST)}: error by step", text, partial(_draw_errors, errors=errors), SQUARE)


def _draw_errors(axes: Any, medium: Medium, errors: Array) -> None:
    axes.plot(np.arange(1, len(errors) + 1), errors, "o-", color=medium.series[0], markersize=3.4)
    axes.set(xlabel="steps ahead", ylabel="mean absolute error")
    axes.set_ylim(bottom=0)
