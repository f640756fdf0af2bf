"""Charts: each is described once and drawn on demand, as a PNG file or as SVG inside a page."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from dlcli.charts.svg import as_element
from dlcli.runs.files import replacing
from dlcli.visible import visible

BLUE, ORANGE, GREY = "#2b6cb0", "#dd6b20", "#718096"
WIDE, SQUARE = (4.7, 2.9), (4.7, 3.7)
PLAIN = {"text.parse_math": False}  # `$` in a name starts no formula
_COLUMNS, _MOST_PANELS = 3, 99
_DPI = 150


@dataclass(frozen=True)
class Medium:
    """The medium of a chart: its colours, and the most points of a curve or a scatter plot.

    Attributes:
        ink: colour of titles and of important lines.
        muted: colour of axes, labels and reference lines.
        rule: colour of the grid.
        series: a colour for each series.
        roles: the page's CSS value for each colour; empty where the colours are final.
        curve_points: the most points of one curve.
        cloud_points: the most points of one scatter plot.
    """

    ink: str
    muted: str
    rule: str
    series: tuple[str, ...]
    roles: dict[str, str]
    curve_points: int
    cloud_points: int


PNG = Medium(
    ink="#1a202c",
    muted=GREY,
    rule="#e2e8f0",
    series=(BLUE, ORANGE, "#2a7f52", "#8347a5", "#94700a", "#b8336a", "#1d7f8c", "#66707c", "#a32424", "#7c5a3c"),
    roles={},
    curve_points=500,
    cloud_points=5000,
)
_SERIES = tuple(f"#0a0b{number:02x}" for number in range(len(PNG.series)))
PAGE = Medium(  # placeholder colours: the page replaces each by its own, in the light and in the dark theme
    ink="#010101",
    muted="#020202",
    rule="#030303",
    series=_SERIES,
    roles={"#010101": "currentColor", "#020202": "var(--muted)", "#030303": "var(--rule)"}
    | {colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES, 1)},
    curve_points=120,
    cloud_points=700,
)


@dataclass(frozen=True)
class InlineChart:
    """A drawn chart for a page: its SVG, its title, and a description."""

    svg: str
    title: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart that is not drawn yet.

    Attributes:
        title: the text above it.
        text: a description for readers who cannot see the chart.
        draw: a function that draws it on axes, in the colours of a medium.
        size: width and height in inches.
    """

    title: str
    text: str
    draw: Callable[[Any, Medium], None]
    size: tuple[float, float] = WIDE

    def save(self, path: Path) -> None:
        """Draws the chart into a PNG file, which it replaces."""
        save_charts([self], path)

    def inline(self, key: str) -> InlineChart:
        """Draws the chart as inline SVG for a page; equal charts give equal bytes.

        Args:
            key: the prefix of every id inside it; no two charts of a page may share one.
        """
        with rc_context(_style(PAGE)):
            figure = Figure(figsize=self.size, layout="constrained")
            self.draw_on(figure.subplots(), PAGE)
            plain_ticks(figure)
            figure.patch.set_visible(False)
            for axes in figure.axes:
                axes.patch.set_visible(False)
            FigureCanvasSVG(figure)
            buffer = io.StringIO()
            with without_warnings():  # the browser has the glyphs that matplotlib's font lacks
                _lay_out(figure)
                figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        return InlineChart(as_element(buffer.getvalue(), key, PAGE.roles), self.title, self.text)

    def draw_on(self, axes: Any, medium: Medium) -> None:
        """Draws the chart with its title."""
        self.draw(axes, medium)
        axes.set_title(visible(self.title))


def inlined(charts: Sequence[Chart], key: str) -> list[InlineChart]:
    """Returns charts for a page; `key` is the prefix of all their ids."""
    return [chart.inline(f"{key}{number}") for number, chart in enumerate(charts)]


def save_charts(charts: Sequence[Chart], path: Path, heading: str = "") -> None:
    """Draws charts of equal size into a PNG file, which it replaces: three in a row, at most 99."""
    panels = charts[:_MOST_PANELS]
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width, height = panels[0].size
    if len(panels) < len(charts):
        heading = f"{heading} (the first {len(panels)} of {len(charts)} charts)".strip()
    with rc_context(_style(PNG)):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        if heading:
            figure.suptitle(visible(heading), fontsize=10, color=PNG.muted)
        places = list(figure.subplots(rows, columns, squeeze=False).flat)
        for chart, axes in zip(panels, places, strict=False):
            chart.draw_on(axes, PNG)
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        save_figure(figure, path, dpi=_DPI)


def save_figure(figure: Figure, path: Path, dpi: int = 130) -> None:
    """Writes a figure into a PNG file, which it replaces."""
    plain_ticks(figure)
    FigureCanvasAgg(figure)
    with replacing(path) as temporary, without_warnings():
        _lay_out(figure)
        figure.savefig(temporary, dpi=dpi, facecolor="white")


def _lay_out(figure: Figure) -> None:
    """Computes the figure's layout. Left to itself, matplotlib draws a figure twice for it, once without output."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Suppresses two warnings of matplotlib: about a glyph that no font has, which is drawn as a box (the tables beside the
    picture have the name), and about a legend whose best place is slow to find, as on a busy machine."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+|Creating legend", UserWarning)
        yield


def plain_ticks(figure: Figure) -> None:
    """Labels logarithmic axes with plain numbers: matplotlib's labels are formulas, which `PLAIN` shows as source text."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                low, high = sorted(axis.get_view_interval())
                one_decade = low > 0 and high / low < 20
                axis.set_major_formatter(lambda value, _: f"{value:.3g}")
                axis.set_minor_formatter((lambda value, _: f"{value:.3g}") if one_decade else NullFormatter())


def short(name: str, length: int = 22) -> str:
    """Returns a name for an axis or a legend: on one line, truncated where it is long."""
    name = visible(name)
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _style(medium: Medium) -> dict[str, Any]:
    return {
        **PLAIN,
        "svg.fonttype": "none",  # text stays text: screen readers and searches see it, and the file is small
        "svg.hashsalt": "dlcli",
        "font.size": 9,
        "text.color": medium.ink,
        "axes.edgecolor": medium.muted,
        "axes.labelcolor": medium.muted,
        "axes.titlecolor": medium.ink,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.titlesize": 10,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": medium.rule,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "xtick.color": medium.muted,
        "ytick.color": medium.muted,
        "xtick.major.size": 2,
        "ytick.major.size": 2,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "legend.labelcolor": medium.ink,
        "lines.linewidth": 1.6,
    }
