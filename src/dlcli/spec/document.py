"""YAML text -> plain data with the place of every key, by YAML 1.2's core rules.

PyYAML follows YAML 1.1, where `1e-3` is a string and `no` and `on` are booleans; the resolvers here mend that.
Tags, anchors and aliases are refused: a spec is plain data, and a file says what it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import yaml

from dlcli.errors import Fault, SpecError

Path = tuple[str | int, ...]
MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_VALUES = 20_000
"""Keys and values of one file; more would take longer than a few seconds to check."""
MAX_NUMBER = 2**31
"""Whole numbers are smaller: Keras and TensorFlow keep sizes and counts in 32 bits."""
MAX_FAULTS = 100
"""Faults that are reported of a file: further ones of a file with thousands are seldom read, and take minutes to word."""
MAX_SHOWN = 200
"""Characters of a line that a fault quotes."""
_VARIABLE = re.compile(r"\$\{\w*\}")


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
        option = self._option_at(path)
        if option:
            return Fault(option, 0, 0, key, message)
        place = path
        while place not in self.marks and place:
            place = place[:-1]
        line, column = self.marks.get(place, (1, 1))
        # What the file as a whole lacks has no line.
        return Fault(self.file, line, column, key, message, _line(self.text, line) if place else "")

    def _option_at(self, path: Path) -> str | None:
        """Returns the option that set `path` or something above it, or, where the file lacks `path`, something in it."""
        above = [option for place, option in self.options.items() if path[: len(place)] == place]
        inside = [option for place, option in self.options.items() if place[: len(path)] == path and path not in self.marks]
        choice = above or inside
        return choice[-1] if choice else None


def _line(text: str, number: int) -> str:
    """Returns a line by its number from 1."""
    lines = _lines(text)
    text = lines[number - 1] if number <= len(lines) else ""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


@lru_cache(maxsize=1)
def _lines(text: str) -> list[str]:
    """Returns the lines as YAML counts them: `splitlines` would also split at form feeds."""
    return re.split("\r\n|[\r\n\x85\u2028\u2029]", text)


def dotted(path: Path) -> str:
    """Returns a path as the user writes it: `model.layers.2.units`."""
    return ".".join(map(str, path))


def parse(text: str, file: str) -> Document:
    """Returns the parsed text.

    Raises:
        SpecError: it is no YAML, no mapping, or uses tags, anchors, aliases or a key twice.
    """
    document = Document(file, text, None)
    node = _composed(document)
    if not isinstance(node, yaml.MappingNode):
        kind = "nothing" if node is None else "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        raise SpecError([Fault(file, 1, 1, "", f"expected a mapping with `name`, `task`, `data`, `model`, found {kind}")])
    faults: list[Fault] = []
    data = _plain(node, (), document, faults)
    if faults:
        raise SpecError(faults)
    return Document(file, text, data, document.marks)


def parse_value(text: str) -> Any:
    """Returns the plain value of one YAML expression, such as that of `--set`.

    Raises:
        SpecError: it is no YAML, or uses tags, anchors, aliases or a key twice.
    """
    document, faults = Document("", text, None), list[Fault]()
    node = _composed(document)
    value = None if node is None else _plain(node, (), document, faults)
    if faults:
        raise SpecError(faults)
    return value


def list_items(text: str) -> list[str]:
    """Returns the items of a YAML flow list without its brackets, each as it is written: `8,[1, 2]` has two.

    A text without a comma is one item. `${NAME}` needs no quotes here, though YAML requires them inside a list.

    Raises:
        SpecError: the text is not a list, or an item is empty.
    """
    if "," not in text:
        return [text.strip()]
    document = Document("", f"[{_VARIABLE.sub(lambda name: '_' * len(name[0]), text)}]", None)
    node = _composed(document)
    if node.end_mark.index != len(document.text) or text.rstrip().endswith(","):
        raise SpecError([Fault("", 1, 1, "", "not YAML: the list ends early, or with a comma")])
    return [text[item.start_mark.index - 1 : item.end_mark.index - 1].strip() for item in node.value]


def _composed(document: Document) -> Any:
    """Returns the document's nodes, or None where it is empty."""
    try:
        _refuse_depth_and_aliases(document)
        return yaml.compose(document.text, Loader=_CoreLoader)
    except yaml.YAMLError as error:
        raise SpecError([_syntax_fault(document, error)]) from None
    except UnicodeEncodeError:  # a word of the command line that was not UTF-8
        raise SpecError([Fault(document.file, 1, 1, "", "not text in UTF-8")]) from None


