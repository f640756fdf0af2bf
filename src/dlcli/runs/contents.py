"""The JSON files of a run folder: one class for each file, which writes and reads it.

A folder may have been changed, damaged, or created by someone else, so a file is validated when it is read. The same
validation runs when the file is written, so a reader never refuses the output of a writer.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, create_model

from dlcli.errors import DamagedFile
from dlcli.runs.files import as_json, read_json, write_json
from dlcli.spec.training.stages import Selection

Count = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(allow_inf_nan=False)] | None
"""A finite number, or None in place of one that is not."""


class FileContent(BaseModel):
    """The required entries with their types. Other entries are kept: other versions may write more."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", defer_build=True)


class RunFile:
    """The methods of a class that represents a JSON file."""

    @classmethod
    def of(cls, content: Any) -> Self:
        """Returns the content in the form of its file: numbers that are not finite become None, names become text.

        Raises:
            ValidationError: `read` would refuse the content, which is a defect of the writer.
        """
        return cls.model_validate(as_json(content))  # type: ignore[attr-defined, no-any-return]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Returns the content of the file.

        Raises:
            DamagedFile: the file cannot be read, lacks an entry, or has an entry of a wrong type.
        """
        try:
            return cls.model_validate(read_json(path))  # type: ignore[attr-defined, no-any-return]
        except ValidationError as error:
            raise DamagedFile(_first_of(error, path)) from None

    def write(self, path: Path) -> None:
        """Replaces the file."""
        write_json(path, self.content())

    def content(self) -> Any:
        """Returns the entries as plain JSON data, without defaults for missing entries."""
        return self.model_dump(exclude_unset=True)  # type: ignore[attr-defined]


class DataFile(RunFile, FileContent):
    """`data.json`."""

    examples: dict[str, Count]
    counts: dict[str, dict[str, Count]] = {}
    classes: list[str] | None = None
    fingerprint: str = ""
    means: list[float] | None = None
    deviations: list[float] | None = None
    gaps: dict[str, Count] | None = None
    notes: list[str] = []
    test_is_validation: bool = False
    unused: dict[str, Count] = {}
    lines: list[str] = []
    column_kinds: dict[str, str] = {}
    shared_inputs: dict[str, list[str]] = {}
    column_facts: list[dict[str, Any]] = []


class _Device(FileContent):
    kind: str
    name: str


class EnvironmentFile(RunFile, FileContent):
    """`environment.json`."""

    device: _Device
    precision: str
    revision: Annotated[int, Field(ge=1, lt=2**31)] = 1


class _Stage(FileContent):
    name: str
    train: Selection
    epochs: Count
    monitor: str
    best_epoch: Count
    best_value: Number
    trainable: Count = 0
    frozen: Count = 0


class StagesFile(RunFile, RootModel[list[_Stage]]):
    """`stages.json`."""

    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)


class VocabularyFile(RunFile, RootModel[dict[str, list[str]]]):
    """`vocabulary.json`."""

    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)


class CalibrationFile(RunFile, FileContent):
    """`calibration.json`."""

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Score(FileContent):
    value: Number
    interval: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = None
    no_interval: str = ""


class _Baseline(FileContent):
    name: str
    metrics: dict[str, Number]


class _Calibrated(FileContent):
    value: Number
    ece: Number
    brier: Number


class _Calibration(FileContent):
    ece: Number
    brier: Number
    temperature: _Calibrated | None = None


class _Threshold(FileContent):
    label: str
    best_by: str
    threshold: Number
    precision: Number
    recall: Number
    f1: Number
    cost: Number


class _Table(FileContent):
    metric: str
    file: Annotated[str, Field(pattern=r"^[a-z0-9_]+\.csv$")]
    title: str
    note: str = ""


class _Member(FileContent):
    run: str
    metrics: dict[str, _Score]


class _AgainstBest(FileContent):
    run: str
    metric: str
    sentences: list[str]


class MetricsFile(RunFile, FileContent):
    """`metrics.json` of one split."""

    examples: Count
    metrics: dict[str, _Score]
    baseline: _Baseline
    note: str = ""
    calibration: _Calibration | None = None
    thresholds: list[_Threshold] | None = None
    notes: list[str] | None = None
    tables: list[_Table] = []
    members: list[_Member] | None = None
    against_best: _AgainstBest | None = None


def as_dataclass(kind: Any, data: Any, path: Path, *, required: set[str]) -> Any:
    """Returns the dataclass for the content of a JSON file; unknown fields, of other versions, are ignored.

    Raises:
        DamagedFile: the file lacks a required field, or a field has a wrong type.
    """
    content = _content_of(kind, frozenset(required))
    try:
        content.model_validate(data)
    except ValidationError as error:
        raise DamagedFile(_first_of(error, path)) from None
    return kind(**{name: data[name] for name in content.model_fields if name in data})


@cache
def _content_of(kind: Any, required: frozenset[str]) -> type[FileContent]:
    hints = get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {name: (hint, ... if name in required else None) for name, hint in hints.items()}
    return create_model(kind.__name__, __base__=FileContent, **fields)


def _first_of(error: ValidationError, path: Path) -> str:
    """Returns the first error of a file."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    wrong = {"missing": "is missing", "model_type": "should be an object"}.get(first["type"], first["msg"])
    wrong = wrong.replace("Input should be", "should be")
    return f"{path}: {place}: {wrong}" if place else f"{path}: {wrong}"


def refuse_odd_history(rows: list[dict[str, str]], path: Path) -> None:
    """Checks the rows of a history: stage, epoch and numbers.

    Raises:
        DamagedFile: a column is missing, or a cell is not a number.
    """
    for number, row in enumerate(rows, 2):
        if not {"stage", "epoch"} <= row.keys():
            raise DamagedFile(f"{path}: lacks the columns stage and epoch")
        wrong = next((name for name, cell in row.items() if name != "stage" and not _is_number(name, cell)), None)
        if wrong is not None:
            raise DamagedFile(f"{path}:{number}: {wrong}: {row[wrong][:40]!r} is not a number")


def _is_number(column: str, cell: str) -> bool:
    if column == "epoch":
        return cell.isdecimal() and len(cell) < 10
    try:
        float(cell or 0)  # columns of other stages are empty
    except ValueError:
        return False
    return True
