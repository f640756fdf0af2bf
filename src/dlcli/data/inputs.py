"""The inputs that a saved model takes, and checks that the inputs of examples fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcli.errors import DamagedFile, DataError
from dlcli.runs import RunFolder
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.runtime.columns import InputLayout, input_names
from dlcli.runtime.inputs import Inputs, Kind
from dlcli.spec.data.sources.column_kinds import COLUMN_KINDS, kind_of_dtype
from dlcli.spec.experiment import Experiment

IMAGE_ENTRY, ARRAY_ENTRY = "image", "features"
"""The names of a model's single input, which tell images from other arrays."""


@dataclass(frozen=True)
class ModelInputs:
    """The inputs that a run's model takes.

    Attributes:
        kind: images, arrays of numbers, or columns.
        shape: the shape of one example, for images and arrays.
        layout: which columns each input takes; None for other inputs.
        is_padded: whether series may end early, with NaN after their ends.
    """

    kind: Kind
    shape: tuple[int, ...] = ()
    layout: InputLayout | None = None
    is_padded: bool = False

    @property
    def columns(self) -> Mapping[str, ColumnKind] | None:
        """The kind of each raw column by name, in the order of the table; None for other inputs."""
        return None if self.layout is None else self.layout.kinds


def entry_name(kind: Kind) -> str:
    """Returns the name of the input of a model that takes images or other arrays."""
    return IMAGE_ENTRY if kind == "images" else ARRAY_ENTRY


def inputs_of_model(model: Any, run: RunFolder) -> ModelInputs:
    """Returns the inputs that a run's model takes: raw columns, 8-bit images, or arrays of numbers.

    Raises:
        DamagedFile: the model was not built by dlcli, or by a version with further kinds of columns.
    """
    if isinstance(model.input, dict):
        return ModelInputs("columns", layout=_layout_of_model(model, run))
    shape = tuple(model.input_shape[1:])
    if not all(isinstance(side, int) for side in shape):
        raise DamagedFile(f"{run.model_path}: takes inputs of shape {model.input_shape}, which is not fixed")
    kind: Kind = "images" if len(shape) == 3 and model.input.name == IMAGE_ENTRY else "arrays"
    return ModelInputs(kind, shape, is_padded=bool(run.data().get("is_padded")))


def _layout_of_model(model: Any, run: RunFolder) -> InputLayout:
    """Returns which columns each input of a run's model takes, as the run's data records it."""
    shared = recorded_shared(run)
    names = input_names(run.data().get("columns") or [])
    names |= {column: name for name, columns in shared.items() for column in columns}
    if set(names.values()) == set(model.input):
        layout = InputLayout({column: _kind(column, model.input[name], run) for column, name in names.items()}, shared)
        if all(model.input[name].shape[-1] == len(columns) for name, columns in layout.columns.items()):
            return layout
    raise DamagedFile(f"{run.model_path}: has other input columns than the run's data")


def recorded_shared(run: RunFolder) -> dict[str, tuple[str, ...]]:
    """Returns the columns of each of a run's inputs that takes several, by the input's name; none in an earlier version's run.

    Raises:
        DamagedFile: the record does not fit the run's columns.
    """
    data = run.data()
    shared = {str(name): tuple(columns) for name, columns in data.get("shared_inputs", {}).items()}
    sharing = [column for columns in shared.values() for column in columns]
    if not all(shared.values()) or len(set(sharing)) < len(sharing) or not {*sharing} <= {*(data.get("columns") or [])}:
        raise DamagedFile(f"{run.data_path}: shared_inputs: does not fit the columns")
    return shared


def _kind(column: str, tensor: Any, run: RunFolder) -> ColumnKind:
    """Returns the kind of a column: the recorded one, else the usual one of the input's type."""
    name = run.data().get("column_kinds", {}).get(column)
    return kind_of_dtype(tensor.dtype) if name is None else _kind_named(name, column, run)


def _kind_named(name: str, column: str, run: RunFolder) -> ColumnKind:
    if name not in COLUMN_KINDS:
        raise DamagedFile(
            f"{run.data_path}: column `{column}` is of the unknown kind {name!r}; another version of dlcli wrote it"
        )
    return COLUMN_KINDS[name]


def recorded_kinds(run: RunFolder) -> dict[str, ColumnKind]:
    """Returns the kinds that a run recorded for the columns of its table; none for a run that recorded none.

    Raises:
        DamagedFile: a kind is unknown.
    """
    data = run.data()
    facts = {str(fact.get("name")): str(fact.get("became")) for fact in data.get("column_facts", [])}
    kinds = {column: COLUMN_KINDS[became] for column, became in facts.items() if became in COLUMN_KINDS}
    return kinds | {column: _kind_named(name, column, run) for column, name in data.get("column_kinds", {}).items()}


def refuse_other_inputs(model: Any, inputs: Inputs, path: Path) -> None:
    """Checks that a model takes a run's inputs: an array or images of its shape, or columns of its names.

    Raises:
        DamagedFile: the model takes other inputs.
    """
    if inputs.shape is None:
        layout = inputs.layout
        expected = {name: _content(layout.kind(name).dtype, len(columns)) for name, columns in layout.columns.items()}
        entries = model.input if isinstance(model.input, dict) else {}
        model_columns = {name: _content(tensor.dtype, tensor.shape[-1]) for name, tensor in entries.items()}
        if model_columns != expected:
            listed = ", ".join(f"{name} ({content})" for name, content in sorted(model_columns.items())) or "one tensor"
            raise DamagedFile(f"{path}: takes {listed[:200]}, not the columns of the run's data")
        return
    example, shape = inputs.shape, model.input_shape
    if not isinstance(shape, tuple) or len(shape) != len(example) + 1 or not _fits(shape[1:], example):
        raise DamagedFile(f"{path}: takes inputs of shape {shape}, not the {example} of the run's data")


def _content(dtype: str, columns: int) -> str:
    content = "text" if dtype == "string" else "numbers"
    return content if columns == 1 else f"{content} of {columns:,} columns"


def _fits(shape: tuple[int | None, ...], example: tuple[int, ...]) -> bool:
    return all(side in (None, size) for side, size in zip(shape, example, strict=True))


def refuse_other_type(model: Any, inputs: Inputs, experiment: Experiment, path: Path) -> None:
    """Checks that arrays have the type that a model was trained on: uint8 images, or numbers of any range.

    Raises:
        DataError: their shape or type differs.
    """
    if inputs.shape is None or inputs.in_files or isinstance(model.input, dict) or experiment.data.image.is_deep:
        return
    shape = tuple(model.input_shape[1:])
    if inputs.shape != shape:
        raise DataError(f"--data: {path}: its examples have shape {inputs.shape}; the model takes {shape}")
    if experiment.model.has_backbone or len(shape) != 3:
        return
    takes_images = model.input.name == IMAGE_ENTRY
    if takes_images and inputs.kind != "images":
        raise DataError(f"--data: {path}: contains numbers, not images; the model takes images of uint8, 0 to 255")
    if not takes_images and inputs.kind == "images":
        raise DataError(f"--data: {path}: contains uint8 images; the model was trained on another numeric type")
