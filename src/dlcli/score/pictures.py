"""Pictures of an evaluation: ROC and precision-recall curves, reliability, residuals. Drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from dlcli.runs import layout
from dlcli.score.calibration import Bin
from dlcli.score.curves import Curve
from dlcli.score.outcome import Outcome
from dlcli.score.plots import BLUE, GREY, ORANGE, PLAIN, save, short

_MOST_CURVES = 10
_MOST_POINTS = 5000


@rc_context(PLAIN)
def draw_roc(curves: Sequence[Curve], path: Path) -> None:
    """Writes the ROC curves; of many classes those with the smallest areas."""
    figure, axes = _square("false positive rate", "true positive rate")
    _draw_curves(axes, curves, "ROC")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    save(figure, path)


@rc_context(PLAIN)
def draw_pr(curves: Sequence[Curve], path: Path) -> None:
    """Writes the precision-recall curves; of many classes those with the smallest areas."""
    figure, axes = _square("recall", "precision")
    _draw_curves(axes, curves, "Precision and recall", steps="steps-pre")
    save(figure, path)


def _draw_curves(axes: Any, curves: Sequence[Curve], title: str, steps: str = "default") -> None:
    shown = sorted(curves, key=lambda curve: curve.area)[:_MOST_CURVES]
    for curve in shown:
        axes.plot(curve.x, curve.y, drawstyle=steps, linewidth=1.4, label=f"{short(curve.name)} ({curve.area:.3f})")
    more = f", the {len(shown)} smallest of {len(curves)} areas" if len(shown) < len(curves) else ""
    axes.set_title(f"{title}{more}", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=8, title="area", title_fontsize=8)


@rc_context(PLAIN)
def draw_reliability(bins: Sequence[Bin], error: float, path: Path) -> None:
    """Writes the reliability diagram: what share came true of what was claimed, and how many claims there were."""
    figure = Figure(figsize=(4.8, 5.6))
    axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (4, 1), "hspace": 0.08})
    width = [one.high - one.low for one in bins]
    middle = [(one.low + one.high) / 2 for one in bins]
    axes.bar(middle, [one.accuracy for one in bins], width, color=BLUE, edgecolor="white", label="came true")
    axes.plot([one.confidence for one in bins], [one.accuracy for one in bins], "o", color=ORANGE, markersize=4)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="as claimed")
    axes.set_title(f"Calibration error {error:.3f}", loc="left", fontsize=11)
    axes.set_ylabel("share that came true")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=8)
    below.bar(middle, [one.examples for one in bins], width, color=GREY, edgecolor="white")
    below.set_xlabel("claimed probability")
    below.set_ylabel("examples")
    for one in (axes, below):
        one.spines[["top", "right"]].set_visible(False)
    save(figure, path)


@rc_context(PLAIN)
def draw_regression(outcome: Outcome, folder: Path) -> None:
    """Writes `predicted_against_actual.png` and `residuals.png`, a panel for each target, of 5,000 examples at most."""
    assert outcome.scores is not None
    step = -(-len(outcome) // _MOST_POINTS)
    truth, guess = outcome.truth[::step], outcome.scores[::step]
    for name, draw in ((layout.ACTUAL_PICTURE, _against_actual), (layout.RESIDUALS_PICTURE, _residuals)):
        columns = min(3, len(outcome.classes))
        lines = -(-len(outcome.classes) // columns)
        figure = Figure(figsize=(4.4 * columns, 3.9 * lines))
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for at, axes in enumerate(panels):
            axes.set_visible(at < len(outcome.classes))
            if at < len(outcome.classes):
                draw(axes, truth[:, at], guess[:, at])
                axes.set_title(short(outcome.classes[at]), loc="left", fontsize=11)
                axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        save(figure, folder / name)


def _against_actual(axes: Any, truth: Any, guess: Any) -> None:
    ends = [float(np.min([truth, guess])), float(np.max([truth, guess]))]
    axes.plot(ends, ends, color=GREY, linewidth=1, linestyle=":")
    axes.plot(truth, guess, "o", color=BLUE, markersize=3, alpha=0.5, markeredgewidth=0)
    axes.set_xlabel("actual")
    axes.set_ylabel("predicted")


def _residuals(axes: Any, truth: Any, guess: Any) -> None:
    axes.axhline(0, color=GREY, linewidth=1, linestyle=":")
    axes.plot(guess, guess - truth, "o", color=BLUE, markersize=3, alpha=0.5, markeredgewidth=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("predicted - actual")


def _square(x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(5, 4.8))
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