def _refuse_depth_and_aliases(document: Document) -> None:
    """Raises SpecError for what could make a small text large, before it is put together."""
    depth = 0
    for number, event in enumerate(yaml.parse(document.text, Loader=_CoreLoader)):
        message = f"more than {MAX_VALUES:,} keys and values: not a spec" if number > MAX_VALUES else ""
        depth += isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent))
        depth -= isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent))
        if depth > MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} levels deep"
        elif getattr(event, "anchor", None):
            message = "anchors and aliases are not supported: write the value out"
        elif tag := getattr(event, "tag", None):
            message = f"tags such as `{tag}` are not supported: a spec is plain data"
        if message:
            raise SpecError([_fault_at(document, event.start_mark, message)])


def _fault_at(document: Document, mark: Any, message: str, key: str = "") -> Fault:
    return Fault(document.file, mark.line + 1, mark.column + 1, key, message, _line(document.text, mark.line + 1))


_PROBLEMS = {
    "tab character": "the indentation has a tab; YAML needs spaces",
    "mapping values are not allowed": (
        "an unexpected `:`; check the indentation of this line and the one before, and quote text that contains a colon"
    ),
    "expected ',' or ']'": "this `[` is not closed, or a comma is missing after it",
    "expected ',' or '}'": "this `{` is not closed, or a comma is missing after it",
    "did not find expected key": "wrong indentation: check this line and the one before",
    "expected <block end>": "wrong indentation: check this line and the one before",
    "expected '-' indicator": "a key after a list: check the indentation of this line and the one before",
    "unexpected end of stream": "this quote is not closed",
    "another document": "a second document begins here; a file must contain one spec",
    "cannot start any token": "text that begins with a character that YAML reserves (such as @, %, ` or a tab): put quotes"
    " around it",
}
"""libyaml's problems, by a substring of their text, with a message that names the remedy."""


def _syntax_fault(document: Document, error: yaml.YAMLError) -> Fault:
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    if isinstance(error, yaml.reader.ReaderError):
        before = document.text.encode()[: error.position].decode(errors="ignore")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return Fault(document.file, line, column, "", f"not YAML: {problem}")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return Fault(document.file, 1, 1, "", f"not YAML: {problem}")
    text = _line(document.text, mark.line + 1)
    if "\t" in text[: len(text) - len(text.lstrip())]:
        problem = "tab character"
    if "expected ','" in problem or "end of stream" in problem:
        mark = error.context_mark  # type: ignore[attr-defined]  # where it was opened
    words = next((words for part, words in _PROBLEMS.items() if part in problem), problem)
    return _fault_at(document, mark, f"not YAML: {words}")


def _plain(node: Any, path: Path, document: Document, faults: list[Fault]) -> Any:
    document.marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(node, path, document, faults)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), document, faults) for index, item in enumerate(node.value)]
    try:
        value = _scalar(node)
    except ValueError:  # Python refuses whole numbers of thousands of digits
        value = MAX_NUMBER
    if isinstance(value, int) and abs(value) >= MAX_NUMBER:
        faults.append(_fault_at(document, node.start_mark, "a number of too many digits", dotted(path)))
        return None
    return value


def _plain_mapping(node: Any, path: Path, document: Document, faults: list[Fault]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        mark = key_node.start_mark
        if not isinstance(key_node, yaml.ScalarNode):
            faults.append(_fault_at(document, mark, "a key must be a word", dotted(path)))
            continue
        key = str(key_node.value)
        place = (*path, key)
        if key == "<<":
            message = "merge keys are not supported: write the values out"
            faults.append(_fault_at(document, mark, message, dotted(place)))
            continue
        if key in data:
            first = document.marks[place][0]
            faults.append(_fault_at(document, mark, f"this key is repeated, first in line {first}", dotted(place)))
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
