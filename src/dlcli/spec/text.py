"""YAML text -> plain data with the place of every key, by YAML 1.2's core rules.

PyYAML follows YAML 1.1, where `1e-3` is a string and `no` and `on` are booleans; the resolvers here mend that.
Tags, anchors and aliases are refused: a spec is plain data, and a file says what it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from dlcli.errors import Fault, SpecError

Path = tuple[str | int, ...]
MAX_BYTES = 1_000_000
MAX_DEPTH = 40


class _CoreLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with YAML 1.2's scalars."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


@dataclass(frozen=True)
class Document:
    """A parsed file: its data, and the line and column (from 1) of every key and list item."""

    file: str
    text: str
    data: Any
    marks: dict[Path, tuple[int, int]] = field(default_factory=dict)
    options: dict[Path, str] = field(default_factory=dict)

    def fault(self, path: Path, message: str) -> Fault:
        """Returns a fault at `path`, or at the nearest place above it that the file has."""
        key = dotted(path)
        for length in range(len(path), -1, -1):
            if path[:length] in self.options:
                return Fault(self.options[path[:length]], 0, 0, key, message)
        place = path
        while place not in self.marks and place:
            place = place[:-1]
        line, column = self.marks.get(place, (1, 1))
        lines = self.text.splitlines()
        return Fault(self.file, line, column, key, message, lines[line - 1] if line <= len(lines) else "")


def dotted(path: Path) -> str:
    """Returns a path as the user writes it: `model.layers.2.units`."""
    return ".".join(map(str, path))


def parse(text: str, file: str) -> Document:
    """Returns the parsed text.

    Raises:
        SpecError: it is too large, no YAML, no mapping, or uses tags, anchors, aliases or a key twice.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise SpecError([Fault(file, 1, 1, "", f"larger than {MAX_BYTES:,} bytes: not a spec")])
    document = Document(file, text, None)
    try:
        _refuse_depth_and_aliases(document)
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.YAMLError as error:
        raise SpecError([_syntax_fault(document, error)]) from None
    if not isinstance(node, yaml.MappingNode):
        found = "nothing" if node is None else "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        raise SpecError([Fault(file, 1, 1, "", f"expected a mapping with `name`, `task`, `data`, `model`, found {found}")])
    faults: list[Fault] = []
    data = _plain(node, (), document, faults)
    if faults:
        raise SpecError(faults)
    return Document(file, text, data, document.marks)


def parse_value(text: str) -> Any:
    """Returns the plain value of one YAML expression, such as that of `--set`."""
    return _plain(yaml.compose(text, Loader=_CoreLoader), (), Document("", text, None), [])


def _refuse_depth_and_aliases(document: Document) -> None:
    """Raises SpecError for what could make a small text large, before it is put together."""
    depth = 0
    for event in yaml.parse(document.text, Loader=_CoreLoader):
        message = ""
        depth += isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent))
        depth -= isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent))
        if depth > MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} levels deep"
        elif getattr(event, "anchor", None):
            message = "anchors and aliases are not offered: write the value out, so that each file says what it is"
        elif tag := getattr(event, "tag", None):
            message = f"tags such as `{tag}` are not offered: a spec is plain data"
        if message:
            raise SpecError([_fault_at(document, event.start_mark, message)])


def _fault_at(document: Document, mark: Any, message: str, key: str = "") -> Fault:
    lines = document.text.splitlines()
    text = lines[mark.line] if mark.line < len(lines) else ""
    return Fault(document.file, mark.line + 1, mark.column + 1, key, message, text)


def _syntax_fault(document: Document, error: yaml.YAMLError) -> Fault:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    if mark is None:
        return Fault(document.file, 1, 1, "", f"not YAML: {problem}")
    fault = _fault_at(document, mark, "")
    indent = fault.text[: len(fault.text) - len(fault.text.lstrip())]
    if "\t" in indent:
        problem = "a tab in the indent; YAML wants spaces"
    elif "mapping values are not allowed" in problem:
        problem = (
            "a `:` where none may stand: check the indent of this line and the one before, and quote text that holds a colon"
        )
    elif "expected <block end>" in problem or "did not find expected" in problem:
        problem = f"{problem}: check the indent and the brackets of this line and the one before"
    return _fault_at(document, mark, f"not YAML: {problem}")


def _plain(node: Any, path: Path, document: Document, faults: list[Fault]) -> Any:
    document.marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(node, path, document, faults)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), document, faults) for index, item in enumerate(node.value)]
    return _scalar(node)


def _plain_mapping(node: Any, path: Path, document: Document, faults: list[Fault]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        mark = key_node.start_mark
        if not isinstance(key_node, yaml.ScalarNode):
            faults.append(_fault_at(document, mark, "a key must be a word", dotted(path)))
            continue
        key = str(key_node.value)
        place = (*path, key)
        if key in data:
            first = document.marks[place][0]
            faults.append(
                _fault_at(document, mark, f"this key stands twice in one mapping, first in line {first}", dotted(place))
            )
            continue
        document.marks[place] = (mark.line + 1, mark.column + 1)
        data[key] = _plain(value_node, place, document, faults)
    return data


def _scalar(node: Any) -> Any:
    kind, value = node.tag.rsplit(":", 1)[-1], node.value
    if kind == "bool":
        return value.lower() == "true"
    if kind == "null":
        return None
    if kind == "int":
        return int(value, 0) if value[:2] in ("0o", "0x") else int(value)
    if kind == "float":
        return float(value.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan").lower())
    return value
