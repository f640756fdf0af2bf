"""Charts of examples as points of a plane, coloured by group or by value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dlcli.arrays import Array
from dlcli.charts.chart import PNG, Chart, Medium, short
from dlcli.visible import listed

_SIZE = (6.2, 4.3)
_MOST_GROUPS = len(PNG.series)


@dataclass(frozen=True)
class Group:
    """Some of the points: their name, whether each point is one of them `(n,)`, and whether they belong to no cluster."""

    name: str
    members: Array
    is_noise: bool = False


def group_chart(title: str, points: Array, groups: Sequence[Group], axes: tuple[str, str]) -> Chart:
    """Returns points `(n, 2)` in the colours of their groups, of which no more than ten have one, the first in the list."""
    names = listed([group.name for group in groups])
    text = f"{len(points):,} examples in a plane, in {len(groups)} groups: {names}."
    return Chart(title, text, partial(_draw_groups, points=points, groups=groups, axes_names=axes), _SIZE)


def _draw_groups(axes: Any, medium: Medium, points: Array, groups: Sequence[Group], axes_names: tuple[str, str]) -> None:
    shown = np.zeros(len(points), dtype=bool)
    shown[_thinned(len(points), medium)] = True
    noise, clusters = [group for group in groups if group.is_noise], [group for group in groups if not group.is_noise]
    others = clusters[_MOST_GROUPS:]
    dots = {"linestyle": "", "markersize": 3.4, "markeredgewidth": 0, "alpha": 0.7}
    for group, colour in zip(clusters, medium.series, strict=False):
        axes.plot(*points[group.members & shown].T, marker="o", color=colour, label=short(group.name), zorder=3, **dots)
    if others:
        members = np.any([group.members for group in others], axis=0) & shown
        axes.plot(*points[members].T, marker="o", color=medium.muted, label=f"others ({len(others)})", **dots)
    for group in noise:
        style = dots | {"markeredgewidth": 0.7, "alpha": 0.9}
        axes.plot(*points[group.members & shown].T, marker="x", color=medium.muted, label=short(group.name), **style)
    _name_axes(axes, axes_names)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def value_chart(title: str, points: Array, values: Array, axes: tuple[str, str]) -> Chart:
    """Returns points `(n, 2)` in colours by their values `(n,)`."""
    text = f"{len(points):,} examples in a plane, in colours from {values.min():.4g} to {values.max():.4g}."
    return Chart(title, text, partial(_draw_values, points=points, values=values, axes_names=axes), _SIZE)


def _draw_values(axes: Any, medium: Medium, points: Array, values: Array, axes_names: tuple[str, str]) -> None:
    places = _thinned(len(points), medium)
    cloud = axes.scatter(*points[places].T, c=values[places], s=10, linewidths=0, alpha=0.8, cmap="viridis")
    _name_axes(axes, axes_names)
    axes.figure.colorbar(cloud, ax=axes, shrink=0.85)


def _name_axes(axes: Any, names: tuple[str, str]) -> None:
    axes.set(xlabel=short(names[0], 50), ylabel=short(names[1], 50))


def _thinned(count: int, medium: Medium) -> Array:
    """Returns the places of the points that are drawn."""
    return np.unique(np.linspace(0, count - 1, min(count, medium.cloud_points)).astype(int))
