"""One value of a spec's text changed, its comments and everything else left as they are.

Only the characters of the value are replaced. A round trip through ruamel.yaml 0.19 keeps the shipped specs, but writes other
indents, line ends, `+3` and flow mappings over several lines anew, and loses the comments inside the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from dlcli.spec.document import Path


def with_value(text: str, path: Path, value: str) -> str:
    """Returns a YAML text with the value at a path replaced, or added where the path ends in a key that is not there.

    A bare kind in the way becomes a mapping: `optimizer: adam` becomes `optimizer: {kind: adam, learning_rate: 1e-2}`.

    Args:
        text: a spec that was checked.
        path: keys and list positions.
        value: YAML in flow style, in one line.
    """
    node: Any = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    for depth, part in enumerate(path):
        child = _child(node, part)
        if child is None and isinstance(node, yaml.MappingNode):
            return _added(text, node, path[depth], _nested(path[depth + 1 :], value))
        if child is None:
            kind = text[node.start_mark.index : node.end_mark.index]
            return _put(text, node, f"{{kind: {kind}, {part}: {_nested(path[depth + 1 :], value)}}}")
        node = child
    return _put(text, node, value)


def _child(node: Any, part: str | int) -> Any:
    """Returns the node of a key or of a list's position; None where there is none."""
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return node.value[part]
    return None


def _nested(path: Sequence[str | int], value: str) -> str:
    return value if not path else f"{{{path[0]}: {_nested(path[1:], value)}}}"


def _put(text: str, node: Any, value: str) -> str:
    begin, end = node.start_mark.index, node.end_mark.index
    whole, before = text[begin:end], text[:begin]
    if before.rstrip().endswith(":"):  # a value on separate lines below its key
        before = f"{before.rstrip()} "
    return before + value + whole[len(whole.rstrip()) :] + text[end:]


def _added(text: str, node: Any, key: str | int, value: str) -> str:
    """Returns the text with a key put before the first one of its mapping, on a separate line in block style."""
    if not node.value:
        return _put(text, node, f"{{{key}: {value}}}")
    first = node.value[0][0].start_mark
    between = ", " if node.flow_style else "\n" + " " * first.column
    return f"{text[: first.index]}{key}: {value}{between}{text[first.index :]}"


def without_key(text: str, key: str) -> str:
    """Returns a YAML text in block style without one key of its top level; comments that follow it stay."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    keys = [name for name, _ in node.value]
    at = next((index for index, name in enumerate(keys) if name.value == key), None)
    if at is None:
        return text
    if node.flow_style:
        items = [text[name.start_mark.index : value.end_mark.index] for name, value in node.value if name.value != key]
        return f"{text[: node.start_mark.index]}{{{', '.join(items)}}}{text[node.end_mark.index :]}"
    begin = keys[at].start_mark.index
    end = keys[at + 1].start_mark.index if at + 1 < len(keys) else len(text)
    lines = text[begin:end].splitlines(keepends=True)
    last = len(lines)
    while last > 1 and (not lines[last - 1].strip() or lines[last - 1].startswith("#")):
        last -= 1
    return text[:begin] + "".join(lines[last:]) + text[end:]
