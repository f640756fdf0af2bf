"""A page as a parser sees it: elements, attributes, texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "link", "img", "br", "input", "hr"}


@dataclass
class Element:
    """An element with its attributes, its children and the texts among them."""

    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text inside, in order of the elements."""
        return " ".join(" ".join([*self.texts, *(child.text for child in self.children)]).split())

    def all(self, tag: str = "", **attributes: str) -> list[Element]:
        """Returns every element inside, of a tag, whose attributes are these (`class_` holds among others)."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        found = []
        for child in self.children:
            if tag in ("", child.tag) and all(_holds(child, name, value) for name, value in wanted.items()):
                found.append(child)
            found += child.all(tag, **attributes)
        return found

    def one(self, tag: str = "", **attributes: str) -> Element:
        """Returns the only element of its kind."""
        (found,) = self.all(tag, **attributes)
        return found

    def rows(self) -> list[list[str]]:
        """Returns a table's body as texts."""
        return [[cell.text for cell in row.children] for body in self.all("tbody") for row in body.all("tr")]


def _holds(element: Element, name: str, value: str) -> bool:
    found = element.attributes.get(name)
    return found is not None and (value in found.split() if name == "class" else found == value)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].texts.append(data)


def read_page(path: Path) -> Element:
    """Returns a page's root; every element must be closed, and in order."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == [reader.root]
    return reader.root
