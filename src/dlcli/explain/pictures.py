"""Pictures of explanations, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from dlcli.arrays import Array
from dlcli.charts.chart import BLUE, GREY, ORANGE, PLAIN, save_figure, short
from dlcli.explain.tables import Importance, Plane
from dlcli.visible import visible

_MOST_COLUMNS, _MOST_POINTS, _MOST_NAMED = 25, 2000, 20
_MOST_CHANNELS = 10
_PAIR = ("#dd6b20", "#2b6cb0")


@rc_context(PLAIN)
def draw_heat(pixels: Array, heat: Array, title: str, caption: str, path: Path) -> None:
    """Writes an image and, beside it, the same image under its heat map.

    Args:
        pixels: `(height, width, channels)`, 0 to 255.
        heat: float32 `(height, width)`, up to 1; negative where the region counts against the class.
        title: the line above.
        caption: the line below it.
        path: the PNG file.
    """
    figure = Figure(figsize=(7.4, 4.4), layout="constrained")
    figure.suptitle(f"{_title_end(title)}\n{short(caption, 90)}", fontsize=10)
    left, right = figure.subplots(1, 2)
    pixels = np.clip(np.rint(pixels), 0, 255).astype("uint8")
    picture_pixels: Any = pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3]
    grey = pixels[..., :3].mean(axis=2)
    left.imshow(picture_pixels, cmap="gray", vmin=0, vmax=255)
    right.imshow(grey, cmap="gray", vmin=0, vmax=255)
    signed = bool(heat.min() < 0)
    # A signed map is white at 0, an unsigned one is transparent there: the image shows through where the map is 0.
    colours = "coolwarm" if signed else "inferno"
    overlay = right.imshow(
        heat, cmap=colours, vmin=-1 if signed else 0, vmax=1, alpha=np.clip(np.abs(heat), 0.15, 0.75), interpolation="nearest"
    )
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    bar = figure.colorbar(overlay, ax=right, shrink=0.75)
    bar.set_label("supports the class" if not signed else "against the class          for the class", fontsize=8)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    save_figure(figure, path)


def _title_end(title: str, length: int = 70) -> str:
    """Returns a title on one line; of a long title only the end, where a file's name is."""
    title = visible(title)
    return title if len(title) <= length else f"…{title[1 - length :]}"


@rc_context(PLAIN)
def draw_importance(importances: Sequence[Importance], metric: str, value: float, path: Path) -> None:
    """Writes a bar chart of the columns' importances with their deviations; of many columns the 25 largest."""
    largest = list(importances[:_MOST_COLUMNS])[::-1]
    figure = Figure(figsize=(7, 1.4 + 0.27 * len(largest)), layout="constrained")
    axes = figure.subplots()
    axes.barh(
        range(len(largest)),
        [importance.mean for importance in largest],
        xerr=[importance.deviation for importance in largest],
        color=BLUE,
        ecolor=GREY,
        capsize=2,
    )
    axes.set_yticks(range(len(largest)), [short(importance.column, 32) for importance in largest], fontsize=8)
    axes.axvline(0, color=GREY, linewidth=1)
    more = f", the {len(largest)} largest of {len(importances)}" if len(largest) < len(importances) else ""
    axes.set_title(f"Decrease of {visible(metric)} {value:.4g} for each column{more}", loc="left", fontsize=11)
    axes.set_xlabel(f"decrease of {visible(metric)} when the column is shuffled")
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


@rc_context(PLAIN)
def draw_words(words: Sequence[tuple[str, float]], title: str, caption: str, label: str, path: Path) -> None:
    """Writes a bar for the effect of each word, from top to bottom: blue for the class, orange against it.

    Args:
        words: words with their effects.
        title: the line above.
        caption: the line below it.
        label: what the bars show.
        path: the PNG file.
    """
    figure = Figure(figsize=(7, 1.6 + 0.27 * max(1, len(words))), layout="constrained")
    axes = figure.subplots()
    figure.suptitle(f"{_title_end(title)}\n{short(caption, 90)}", fontsize=10)
    effects = [effect for _, effect in words][::-1]
    axes.barh(range(len(words)), effects, color=[BLUE if effect > 0 else ORANGE for effect in effects])
    axes.set_yticks(range(len(words)), [short(word, 32) for word, _ in words][::-1], fontsize=8)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_xlabel(visible(label))
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


