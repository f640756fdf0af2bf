"""ROC and precision-recall curves, and the reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.charts.chart import PNG, SQUARE, Chart, Medium, short
from dlcli.charts.content import Bin, Curve

_MOST_CURVES = len(PNG.series)
_TALL = (4.7, 4.3)
_LIMITS = (-0.03, 1.03)


def roc_chart(curves: Sequence[Curve]) -> Chart:
    """Returns the ROC curves; of many classes those with the smallest areas."""
    return _ranking_chart("ROC", curves, _draw_roc)


def pr_chart(curves: Sequence[Curve]) -> Chart:
    """Returns the precision-recall curves; of many classes those with the smallest areas."""
    return _ranking_chart("Precision and recall", curves, _draw_pr)


def _ranking_chart(title: str, curves: Sequence[Curve], draw: Any) -> Chart:
    drawn_curves, selection = curves, "every class"
    if len(curves) > _MOST_CURVES:
        drawn_curves = sorted(curves, key=lambda curve: curve.area)[:_MOST_CURVES]
        title += f", the {len(drawn_curves)} smallest of {len(curves)} areas"
        selection = f"the {len(drawn_curves)} of {len(curves)} classes with the least area"
    least = min(curve.area for curve in curves)
    text = f"Curves of {selection}, with the area below each; the least is {least:.3f}."
    return Chart(title, text, partial(draw, curves=drawn_curves), SQUARE)


def _draw_roc(axes: Any, medium: Medium, curves: Sequence[Curve]) -> None:
    axes.plot([0, 1], [0, 1], color=medium.muted, linewidth=1, linestyle=":")
    _draw_curves(axes, medium, curves, "default")
    axes.set(xlim=_LIMITS, ylim=_LIMITS, xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(loc="lower right", fontsize=8, title="area", title_fontsize=8)


def _draw_pr(axes: Any, medium: Medium, curves: Sequence[Curve]) -> None:
    _draw_curves(axes, medium, curves, "steps-pre")
    axes.set(xlim=_LIMITS, ylim=_LIMITS, xlabel="recall", ylabel="precision")
    axes.legend(loc="lower left", fontsize=8, title="area", title_fontsize=8)


def _draw_curves(axes: Any, medium: Medium, curves: Sequence[Curve], steps: str) -> None:
    for curve, colour in zip(curves, medium.series, strict=False):
        points = _thinned(len(curve.x), medium.curve_points)
        label = f"{short(curve.name)}  {curve.area:.3f}"
        axes.plot(curve.x[points], curve.y[points], drawstyle=steps, color=colour, linewidth=1.4, label=label)


def _thinned(count: int, most: int) -> Array:
    """Returns the indices of at most `most` points, both ends included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))


def reliability_chart(bins: Sequence[Bin], error: float) -> Chart:
    """Returns the reliability diagram: observed frequencies by predicted probability, and the number of examples.

    Args:
        bins: the ranges of probability that contain examples, at least one.
        error: the expected calibration error.
    """
    worst = max(bins, key=lambda bin_: bin_.examples * abs(bin_.confidence - bin_.accuracy))
    pair = f"{worst.confidence:.0%} predicted probability: observed frequency {worst.accuracy:.0%}"
    text = f"{worst.examples:,} predictions near {pair}."
    return Chart(f"Reliability, calibration error {error:.3f}", text, partial(_draw_reliability, bins=bins), _TALL)


def _draw_reliability(axes: Any, medium: Medium, bins: Sequence[Bin]) -> None:
    above, below = axes.get_subplotspec().subgridspec(2, 1, height_ratios=(4, 1))
    axes.set_subplotspec(above)
    _draw_agreement(axes, medium, bins)
    axes.tick_params(labelbottom=False)
    counts = axes.figure.add_subplot(below, sharex=axes)
    middle, width = [(bin_.low + bin_.high) / 2 for bin_ in bins], [0.92 * (bin_.high - bin_.low) for bin_ in bins]
    counts.bar(middle, [bin_.examples for bin_ in bins], width, color=medium.muted)
    counts.set(xlabel="predicted probability", ylabel="examples")
    counts.grid(axis="x", visible=False)


def _draw_agreement(axes: Any, medium: Medium, bins: Sequence[Bin]) -> None:
    total = sum(bin_.examples for bin_ in bins)
    predicted, observed = [bin_.confidence for bin_ in bins], [bin_.accuracy for bin_ in bins]
    axes.plot([0, 1], [0, 1], color=medium.muted, linewidth=1, linestyle="--", label="perfect calibration")
    axes.vlines(predicted, predicted, observed, color=medium.series[1], linewidth=1.2)
    sizes = [6 + 170 * bin_.examples / total for bin_ in bins]
    axes.scatter(
        predicted, observed, s=sizes, color=medium.series[0], alpha=0.85, linewidths=0, label="size: share of the examples"
    )
    axes.set(xlim=_LIMITS, ylim=_LIMITS, ylabel="observed frequency")
    axes.legend(loc="lower right", fontsize=8)
