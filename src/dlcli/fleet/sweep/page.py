"""The page of a sweep: how it went, which parameters matter, every trial as a line across them, and what is open."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any
from urllib.parse import quote

from dlcli.charts.chart import Chart, Medium, inlined
from dlcli.fleet.sweep.outcome import Outcome, Row, position
from dlcli.fleet.sweep.study import Search
from dlcli.program import command
from dlcli.report.page import page
from dlcli.runs import RunFolder
from dlcli.runs.sweeps import SweepFolder
from dlcli.spec.search.space import Choice, Number, names_of
from dlcli.visible import visible

_MOST_AXES = 8
_LONGEST = 26


def sweep_page(result: Outcome, search: Search, folder: SweepFolder) -> str:
    """Returns the page of a sweep's outcome, which is in the sweep's folder."""
    names = list(dict.fromkeys(name for row in result.trials for name in row.drawn))
    sign = -1 if result.higher_is_better[0] else 1
    rows = sorted(result.trials, key=lambda row: (row.values is None, sign * (row.values or [0.0])[0], row.number))
    return page(
        "sweep",
        title=f"{result.name}: sweep {result.sweep}",
        result=result,
        best=[result.row(number) for number in result.best],
        links={row.run: _report_of(folder, row.run) for row in result.trials if row.run},
        files=[path.name for path in (folder.best_path, folder.table_path) if path.is_file()],
        train=f"{command()} train {shlex.quote(str(folder.best_path))}" if folder.best_path.is_file() else "",
        drawn_as=_drawn,
        rows=rows,
        names=names,
        charts=inlined([*_history(result), *_importances(result)], "course"),
        wide=inlined(_parallel(result, search), "parallel"),
        counts={state: len(result.of_state(state)) for state in dict.fromkeys(row.state for row in result.trials)},
    )


def _report_of(folder: SweepFolder, run: str) -> str:
    """Returns the relative address of a run's report; empty where there is none, as in another machine's runs folder."""
    report = RunFolder(folder.path.parents[1] / run).report_path
    return quote(os.path.relpath(report, folder.path), errors="surrogateescape") if report.is_file() else ""


def _drawn(value: Any) -> str:
    """Returns a value as text: a number that was drawn from a range has four digits."""
    return f"{value:.4g}" if isinstance(value, float) else visible(str(value))


def _short(text: str) -> str:
    text = visible(text)
    return text if len(text) <= _LONGEST else f"...{text[-_LONGEST:]}"


def _history(result: Outcome) -> list[Chart]:
    """Returns the first objective by trial, and the best so far."""
    done = [row for row in result.trials if row.values]
    if not done:
        return []
    name, values = result.objectives[0], [_first(row) for row in done]
    text = f"{name} of {len(done)} completed trials, from {min(values):.4g} to {max(values):.4g}."
    return [Chart(f"{name} by trial", text, partial(_draw_history, result=result, done=done))]


def _draw_history(axes: Any, medium: Medium, result: Outcome, done: Sequence[Row]) -> None:
    numbers, values = [row.number for row in done], [_first(row) for row in done]
    best = list(accumulate(values, max if result.higher_is_better[0] else min))
    axes.plot(numbers, values, "o", color=medium.series[0], markersize=3.5, label="trial")
    axes.step(numbers, best, where="post", color=medium.series[1], label="best so far")
    axes.set_xlabel("trial")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()


def _importances(result: Outcome) -> list[Chart]:
    if not result.importances:
        return []
    shares = dict(list(result.importances.items())[:_MOST_AXES])
    text = f"Importance of each parameter: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}."
    draw = partial(_draw_importances, shares=shares, objective=result.objectives[0])
    return [Chart("parameter importance", text, draw, (4.7, 0.9 + 0.32 * len(shares)))]


def _draw_importances(axes: Any, medium: Medium, shares: dict[str, float], objective: str) -> None:
    items = list(shares.items())[::-1]
    axes.barh([_short(name) for name, _ in items], [share for _, share in items], color=medium.series[0], height=0.6)
    axes.set_xlabel(f"fraction of the variance of {visible(objective)}")


def _parallel(result: Outcome, search: Search) -> list[Chart]:
    """Returns the chart with a line for each completed trial across its parameters; none if fewer than two were completed."""
    done = [row for row in result.trials if row.values]
    kinds = dict(names_of(search.parameters))
    names = [name for name in (*result.importances, *kinds) if any(name in row.drawn for row in done)]
    names = list(dict.fromkeys(names))[:_MOST_AXES]
    if len(done) < 2 or not names:
        return []
    across = f"{', '.join(names)} and {result.objectives[0]}"
    text = f"Each of {len(done)} completed trials across {across}; the best tenth is highlighted."
    draw = partial(_draw_parallel, result=result, done=done, kinds={name: kinds[name] for name in names})
    return [Chart("", text, draw, (9.6, 3.3))]


def _draw_parallel(
    axes: Any, medium: Medium, result: Outcome, done: Sequence[Row], kinds: Mapping[str, Number | Choice]
) -> None:
    sign = -1 if result.higher_is_better[0] else 1
    ranked = sorted(done, key=lambda row: sign * _first(row))
    top = ranked[: max(1, len(ranked) // 10)]
    values = [_first(row) for row in done]
    for row in reversed(ranked):
        points = [(at, _place(kind, row.drawn[name])) for at, (name, kind) in enumerate(kinds.items()) if name in row.drawn]
        points.append((len(kinds), (_first(row) - min(values)) / ((max(values) - min(values)) or 1)))
        colour, alpha, width = (medium.series[1], 1, 1.8) if row in top else (medium.series[0], 0.35, 0.9)
        axes.plot(*zip(*points, strict=True), color=colour, alpha=alpha, lw=width)
    labels = [(_short(".".join(name.split(".")[-2:])), *_ends(kind)) for name, kind in kinds.items()]
    _label_axes(axes, medium, [*labels, _objective_axis(result, values)])


def _first(row: Row) -> float:
    assert row.values
    return row.values[0]


def _objective_axis(result: Outcome, values: list[float]) -> tuple[str, str, str]:
    return visible(result.objectives[0]), f"{min(values):.4g}", f"{max(values):.4g}"


def _ends(kind: Number | Choice) -> tuple[str, str]:
    if isinstance(kind, Choice):
        return _short(kind.labels[0]), _short(kind.labels[-1])
    low, high = kind.ends
    return f"{low:.4g}", f"{high:.4g}"


def _place(kind: Number | Choice, value: Any) -> float:
    if isinstance(kind, Choice):
        return kind.labels.index(value) / (len(kind.labels) - 1)
    return position(kind, value)


def _label_axes(axes: Any, medium: Medium, labels: list[tuple[str, str, str]]) -> None:
    """Draws an upright axis for each parameter with its two ends."""
    for at, (name, low, high) in enumerate(labels):
        axes.axvline(at, color=medium.rule, linewidth=1)
        for y, text, side in ((-0.04, low, "top"), (1.04, high, "bottom")):
            axes.annotate(text, (at, y), ha="center", va=side, fontsize=7.5, color=medium.muted, annotation_clip=False)
        axes.annotate(name, (at, 1.16 + 0.12 * (at % 2)), ha="center", va="bottom", fontsize=8, annotation_clip=False)
    axes.set_ylim(-0.15, 1.4)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.axis("off")
