"""Exact save and restore of training states: the content of a checkpoint file, and the values of variables.

One file holds named arrays and one JSON text; no pickle. NumPy writes and reads it (`.npz`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from dlcli.arrays import Array
from dlcli.errors import DamagedFile, RunFailed
from dlcli.runtime.stored_arrays import UNREADABLE_ARRAYS, refuse_packed

Count = Annotated[int, Field(ge=0)]
Plain = dict[str, bool | int | float | None]


class _Best(TypedDict):
    epoch: Count
    value: float | None
    stage: str


class _Record(TypedDict):
    rows: NotRequired[list[dict[str, Any]]]  # of earlier versions
    best: _Best
    steps: Count
    without_penalties: bool
    extended_at: float


class _Recorder(TypedDict):
    best: _Best
    unsaved: _Best | None
    seconds: float


class _Proof(TypedDict):
    result: dict[str, Any]
    before: list[str]


class State(TypedDict):
    """The state of a training. Epochs and steps count from 0; `specs` are digests of the specs that it fits."""

    specs: list[str]
    stage: Count
    epoch: Count
    step: Count
    stopped: bool
    stages: list[dict[str, Any]]
    record: _Record
    recorder: _Recorder
    proof: _Proof
    callbacks: list[Plain]


class _Groups(TypedDict):
    model: Count
    optimizer: Count
    metrics: Count
    kept: Count


class _Content(TypedDict):
    state: State
    groups: _Groups


_CONTENT = TypeAdapter(_Content)


@dataclass(frozen=True)
class Snapshot:
    """Everything that resuming a training requires: plain data, and arrays by group and place."""

    state: dict[str, Any]
    arrays: dict[str, list[Array]]

    def write(self, path: Path) -> None:
        """Writes the snapshot to a file."""
        counts = {group: len(values) for group, values in self.arrays.items()}
        text = json.dumps({"state": self.state, "groups": counts}).encode()
        named = {f"{group}/{place}": value for group, values in self.arrays.items() for place, value in enumerate(values)}
        with path.open("wb") as file:  # NumPy would add `.npz` to a path without it
            np.savez(file, allow_pickle=False, text=np.frombuffer(text, dtype="uint8"), **named)


def read_snapshot(path: Path) -> Snapshot:
    """Returns the snapshot in a file, exactly as it was written.

    Raises:
        DamagedFile: the file is no checkpoint. The content is validated, since a forged file can have a valid checksum.
    """
    try:
        refuse_packed(path)
        with np.load(path, allow_pickle=False) as file:
            content = _CONTENT.validate_json(file["text"].tobytes(), strict=True)
            counts: dict[str, int] = dict(content["groups"])  # type: ignore[arg-type]  # a TypedDict of numbers alone
            arrays = {group: [file[f"{group}/{place}"] for place in range(count)] for group, count in counts.items()}
    except UNREADABLE_ARRAYS as error:
        raise DamagedFile(f"{path}: no checkpoint: {str(error).partition(chr(10))[0]}") from None
    return Snapshot(dict(content["state"]), arrays)


def values_of(variables: Iterable[Any]) -> list[Array]:
    """Returns the values of variables."""
    return [np.asarray(variable.numpy()) for variable in variables]


def restore(variables: Sequence[Any], values: Sequence[Array], what: str) -> None:
    """Assigns stored values to variables.

    Raises:
        RunFailed: the variables differ, because another version of dlcli or Keras builds the model differently.
    """
    shapes, stored = [tuple(variable.shape) for variable in variables], [value.shape for value in values]
    if shapes != stored:
        pairs = enumerate(zip(shapes, stored, strict=False))
        differing = (index for index, (shape, stored_shape) in pairs if shape != stored_shape)
        place = next(differing, min(len(shapes), len(stored)))
        raise RunFailed(
            f"the checkpoint does not fit the model that the run's spec builds: {len(stored)} variables of the {what}, now"
            f" {len(shapes)}; the first that differs is number {place + 1}; the run needs the versions in its environment.json"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def every_variable(*models: Any) -> list[Any]:
    """Returns the variables of several models without repetition: weights, statistics and counters of random draws."""
    variables_by_id: dict[int, Any] = {}
    for model in models:
        for variable in model.variables:
            variables_by_id.setdefault(id(variable), variable)
    return list(variables_by_id.values())


def plain_state(callback: Any) -> dict[str, Any]:
    """Returns the state of a Keras callback: its plain values, such as its wait count and its best value.

    The state excludes settings, since some callbacks change the sign of one (`min_delta`) at the first epoch, and texts,
    which hold paths.
    """
    settings = inspect.signature(type(callback).__init__).parameters
    attributes = {name: value for name, value in vars(callback).items() if name not in settings}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in attributes.items()}
    return {name: value for name, value in plain.items() if value is None or isinstance(value, (bool, int, float))}


def restore_plain_state(callback: Any, state: dict[str, Any]) -> None:
    """Assigns stored attributes to a callback."""
    attributes = vars(callback)
    for name, value in state.items():
        if name in attributes:
            setattr(callback, name, value)
