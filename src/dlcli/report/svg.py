"""A matplotlib figure -> SVG that stands inside a page and takes the page's colours and letters."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from dlcli.score.plots import PLAIN, plain_ticks, without_warnings

# Colours that stand for a role; the page says what each is in the light and in the dark.
INK, MUTED, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0a0b{number:02x}" for number in range(8))
_ROLES = {INK: "currentColor", MUTED: "var(--muted)", RULE: "var(--rule)", PAPER: "var(--paper)"}
_ROLES |= {colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)}
_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
STYLE: dict[str, Any] = {
    **PLAIN,
    "svg.fonttype": "none",  # text stays text: it is read aloud, found and small
    "svg.hashsalt": "dlcli",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
}


@dataclass(frozen=True)
class Chart:
    """A drawn chart: the SVG text, its title, and in words what it shows."""

    svg: str
    title: str
    text: str


def drawing() -> Any:
    """Returns the context in which figures for the page are made."""
    return rc_context(STYLE)


def inline(figure: Figure, key: str) -> str:
    """Returns a figure as SVG for inside a page: the same bytes for the same figure.

    Args:
        figure: made in the context of `drawing`.
        key: begins every id inside it; no two charts of a page may share one.
    """
    plain_ticks(figure)
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    buffer = io.StringIO()
    with without_warnings():  # the browser has the letters that matplotlib's font lacks
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _for_a_page(ElementTree.fromstring(buffer.getvalue()), key)


def _for_a_page(root: ElementTree.Element, key: str) -> str:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    referred = {name for node in root.iter() for value in node.attrib.values() for name in re.findall(r"#([\w-]+)", value)}
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
        node.tail = None
        if node.tag != "text" and not (node.text or "").strip():
            node.text = None
        node.attrib = {
            name.rpartition("}")[2]: _value(name, value, key)
            for name, value in node.attrib.items()
            if name != "id" or value in referred
        }
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("aria-hidden", "true")  # the figure around it says in words what it shows
    root.set("class", "chart")
    return ElementTree.tostring(root, encoding="unicode")


def _value(name: str, value: str, key: str) -> str:
    """Returns an attribute's value with the page's colours, short numbers, and ids of this chart alone."""
    if name == "id":
        return f"{key}-{value}"
    if name == _HREF or "url(#" in value:
        value = re.sub(r"#(?=[\w-]+)", f"#{key}-", value)
    if name in ("d", "points", "x", "y", "transform", "width", "height"):
        return re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"\s+", " ", value)).strip()
    if name == "style":
        value = re.sub(r"font-family: [^;]+; ?", "", value)  # the page's own
        for colour, role in _ROLES.items():
            value = value.replace(colour, role)
    return value
