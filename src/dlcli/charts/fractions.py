"""The score of a model by the number of its training examples, with the power law that continues it."""

from __future__ import annotations

from functools import partial
from typing import Any

from dlcli.charts.chart import Chart, Medium
from dlcli.runs.children import FractionsFile
from dlcli.runs.numbers import short_number

_STEPS = 60


def fraction_chart(content: FractionsFile) -> Chart:
    """Returns the chart of the scores by training examples, with 95 % intervals, and of the power law up to twice as many."""
    name = content.metric
    values = [point.metrics[name].mean for point in content.points]
    shown = [short_number(value) for value in (values[0], values[-1]) if value is not None]
    counts = [f"{point.examples:,.0f}" for point in (content.points[0], content.points[-1])]
    course = f" from {shown[0]} to {shown[1]}" if len(shown) == 2 else ""
    text = f"{name} of {len(content.points)} fractions with {counts[0]} to {counts[1]} training examples:{course}."
    return Chart(f"{name} by training examples", text, partial(_draw, content=content))


def _draw(axes: Any, medium: Medium, content: FractionsFile) -> None:
    points = [point for point in content.points if point.metrics[content.metric].mean is not None]
    examples = [point.examples for point in points]
    scores = [point.metrics[content.metric] for point in points]
    means = [float(score.mean or 0) for score in scores]
    bounds = [score.interval or [mean, mean] for score, mean in zip(scores, means, strict=True)]
    below = [max(0.0, mean - (low if low is not None else mean)) for mean, (low, _) in zip(means, bounds, strict=True)]
    above = [max(0.0, (high if high is not None else mean) - mean) for mean, (_, high) in zip(means, bounds, strict=True)]
    axes.errorbar(
        examples, means, yerr=[below, above], color=medium.series[0], marker="o", markersize=3, capsize=2, label="measured"
    )
    if content.extrapolation is not None:
        _draw_law(axes, medium, content, examples)
    ends = examples if content.extrapolation is None else [*examples, content.extrapolation.examples]
    axes.set_xscale("log")
    axes.set_xticks(ends, [f"{count:,.0f}" for count in ends])
    axes.minorticks_off()
    axes.set_xlabel("training examples")
    axes.legend(loc="best")


def _draw_law(axes: Any, medium: Medium, content: FractionsFile, examples: list[float]) -> None:
    law = content.extrapolation
    assert law is not None
    start, end = min(examples), law.examples
    steps = [start * (end / start) ** (step / _STEPS) for step in range(_STEPS + 1)]
    errors = [law.scale * count**-law.exponent for count in steps]
    curve = [1 - error for error in errors] if content.higher_is_better else errors
    axes.plot(steps, curve, color=medium.series[1], linestyle=(0, (4, 2)), label="power law")
    half = [[abs(law.value - law.interval[0])], [abs(law.interval[1] - law.value)]]
    axes.errorbar([law.examples], [law.value], yerr=half, color=medium.series[1], marker="o", markersize=3, capsize=2)