@rc_context(PLAIN)
def draw_steps(series: Array, effects: Array, title: str, caption: str, label: str, path: Path) -> None:
    """Writes the channels of a series, and below them a bar for the effect of each step: blue for the class, orange against it.

    Args:
        series: the values `(steps, channels)`; of many channels the first ones are drawn.
        effects: the effect of each step `(steps,)`.
        title: the line above.
        caption: the line below it.
        label: what the bars show.
        path: the PNG file.
    """
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    figure.suptitle(f"{_title_end(title)}\n{short(caption, 90)}", fontsize=10)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for channel in range(min(series.shape[1], _MOST_CHANNELS)):
        above.plot(series[:, channel], linewidth=1, label=str(channel))
    if series.shape[1] > 1:
        above.legend(title="channel", fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    below.bar(range(len(effects)), effects, width=1.0, color=[BLUE if effect > 0 else ORANGE for effect in effects])
    below.axhline(0, color=GREY, linewidth=1)
    below.set_xlabel("step")
    below.set_title(short(label, 60), loc="left", fontsize=8)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


@rc_context(PLAIN)
def draw_regions(
    plane: Plane, predicted: Array, probabilities: Array, labels: Array, names: tuple[str, ...], path: Path
) -> None:
    """Writes the regions of the predicted classes, paler where the model is less confident, with the labelled points.

    Args:
        plane: the grid and the examples.
        predicted: the predicted class at every point of the grid `(points,)`.
        probabilities: the probability of that class, in [0, 1].
        labels: the examples' classes `(n,)`.
        names: the classes' names.
        path: the PNG file.
    """
    colours = class_colours(len(names))
    low = 1 / max(len(names), 2)
    strength = plane.shaped(np.clip((probabilities - low) / (1 - low), 0, 1))
    figure, axes = _empty_plot(plane)
    regions = ListedColormap(colours)
    limits = {"vmin": -0.5, "vmax": len(names) - 0.5}
    axes.imshow(plane.shaped(predicted), cmap=regions, alpha=0.25 + 0.45 * strength, **limits, **_image_position(plane))
    if len(names) == 2:
        second = plane.shaped(np.where(predicted == 1, probabilities, 1 - probabilities))
        if second.min() < 0.5 < second.max():
            axes.contour(plane.x, plane.y, second, levels=[0.5], colors="#1a202c", linewidths=1)
    dots = {"markersize": 4, "markeredgecolor": "white", "markeredgewidth": 0.5}
    for place, name in enumerate(names[:_MOST_NAMED]):
        members = plane.points[labels == place][:_MOST_POINTS]
        axes.plot(*members.T, "o", color=colours[place], label=short(name), **dots)
    axes.set_title("Predictions over both inputs", loc="left", fontsize=11)
    axes.legend(frameon=True, fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
    save_figure(figure, path)


def class_colours(count: int) -> list[Any]:
    """Returns a colour for each class: for two classes orange and blue, as in the playground."""
    if count == 2:
        return list(_PAIR)
    return [colormaps["tab10" if count <= 10 else "hsv"](place if count <= 10 else place / count) for place in range(count)]


@rc_context(PLAIN)
def draw_surface(plane: Plane, values: Array, truth: Array, title: str, path: Path) -> None:
    """Writes predicted values as colours, with the examples coloured by their actual values.

    Args:
        plane: the grid and the examples.
        values: the prediction at every point of the grid `(points,)`.
        truth: the examples' values `(n,)`.
        title: the line above.
        path: the PNG file.
    """
    low, high = float(min(values.min(), truth.min())), float(max(values.max(), truth.max()))
    figure, axes = _empty_plot(plane)
    scale: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high}
    picture = axes.imshow(plane.shaped(values), **scale, **_image_position(plane))
    selection = slice(None, _MOST_POINTS)
    axes.scatter(*plane.points[selection].T, c=truth[selection], s=18, edgecolors="white", linewidths=0.6, **scale)
    axes.set_title(short(title, 50), loc="left", fontsize=11)
    figure.colorbar(picture, ax=axes, shrink=0.85)
    save_figure(figure, path)


def _empty_plot(plane: Plane) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(short(plane.names[0], 40))
    axes.set_ylabel(short(plane.names[1], 40))
    return figure, axes


def _image_position(plane: Plane) -> dict[str, Any]:
    """Returns the options that place an image of the grid in the plane: each cell around its point."""
    x, y = plane.x, plane.y
    half_x, half_y = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    extent = (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y)
    return {"extent": extent, "origin": "lower", "aspect": "auto", "interpolation": "nearest"}


@rc_context(PLAIN)
def draw_filters(filters: Array, title: str, path: Path) -> None:
    """Writes filters as small pictures, up to 64, each scaled to its own range; three channels become colours.

    Args:
        filters: weights `(count, rows, columns, channels)`.
        title: the line above.
        path: the PNG file.
    """
    first_filters = filters[:64]
    columns = min(8, len(first_filters))
    lines = -(-len(first_filters) // columns)
    figure = Figure(figsize=(columns * 0.9 + 0.4, lines * 0.9 + 0.6), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, weights in zip(panels, first_filters, strict=False):
        _draw_filter(axes, weights)
    for axes in panels:
        axes.set_axis_off()
    save_figure(figure, path)


def _draw_filter(axes: Any, weights: Array) -> None:
    if weights.shape[2] == 3:
        low, high = weights.min(), weights.max()
        axes.imshow((weights - low) / (high - low) if high > low else np.full(weights.shape, 0.5), interpolation="nearest")
        return
    mean = weights.mean(axis=2)
    largest = float(np.abs(mean).max()) or 1.0
    axes.imshow(mean, cmap="coolwarm", vmin=-largest, vmax=largest, interpolation="nearest")
