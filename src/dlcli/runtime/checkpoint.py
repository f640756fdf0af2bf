"""Exact save and restore: what a checkpoint's file holds, and how variables are taken and put back.

One file holds named arrays and one JSON text; no pickle. NumPy writes and reads it (`.npz`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcli.errors import RunFailed

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Snapshot:
    """Everything that a training needs to go on: plain data, and arrays by group and place."""

    state: dict[str, Any]
    arrays: dict[str, list[Array]]

    def write(self, path: Path) -> None:
        """Writes it to a file."""
        counts = {group: len(values) for group, values in self.arrays.items()}
        text = json.dumps({"state": self.state, "groups": counts}).encode()
        named = {f"{group}/{place}": value for group, values in self.arrays.items() for place, value in enumerate(values)}
        with path.open("wb") as file:  # a path without the right ending would get another name
            np.savez(file, allow_pickle=False, text=np.frombuffer(text, dtype="uint8"), **named)


def read_snapshot(path: Path) -> Snapshot:
    """Returns what a file holds, exactly as it was written; the file's checksum must have been looked at."""
    with np.load(path, allow_pickle=False) as file:
        content = json.loads(file["text"].tobytes())
        arrays = {group: [file[f"{group}/{place}"] for place in range(count)] for group, count in content["groups"].items()}
    return Snapshot(content["state"], arrays)


def values_of(variables: Iterable[Any]) -> list[Array]:
    """Returns what variables hold."""
    return [np.asarray(variable.numpy()) for variable in variables]


def put_back(variables: Sequence[Any], values: Sequence[Array], what: str) -> None:
    """Gives variables the values they had.

    Raises:
        RunFailed: they are not the same variables: another version of dlcli or Keras builds the model otherwise.
    """
    shapes, wanted = [tuple(one.shape) for one in variables], [value.shape for value in values]
    if shapes != wanted:
        pairs = enumerate(zip(shapes, wanted, strict=False))
        place = next((at for at, (now, then) in pairs if now != then), min(len(shapes), len(wanted)))
        raise RunFailed(
            f"the checkpoint does not fit the model that the run's spec builds: {len(wanted)} variables of the {what}, now"
            f" {len(shapes)}; the first that differs is number {place + 1}; the run needs the versions in its environment.json"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def every_variable(*models: Any) -> list[Any]:
    """Returns the variables of several models, each once: weights, statistics and the counters of random draws."""
    found: dict[int, Any] = {}
    for model in models:
        for variable in model.variables:
            found.setdefault(id(variable), variable)
    return list(found.values())


def plain_state(callback: Any) -> dict[str, Any]:
    """Returns what a Keras callback has counted and seen: its plain values, such as how long it has waited and its best.

    Its settings are left out: some callbacks turn a sign in them when they first look at a number (`min_delta`). So are
    texts, which hold paths.
    """
    settings = inspect.signature(type(callback).__init__).parameters
    taken = {name: value for name, value in vars(callback).items() if name not in settings}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in taken.items()}
    return {name: value for name, value in plain.items() if value is None or isinstance(value, (bool, int, float))}


def put_plain_state(callback: Any, state: dict[str, Any]) -> None:
    """Gives a callback the attributes it had."""
    known = vars(callback)
    for name, value in state.items():
        if name in known:
            setattr(callback, name, value)
