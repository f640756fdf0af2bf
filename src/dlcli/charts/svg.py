"""SVG as matplotlib writes it -> an element for a page, with the page's colours and fonts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"


def as_element(text: str, key: str, roles: Mapping[str, str]) -> str:
    """Returns an SVG element for a page: it has no style, and the page sets its size.

    Args:
        text: an SVG file of matplotlib's.
        key: the prefix of every id inside it.
        roles: the page's CSS value for each colour.
    """
    root = ElementTree.fromstring(text)
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
            name.rpartition("}")[2]: _value(name, value, key, roles)
            for name, value in node.attrib.items()
            if name != "id" or value in referred
        }
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("aria-hidden", "true")  # the figure around it has a description
    root.set("class", "chart")
    return ElementTree.tostring(root, encoding="unicode")


def _value(name: str, value: str, key: str, roles: Mapping[str, str]) -> str:
    """Returns an attribute's value with the page's colours, short numbers, and ids with this chart's prefix."""
    if name == "id":
        return f"{key}-{value}"
    if name == _HREF or "url(#" in value:
        value = re.sub(r"#(?=[\w-]+)", f"#{key}-", value)
    if name in ("d", "points", "x", "y", "transform", "width", "height"):
        return re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"\s+", " ", value)).strip()
    if name == "style":
        value = re.sub(r"font-family: [^;]+; ?", "", value)  # the page has its own font
        for colour, role in roles.items():
            value = value.replace(colour, role)
    return value
