"""The space of a sweep: what `{log: [1e-5, 1e-2]}` and its like mean, and how one point of the space is drawn.

A parameter's value is a tree: numbers, choices and counts may stand anywhere in it, so that what belongs to one choice
alone (the momentum of SGD) is drawn where that choice is. Names of what is drawn are paths: `training.optimizer`, and
`training.optimizer[sgd].momentum` inside a choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dlcli.spec.document import Path, dotted


@dataclass(frozen=True)
class Number:
    """A number between two bounds, both in reach; `log`: drawn evenly by its magnitude."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def count(self) -> int | None:
        """How many values it has, where there is a step; they may be too many for a list."""
        if self.step is None:
            return None
        reach = self.high - self.low
        return int(reach // self.step if self.whole else reach / self.step + 1e-9) + 1

    def value(self, index: int) -> float:
        """Returns one of its values, counted from 0, where there is a step."""
        assert self.step is not None
        return self.low + index * self.step

    @property
    def ends(self) -> list[float]:
        """The lowest and the highest value that can be drawn."""
        return [self.low, self.high if self.count is None else self.value(self.count - 1)]


@dataclass(frozen=True)
class Choice:
    """One of several trees, each with a label: its kind, or the value as JSON."""

    labels: tuple[str, ...]
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Repeat:
    """A list of so many entries, each drawn by itself."""

    count: Number
    item: Any


@dataclass(frozen=True)
class Parameter:
    """A field to be searched: its path, its tree, the labels that other parameters must have, its place in the file."""

    path: Path
    tree: Any
    when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    place: Path = ()

    @property
    def name(self) -> str:
        """The path as it is written."""
        return dotted(self.path)


class Source(Protocol):
    """What decides a point of the space."""

    def number(self, name: str, number: Number) -> float:
        """Returns a number."""

    def label(self, name: str, labels: Sequence[str]) -> str:
        """Returns one of the labels."""


def drawn(space: Sequence[Parameter], source: Source) -> dict[Path, Any]:
    """Returns the value of every parameter whose conditions hold, in plain data, a `Spliced` where entries take the place of
    one entry of a list."""
    chosen: dict[str, str] = {}
    values: dict[Path, Any] = {}
    noting = _Noting(source, chosen)
    for parameter in space:
        if all(chosen.get(name) in labels for name, labels in parameter.when):
            value = _value(parameter.tree, parameter.name, noting)
            inside_a_list = isinstance(parameter.tree, Repeat) and isinstance(parameter.path[-1], int)
            values[parameter.path] = Spliced(value) if inside_a_list else value
    return values


@dataclass(frozen=True)
class Spliced:
    """Entries that take the place of one."""

    entries: list[Any]


class _Noting:
    """Records drawn labels, so that conditions can be checked."""

    def __init__(self, source: Source, chosen: dict[str, str]) -> None:
        self._source, self._chosen = source, chosen

    def number(self, name: str, number: Number) -> float:
        value = self._source.number(name, number)
        value = int(value) if number.whole else float(value)
        self._chosen[name] = str(value)
        return value

    def label(self, name: str, labels: Sequence[str]) -> str:
        self._chosen[name] = self._source.label(name, labels)
        return self._chosen[name]


def _value(tree: Any, name: str, source: Source) -> Any:
    if isinstance(tree, Number):
        return source.number(name, tree)
    if isinstance(tree, Choice):
        label = source.label(name, tree.labels)
        return _value(tree.values[tree.labels.index(label)], inside(tree, name, label), source)
    if isinstance(tree, Repeat):
        count = int(source.number(f"{name}.count", tree.count))
        return [_value(tree.item, f"{name}.{index}", source) for index in range(count)]
    if isinstance(tree, dict):
        return {key: _value(part, f"{name}.{key}", source) for key, part in tree.items()}
    if isinstance(tree, list):
        entries: list[Any] = []
        for index, part in enumerate(tree):
            value = _value(part, f"{name}.{index}", source)
            entries += value if isinstance(part, Repeat) else [value]
        return entries
    return tree


def inside(choice: Choice, name: str, label: str) -> str:
    """Returns the prefix of the names inside a choice."""
    return f"{name}[{label if label.isidentifier() else choice.labels.index(label)}]"


def names_of(space: Sequence[Parameter]) -> Iterator[tuple[str, Number | Choice]]:
    """Yields every name that may be drawn, with what it is drawn from."""
    for parameter in space:
        yield from _names(parameter.tree, parameter.name)


def _names(tree: Any, name: str) -> Iterator[tuple[str, Number | Choice]]:
    if isinstance(tree, Number):
        yield name, tree
    elif isinstance(tree, Choice):
        yield name, tree
        for label, value in zip(tree.labels, tree.values, strict=True):
            yield from _names(value, inside(tree, name, label))
    elif isinstance(tree, Repeat):
        yield f"{name}.count", tree.count
        for index in range(int(tree.count.high)):
            yield from _names(tree.item, f"{name}.{index}")
    elif isinstance(tree, (dict, list)):
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _names(part, f"{name}.{key}")


def combinations(space: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
    """Yields every point of a space whose numbers have steps, as name -> number or label."""
    turns: list[list[int]] = []
    while True:
        source = _Turning([index for index, _ in turns])
        drawn(space, source)
        yield source.point
        turns = source.turns
        while turns and turns[-1][0] + 1 == turns[-1][1]:
            turns.pop()
        if not turns:
            return
        turns[-1][0] += 1


class _Turning:
    """Draws the options of the given indices, then the first ones, and records the number of options."""

    def __init__(self, turn_indices: Sequence[int]) -> None:
        self._turn_indices = turn_indices
        self.turns: list[list[int]] = []
        self.point: dict[str, Any] = {}

    def number(self, name: str, number: Number) -> float:
        assert number.count is not None
        self.point[name] = number.value(self._turn(number.count))
        return float(self.point[name])

    def label(self, name: str, labels: Sequence[str]) -> str:
        self.point[name] = labels[self._turn(len(labels))]
        return str(self.point[name])

    def _turn(self, count: int) -> int:
        """Returns the index of the option to draw, of `count` options."""
        at = len(self.turns)
        index = self._turn_indices[at] if at < len(self._turn_indices) else 0
        self.turns.append([index, count])
        return index


def changed(data: Any, values: Mapping[Path, Any]) -> dict[str, Any]:
    """Returns what `--set` must say to put drawn values into a spec's data: path -> value, in order.

    Outer fields come before what is inside them. Where entries take the place of one of a list, the whole list is returned.
    """
    order = sorted(values, key=len)
    spliced = {path[:-1] for path in order if isinstance(values[path], Spliced)}
    overrides: dict[str, Any] = {}
    for path in order:
        if not any(path[: len(parent)] == parent and len(path) > len(parent) for parent in spliced):
            overrides[dotted(path)] = values[path]
    for parent in sorted(spliced, key=len):
        own = {path[len(parent) :]: value for path, value in values.items() if path[: len(parent)] == parent and path != parent}
        overrides[dotted(parent)] = _spliced(values.get(parent, at(data, parent)), own)
    return overrides


def _spliced(entries: Any, values: Mapping[Path, Any]) -> list[Any]:
    """Returns a list with values put into its entries, and entries put in the place of one."""
    copies = [_copied(entry) for entry in entries]
    for path in sorted((path for path, value in values.items() if not isinstance(value, Spliced)), key=len):
        put(copies, path, values[path])
    for path in sorted((path for path, value in values.items() if isinstance(value, Spliced)), reverse=True):
        index = int(path[0])
        copies[index : index + 1] = values[path].entries
    return copies


def put(data: Any, path: Path, value: Any) -> None:
    """Puts a value into plain data; a bare kind on the way becomes a mapping.

    Raises:
        LookupError: the path leads past the end of a list, or through a value without items.
    """
    part: Any
    for part in path[:-1]:
        _refuse_no_place(data, part)
        child = data[part] if isinstance(data, list) else data.get(part)
        data[part] = {"kind": child} if isinstance(child, str) else {} if child is None else child
        data = data[part]
    _refuse_no_place(data, path[-1])
    data[path[-1]] = value


def _refuse_no_place(data: Any, part: str | int) -> None:
    if isinstance(data, list) and (not isinstance(part, int) or part >= len(data)):
        raise LookupError(f"the list has {len(data)} entries, counted from 0; `{part}` is none of them")
    if not isinstance(data, (list, dict)):
        raise LookupError(f"there is no field `{part}` in {data}")


def at(data: Any, path: Path) -> Any:
    """Returns what plain data has at a path, or None."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value
