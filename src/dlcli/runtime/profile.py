"""The times of operations in a profile of TensorFlow, by the layer that they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Literal

from dlcli.runtime.engine import tf
from dlcli.runtime.steps import GATHERING
from dlcli.upstream.keras import all_layers
from dlcli.upstream.tensorflow import read_spaces

Kind = Literal["layer", "optimizer", "loss", "other", "input", "waiting", "idle"]
_OPERATION = re.compile(r"(.*[^:]):([A-Z_][A-Za-z0-9_]*)")
"""The name of an operation's event: the operation's name and type."""
_WAITING = re.compile(r"IteratorGetNext\w*::DoCompute")
"""The event of waiting for the next batch, which a separate thread has."""
_GRADIENT = "gradient_tape/"
_LOSS = "compile_loss"


@dataclass(frozen=True)
class Event:
    """A named interval of a thread, or of a stream of a GPU, in picoseconds."""

    begin: int
    end: int
    name: str


@dataclass
class Row:
    """The time of a layer, or of another part of the steps.

    Attributes:
        kind: what the row stands for.
        name: the path of a layer in the model, or words.
        forward: seconds in the forward pass, or of operations that have no direction.
        backward: seconds in the backward pass.
        calls: the operations that were executed.
    """

    kind: Kind
    name: str
    forward: float = 0.0
    backward: float = 0.0
    calls: int = 0

    @property
    def seconds(self) -> float:
        """Seconds in both directions."""
        return self.forward + self.backward


@dataclass
class Scopes:
    """The name scopes in which a model's layers and optimizers create operations."""

    layers: dict[str, str] = field(default_factory=dict)
    optimizers: list[str] = field(default_factory=list)


@contextmanager
def scopes_recorded(model: Any) -> Iterator[Scopes]:
    """Records the name scope of every layer's call inside the block; the traced graph stays the same.

    The scopes of layers have numbers appended, so that they cannot be found by the names of the layers alone.
    """
    scopes = Scopes()
    layers = [layer for layer in all_layers(model) if layer is not model]
    for layer in layers:
        layer.call = _recording(layer, scopes)
    try:
        yield scopes
    finally:
        for layer in layers:
            del layer.call


def _recording(layer: Any, scopes: Scopes) -> Any:
    call = layer.call

    @wraps(call)
    def recorded(*arguments: Any, **options: Any) -> Any:
        scope = tf.get_current_name_scope()
        if scope:
            scopes.layers.setdefault(scope, _path_of(layer, scope))
        return call(*arguments, **options)

    return recorded


def _path_of(layer: Any, scope: str) -> str:
    """Returns the names of a layer and of the models around it, such as `mobilenet/conv1`."""
    around = [re.sub(r"_\d+$", "", part) for part in scope.split("/")[1:-1]]
    return "/".join([*around, layer.name])


def part_times(folder: Path, scopes: Scopes, seconds: float) -> list[Row]:
    """Returns the times of all parts in the newest profile under a log folder, the longest layer first.

    `seconds` is the duration of the profiled steps. Operations of several threads may overlap, so the rows may add up to more.
    """
    file = max(folder.glob("plugins/profile/*/*.xplane.pb"), key=lambda path: path.stat().st_mtime_ns)
    rows: dict[tuple[Kind, str], Row] = {}
    busy, waiting = list[tuple[int, int]](), list[tuple[int, int]]()
    for is_input, events, thread in _threads(file):
        waiting += [(event.begin, event.end) for event in thread if _WAITING.fullmatch(event.name)]
        for event, own in with_own_time(events):
            kind, name, backward = part_of(event.name, scopes, is_input=is_input)
            row = rows.setdefault((kind, name), Row(kind, name))
            row.calls += 1
            if backward:
                row.backward += own / 1e12
            else:
                row.forward += own / 1e12
        if not is_input:
            busy += [(event.begin, event.end) for event in events]
    working, with_waiting = covered(busy) / 1e12, covered([*busy, *waiting]) / 1e12
    rest = [Row("waiting", "waiting for batches", min(with_waiting - working, max(0.0, seconds - working)))]
    rest.append(Row("idle", "no operation", max(0.0, seconds - working - rest[0].forward)))
    return sorted((row for row in [*rows.values(), *rest] if row.seconds), key=lambda row: (row.kind != "layer", -row.seconds))


