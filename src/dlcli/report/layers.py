"""The layer table of a saved model, read only from its file: without TensorFlow and without building the model."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from dlcli.runs import RunFolder

_LARGEST = 32 * 2**20
_DEEPEST = 8


@dataclass(frozen=True)
class Layer:
    """One layer: its output's shape without the batch, and its parameters; None where the file does not state them."""

    name: str
    kind: str
    shape: tuple[int | None, ...] | None
    parameters: int | None

    @property
    def shape_text(self) -> str:
        """The shape as text, such as (28,28,8), or 400 for a row."""
        if self.shape is None:
            return ""
        sides = ["?" if side is None else str(side) for side in self.shape]
        return sides[0] if len(sides) == 1 else f"({','.join(sides)})"


def layers(run: RunFolder) -> list[Layer]:
    """Returns the layers of a run's model in order, with those of nested models, without its scaling; empty if unknown."""
    try:
        with zipfile.ZipFile(run.model_path) as archive:
            config = json.loads(_member(archive, "config.json"))
            counts = _parameters(archive)
        classes = tuple(run.data().get("classes") or ())
        rows = list(_layers(config["config"], "", counts, 0))
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []  # a model of another kind, or of another version of Keras: the report omits the table
    if rows and rows[-1].shape is None and rows[-1].kind == "Dense" and classes:
        rows[-1] = replace(rows[-1], shape=(run.experiment().task.units(len(classes)),))
    return rows


def _member(archive: zipfile.ZipFile, name: str, largest: int = _LARGEST) -> bytes:
    with archive.open(name) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"{name} is larger than {largest:,} bytes")
    return content


def _layers(config: Any, place: str, counts: dict[str, int] | None, depth: int) -> Iterator[Layer]:
    if depth > _DEEPEST:
        raise ValueError("models nested too deep")
    shapes = _shapes(config["layers"])
    repetitions: dict[str, int] = {}
    for layer in config["layers"]:
        kind, inner = str(layer["class_name"]), layer["config"]
        path = f"{place}layers/{_unique(_snake(kind), repetitions)}"
        if kind in ("Functional", "Sequential") and "layers" in inner:
            *rows, last = _layers(inner, f"{path}/", counts, depth + 1)
            yield from rows
            yield last if last.shape else replace(last, shape=shapes.get(str(layer.get("name"))))
            continue
        name = str(layer.get("name") or inner.get("name") or "")
        if name == "normalize" or (kind == "InputLayer" and depth):
            continue
        shape = tuple(inner["batch_shape"][1:]) if kind == "InputLayer" else shapes.get(name)
        yield Layer(name, kind, shape, None if counts is None else _sum(counts, path))


def _shapes(rows: Any) -> dict[str, tuple[int | None, ...]]:
    """Returns the output shapes of layers by name; they are stored with the layers that receive them."""
    shapes: dict[str, tuple[int | None, ...]] = {}
    for row in rows:
        for tensor in _tensors(row.get("inbound_nodes") or ()):
            shapes[str(tensor["keras_history"][0])] = tuple(tensor["shape"][1:])
    return shapes


def _tensors(value: Any) -> Iterator[Any]:
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _parameters(archive: zipfile.ZipFile) -> dict[str, int] | None:
    """Returns the sizes of the saved weights by their path in the file; None where the file cannot be read."""
    import h5py

    sizes: dict[str, int] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "seed_generator" not in name:
            sizes[name] = prod(item.shape)

    try:
        with archive.open("model.weights.h5") as file, h5py.File(file, "r") as weights:
            weights.visititems(note)
    except (OSError, KeyError, RuntimeError):
        return None
    return sizes


def _sum(counts: dict[str, int], path: str) -> int:
    return sum(count for name, count in counts.items() if name.startswith(f"{path}/"))


def _snake(name: str) -> str:
    """Returns a class's name in the form of Keras's file of weights (`keras.src.utils.naming.to_snake_case`)."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _unique(name: str, repetitions: dict[str, int]) -> str:
    if name in repetitions:
        repetitions[name] += 1
        return f"{name}_{repetitions[name]}"
    repetitions[name] = 0
    return name
