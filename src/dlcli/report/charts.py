"""The charts of a report: each from plain rows, none where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import isfinite
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dlcli.report.evaluation import BinRow, DecileRow, PrRow, RocRow
from dlcli.report.sentences import short
from dlcli.report.svg import INK, MUTED, RULE, SERIES, Chart, drawing, inline
from dlcli.score.plots import stage_borders
from dlcli.visible import visible

Array = np.ndarray[Any, Any]
_SIZE, _SQUARE = (4.7, 2.9), (4.7, 3.7)
_NOT_A_CURVE = ("stage", "epoch", "seconds", "examples_per_second")
_RATES = ("learning_rate", "learning_rate_backbone")
_MOST_CURVES = 6
_MOST_POINTS = 120
_MOST_DOTS = 700
History = list[dict[str, str]]


def _axes(size: tuple[float, float] = _SIZE) -> tuple[Figure, Any]:
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def _whole_epochs(axes: Any) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)


def curve_charts(rows: History, best: int, key: str) -> list[Chart]:
    """Returns a chart for the loss and every metric by epoch, and for a rate that changes."""
    names = [name for name in (rows[0] if rows else ()) if name not in (*_NOT_A_CURVE, *_RATES)]
    names = list(dict.fromkeys(name.removeprefix("val_") for name in names))
    charts = [_curve(rows, name, best, f"{key}-curve{number}") for number, name in enumerate(names)]
    rates = [name for name in _RATES if len({row.get(name) for row in rows}) > 1]
    return charts + ([_rate(rows, rates, f"{key}-rate")] if rates else [])


def _curve(rows: History, name: str, best: int, key: str) -> Chart:
    epochs = [int(row["epoch"]) for row in rows]
    words = []
    with drawing():
        figure, axes = _axes()
        of_training = "weights" if name == "penalty" else "training"
        for column, colour, what in ((name, SERIES[0], of_training), (f"val_{name}", SERIES[1], "validation")):
            values = _numbers(rows, column)
            if not any(map(isfinite, values)):
                continue
            few = "o" if len(rows) < 25 else ""
            axes.plot(epochs, values, color=colour, marker=few, markersize=2.6, label=what)
            known = [value for value in values if isfinite(value)]
            words.append(f"{what} from {short(known[0])} to {short(known[-1])}")
        _mark_epochs(axes, rows, best)
        axes.set_title(visible(name))
        _whole_epochs(axes)
        axes.legend()
        at = f"; the best epoch is {best}" if best else ""
        return Chart(inline(figure, key), name, f"{name} over {len(rows)} epochs: {', '.join(words) or 'no numbers'}{at}.")


def _mark_epochs(axes: Any, rows: History, best: int) -> None:
    """Marks the best epoch and the borders of stages."""
    for epoch, stage in stage_borders(rows):
        axes.axvline(epoch, color=MUTED, linewidth=0.8)
        place = {"xycoords": ("data", "axes fraction"), "va": "bottom", "fontsize": 7.5, "color": MUTED}
        axes.annotate(visible(stage)[:24], (epoch, 0.02), xytext=(3, 0), textcoords="offset points", **place)
    if best:
        axes.axvline(best, color=INK, linewidth=1, linestyle=(0, (2, 2)), label=f"best epoch, {best}")


def _rate(rows: History, names: Sequence[str], key: str) -> Chart:
    with drawing():
        figure, axes = _axes()
        for name, colour in zip(names, SERIES[3:], strict=False):
            label = "backbone" if name.endswith("backbone") else "head" if len(names) > 1 else "rate"
            axes.step([int(row["epoch"]) for row in rows], _numbers(rows, name), where="mid", color=colour, label=label)
        axes.set_title("learning rate")
        axes.set_yscale("log") if all(value > 0 for value in _numbers(rows, names[0])) else None
        _whole_epochs(axes)
        if len(names) > 1:
            axes.legend()
        return Chart(inline(figure, key), "learning rate", "The learning rate of every epoch.")


def _numbers(rows: History, column: str) -> list[float]:
    return [float(row[column]) if row.get(column) else float("nan") for row in rows]


def overlaid_charts(histories: Sequence[tuple[str, History]], key: str) -> list[Chart]:
    """Returns a chart for every metric with a line for each run; validation where it is known, else training."""
    names = dict.fromkeys(
        name.removeprefix("val_")
        for _, rows in histories
        for name in (rows[0] if rows else ())
        if name not in (*_NOT_A_CURVE, *_RATES)
    )
    return [_overlaid(histories, name, f"{key}-over{number}") for number, name in enumerate(names)]


def _overlaid(histories: Sequence[tuple[str, History]], name: str, key: str) -> Chart:
    with drawing():
        figure, axes = _axes()
        for number, (label, rows) in enumerate(histories):
            column = f"val_{name}" if rows and any(row.get(f"val_{name}") for row in rows) else name
            values = _numbers(rows, column)
            if any(map(isfinite, values)):
                style = {"color": SERIES[number % len(SERIES)], "linestyle": "-" if column != name else "--"}
                what = "validation" if column != name else "training"
                axes.plot([int(row["epoch"]) for row in rows], values, label=f"{label}, {what}", **style)
        axes.set_title(visible(name))
        _whole_epochs(axes)
        if axes.lines:
            axes.legend()
        return Chart(inline(figure, key), name, f"{name} by epoch, a line for each run.")


def reliability_chart(rows: Sequence[BinRow], key: str) -> Chart | None:
    """Returns what was claimed against what came true."""
    if not rows:
        return None
    total = sum(row.examples for row in rows)
    with drawing():
        figure, axes = _axes(_SQUARE)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="what is claimed comes true")
        claimed, true = [row.confidence for row in rows], [row.accuracy for row in rows]
        axes.vlines(claimed, claimed, true, color=SERIES[1], linewidth=1.2)
        sizes = [6 + 170 * row.examples / total for row in rows]
        axes.scatter(claimed, true, s=sizes, color=SERIES[0], alpha=0.85, linewidths=0, label="size: share of the examples")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="probability claimed", ylabel="share that came true")
        axes.set_title("Reliability")
        axes.legend(loc="lower right", fontsize=8)
        worst = max(rows, key=lambda row: row.examples * abs(row.confidence - row.accuracy))
        text = f"Of {worst.examples:,} claims around {worst.confidence:.2f}, the share {worst.accuracy:.2f} came true."
        return Chart(inline(figure, key), "Reliability", text)


def _area(x: Array, y: Array) -> float:
    return float(abs(np.trapezoid(y, x)))


def ranking_chart(rows: Sequence[RocRow] | Sequence[PrRow], key: str) -> Chart | None:
    """Returns the ROC or precision-recall curves: of many classes those with the least area below them."""
    if not rows:
        return None
    is_roc = isinstance(rows[0], RocRow)
    points: Any = rows
    curves = {
        name: np.array([(row.x, row.y) for row in members]).T
        for name, members in groupby(points, key=lambda row: str(row.name))
    }
    areas = {name: _area(*curve) for name, curve in curves.items()}
    chosen = sorted(areas, key=lambda name: areas[name])[:_MOST_CURVES] if len(areas) > _MOST_CURVES else list(areas)
    title = "ROC" if is_roc else "Precision and recall"
    with drawing():
        figure, axes = _axes(_SQUARE)
        if is_roc:
            axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
        for name, colour in zip(chosen, SERIES, strict=False):
            x, y = _thinned(curves[name])
            axes.plot(x, y, color=colour, label=f"{visible(name)[:22]}  {areas[name]:.3f}")
        labels = ("false positive rate", "true positive rate") if is_roc else ("recall", "precision")
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel=labels[0], ylabel=labels[1])
        axes.set_title(title)
        axes.legend(loc="lower right" if is_roc else "lower left", fontsize=8)
        which = f"the {len(chosen)} of {len(areas)} classes with the least area" if len(chosen) < len(areas) else "every class"
        text = f"Curves of {which}, with the area below each; the least is {min(areas.values()):.3f}."
        return Chart(inline(figure, key), title, text)


def _thinned(curve: Array) -> Array:
    """Returns a curve with at most so many points as an eye tells apart, ends kept."""
    count = curve.shape[1]
    if count <= _MOST_POINTS:
        return curve
    return np.asarray(curve[:, np.unique(np.linspace(0, count - 1, _MOST_POINTS).astype(int))])


def regression_charts(target: str, truth: Array, guess: Array, deciles: Sequence[DecileRow], key: str) -> list[Chart]:
    """Returns predicted against actual, the residuals, and the error by tenth of one target.

    Args:
        target: its name.
        truth: values `(n,)`.
        guess: predictions `(n,)`.
        deciles: rows of this target.
        key: begins the charts' ids.
    """
    some = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), _MOST_DOTS)).astype(int))
    truth, guess = truth[some].astype("float64"), guess[some].astype("float64")
    charts = [_against(target, truth, guess, f"{key}-against"), _residuals(target, truth, guess, f"{key}-residual")]
    return charts + ([_deciles(target, deciles, f"{key}-decile")] if deciles else [])


def _dots(axes: Any, x: Array, y: Array) -> None:
    axes.plot(x, y, "o", markersize=3.4, markeredgewidth=0, color=SERIES[0], alpha=0.6)


def _against(target: str, truth: Array, guess: Array, key: str) -> Chart:
    with drawing():
        figure, axes = _axes(_SQUARE)
        ends = [float(min(truth.min(), guess.min())), float(max(truth.max(), guess.max()))]
        axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle="--")
        _dots(axes, truth, guess)
        axes.set(xlabel="actual", ylabel="predicted")
        axes.set_title(f"{visible(target)[:30]}: predicted against actual")
        text = f"{len(truth):,} predictions of {target} against the actual values; on the dashed line both are equal."
        return Chart(inline(figure, key), "predicted against actual", text)


def _residuals(target: str, truth: Array, guess: Array, key: str) -> Chart:
    with drawing():
        figure, axes = _axes(_SQUARE)
        axes.axhline(0, color=MUTED, linewidth=1, linestyle="--")
        _dots(axes, guess, guess - truth)
        axes.set(xlabel="predicted", ylabel="predicted less actual")
        axes.set_title("Residuals")
        text = f"Errors of {target} by predicted value; their mean is {short(float((guess - truth).mean()))}."
        return Chart(inline(figure, key), "residuals", text)


def _deciles(target: str, rows: Sequence[DecileRow], key: str) -> Chart:
    with drawing():
        figure, axes = _axes(_SQUARE)
        places = [row.decile for row in rows]
        axes.bar(places, [row.mae for row in rows], color=SERIES[0], alpha=0.75, width=0.75, label="mean absolute error")
        axes.plot(places, [row.bias for row in rows], "o-", color=SERIES[1], markersize=3.4, label="bias")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xticks(places)
        axes.set_xlabel("tenth of the examples, by actual value")
        axes.set_title("Error by decile")
        axes.grid(axis="x", visible=False)
        axes.legend()
        worst = max(rows, key=lambda row: row.mae)
        text = (
            f"The error of {target} is largest from {short(worst.low)} to {short(worst.high)}: {short(worst.mae)} on average."
        )
        return Chart(inline(figure, key), "error by decile", text)