def _threads(file: Path) -> Iterator[tuple[bool, list[Event], list[Event]]]:
    """Yields for each thread whether it prepares batches, the events of its operations, and all its events.

    On a GPU, the operations are the kernels of its streams, named by the operation that started them, and the threads of the
    host are left out but for those that prepare batches.
    """
    planes = read_spaces(file).planes
    gpus = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    for plane in gpus:
        for line in plane.lines:
            if line.name.startswith("Stream"):
                yield False, list(_kernels(plane, line)), []
    for plane in planes:
        if plane.name != "/host:CPU":
            continue
        for line in plane.lines:
            events = [
                Event(begin, begin + event.duration_ps, plane.event_metadata[event.metadata_id].name)
                for event in line.events
                for begin in [line.timestamp_ns * 1000 + event.offset_ps]
            ]
            is_input = line.name.startswith("tf_data")
            operations = [event for event in events if _OPERATION.fullmatch(event.name)]
            yield is_input, operations if is_input or not gpus else [], events


def _kernels(plane: Any, line: Any) -> Iterator[Event]:
    """Yields the kernels of a GPU's stream, each with the name of the operation that started it."""
    for event in line.events:
        begin = line.timestamp_ns * 1000 + event.offset_ps
        name = plane.event_metadata[event.metadata_id].name
        for stat in event.stats:
            if plane.stat_metadata[stat.metadata_id].name == "tf_op":
                name = stat.str_value or plane.stat_metadata[stat.ref_value].name or name
        yield Event(begin, begin + event.duration_ps, name)


def with_own_time(events: Sequence[Event]) -> Iterator[tuple[Event, int]]:
    """Yields the events of a thread with their time without that of the events inside them."""
    stack: list[tuple[Event, list[int]]] = []
    ordered = sorted(events, key=lambda event: (event.begin, -event.end))
    for event in ordered:
        while stack and stack[-1][0].end <= event.begin:
            done, inside = stack.pop()
            yield done, done.end - done.begin - sum(inside)
        if stack:
            stack[-1][1].append(min(event.end, stack[-1][0].end) - event.begin)
        stack.append((event, []))
    while stack:
        done, inside = stack.pop()
        yield done, done.end - done.begin - sum(inside)


def part_of(operation: str, scopes: Scopes, *, is_input: bool) -> tuple[Kind, str, bool]:
    """Returns the part that an operation belongs to, by its name, and whether it is of the backward pass."""
    path = f"/{operation.rpartition(':')[0] or operation}/"
    if is_input or re.search(rf"/{GATHERING}(_\d+)?/", path):
        return "input", "preparing batches", False
    backward = f"/{_GRADIENT}" in path
    scope = _innermost(path, scopes.layers)
    if scope:
        return "layer", scopes.layers[scope], backward
    if any(re.search(rf"/{re.escape(name)}(_\d+)?/", path) for name in scopes.optimizers):
        return "optimizer", "optimizer", False
    if re.search(rf"/{_LOSS}(_\d+)?/", path):
        return "loss", "loss", backward
    return "other", "metrics and others", False


def _innermost(path: str, layers: Mapping[str, str]) -> str:
    """Returns the longest recorded scope in the path of an operation; empty if there is none."""
    return max((scope for scope in layers if f"/{scope}/" in path), key=len, default="")


def covered(intervals: Iterable[tuple[int, int]]) -> int:
    """Returns the length of the union of intervals."""
    total, reached = 0, -1
    for begin, end in sorted(intervals):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total
