"""What the files of a run folder must hold to be used: a folder may have been changed, damaged, or made by someone else."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from dlcli.errors import DamagedFile
from dlcli.spec.stages import Selection

PARTS = ("train", "validation", "test")
Count = Annotated[int, Field(ge=0, lt=2**63)]
_Value = Annotated[float, Field(allow_inf_nan=False)] | None


class _Content(BaseModel):
    """What must be there, of the right type; what else a file holds is passed over: other versions may write more."""

    model_config = ConfigDict(strict=True, defer_build=True)


class DataContent(_Content):
    """`data.json`."""

    examples: dict[str, Count]
    counts: dict[str, dict[str, Count]] = {}
    classes: list[str] | None = None
    fingerprint: str = ""
    means: list[float] | None = None
    notes: list[str] = []


class _Device(_Content):
    kind: str
    name: str


class EnvironmentContent(_Content):
    """`environment.json`."""

    device: _Device
    precision: str


class _Stage(_Content):
    name: str
    train: Selection
    epochs: Count
    monitor: str
    best_epoch: Count
    best_value: _Value
    trainable: Count = 0
    frozen: Count = 0


class StagesContent(_Content):
    """`stages.json`, which is a list."""

    stages: list[_Stage]


class CalibrationContent(_Content):
    """`calibration.json`."""

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Score(_Content):
    value: _Value
    interval: Annotated[list[_Value], Field(min_length=2, max_length=2)] | None = None


class _Baseline(_Content):
    name: str
    metrics: dict[str, _Value]


class _Calibrated(_Content):
    value: float
    ece: float
    brier: float


class _Calibration(_Content):
    ece: float
    brier: float
    temperature: _Calibrated | None = None


class _Threshold(_Content):
    label: str
    best_by: str
    threshold: float
    precision: float
    recall: float
    f1: float
    cost: float


class MetricsContent(_Content):
    """`metrics.json` of one split."""

    examples: Count
    metrics: dict[str, _Score]
    baseline: _Baseline
    calibration: _Calibration | None = None
    thresholds: list[_Threshold] | None = None


def refuse_other(content: type[_Content], data: Any, path: Path, *, inside: str = "") -> None:
    """Checks what a file holds; `inside` is the field of `content` that the whole file stands for.

    Raises:
        DamagedFile: it lacks something, or something is of another type; the message names the file and the place.
    """
    try:
        content.model_validate({inside: data} if inside else data)
    except ValidationError as error:
        raise DamagedFile(_first_of(error, path, inside)) from None


def as_dataclass(kind: Any, data: Any, path: Path, *, required: set[str]) -> Any:
    """Returns the dataclass that a JSON file holds; its unknown fields, of other versions, are passed over.

    Raises:
        DamagedFile: it lacks a required field, or one is of another type.
    """
    content = _content_of(kind, frozenset(required))
    refuse_other(content, data, path)
    return kind(**{name: data[name] for name in content.model_fields if name in data})


@cache
def _content_of(kind: Any, required: frozenset[str]) -> type[_Content]:
    hints = get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {name: (hint, ... if name in required else None) for name, hint in hints.items()}
    return create_model(kind.__name__, __base__=_Content, **fields)


def _first_of(error: ValidationError, path: Path, inside: str = "") -> str:
    """Returns the first thing that is wrong with a file."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part != inside)
    wrong = {"missing": "is missing", "model_type": "should be an object"}.get(first["type"], first["msg"])
    wrong = wrong.replace("Input should be", "should be")
    return f"{path}: {place}: {wrong}" if place else f"{path}: {wrong}"


def refuse_odd_history(rows: list[dict[str, str]], path: Path) -> None:
    """Checks the rows of a history: its stage, its epoch, and numbers.

    Raises:
        DamagedFile: a column is missing, or a cell is no number.
    """
    for number, row in enumerate(rows, 2):
        if not {"stage", "epoch"} <= row.keys():
            raise DamagedFile(f"{path}: lacks the columns stage and epoch")
        wrong = next((name for name, cell in row.items() if name != "stage" and not _is_number(name, cell)), None)
        if wrong is not None:
            raise DamagedFile(f"{path}:{number}: {wrong}: {row[wrong][:40]!r} is no number")


def _is_number(column: str, cell: str) -> bool:
    if column == "epoch":
        return cell.isdecimal() and len(cell) < 10
    try:
        float(cell or 0)  # a column that only other stages have is empty
    except ValueError:
        return False
    return True
