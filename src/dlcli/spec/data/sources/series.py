"""Series in a table: one row for each time step, of one series or of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainValidator, PrivateAttr
from pydantic_core import PydanticCustomError

from dlcli.errors import DataError
from dlcli.spec.base import Count
from dlcli.spec.data.sources.base import Facts, Opened, Request, SeriesSource, file_bytes
from dlcli.spec.data.sources.csv import Encoding, _separator
from dlcli.spec.paths import FilePath
from dlcli.tasks import Task
from dlcli.tasks.forecasts import Forecasts

if TYPE_CHECKING:
    from dlcli.spec.data.sources.table.reader import Settings


def _bound(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and (0 <= value < 1 or (value >= 1 and value == int(value))):
        return float(value) if 0 < value < 1 else int(value)
    if isinstance(value, str) and value:
        return value
    what = "a fraction from 0 to below 1, a number of time steps, or the first time such as '2017-06-26'"
    raise PydanticCustomError("expected", "expected {what}", {"what": what})


Bound = Annotated[int | float | str, PlainValidator(_bound, json_schema_input_type=Annotated[int, Field(ge=0)] | float | str)]
"""The part of the time steps that a split forecasts: a fraction, a number of steps, or its first time."""


def _end(value: Any) -> Any:
    if value is None or (isinstance(value, str) and value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise PydanticCustomError("expected", "expected {what}", {"what": "a number of time steps from 1, or a time"})


End = Annotated[int | str | None, PlainValidator(_end, json_schema_input_type=Annotated[int, Field(ge=1)] | str | None)]


class Series(SeriesSource):
    """Windows over series in a table, CSV, Parquet or Excel: one row for each time step, of one series or of several.

    The rows are split by time, before windows are made: no row is in windows of two splits, neither as input nor as a value to
    forecast. The latest time steps are the test split, those before them the validation split; the steps that the first window
    of a split reads before them are in no earlier split.
    """

    splits_itself: ClassVar[bool] = True
    kind: Literal["series"]
    path: FilePath = Field(description="File with the rows: .csv, .tsv, .csv.gz, .parquet, .xlsx.")
    target: str | list[str] = Field(description="Column to forecast; a list for several.")
    time: str | None = Field(
        default=None,
        description="Column with the time of each row, dates or numbers; if not set, the rows of a series are in order.",
    )
    entity: str | None = Field(default=None, description="Column that names the series of each row, if there are several.")
    window: Count = Field(description="Number of time steps that the model reads.")
    horizon: Count = Field(default=1, description="Number of time steps to forecast.")
    stride: Count = Field(default=1, description="Number of time steps from one window to the next.")
    features: Literal["all"] | list[str] = Field(
        default="all",
        description="Further measured columns, whose past is read; `all`: all other columns.",
    )
    drop: list[str] = Field(default=[], description="Columns to exclude from `all`.")
    known: list[str] = Field(
        default=[],
        description=(
            "Columns that are known in advance, such as holidays: their values in the steps to forecast are read too, as"
            " channels that are `horizon` steps ahead. `window` must be at least `horizon`."
        ),
    )
    static: list[str] = Field(default=[], description="Numeric columns with one value for each series.")
    validation: Bound = Field(
        default=0.1,
        description=(
            "Time steps that the validation split forecasts: a fraction, a number of steps, or its first time; 0: none."
        ),
    )
    test: Bound = Field(
        default=0.2,
        description="Time steps that the test split forecasts: a fraction, a number of steps, or its first time; 0: none.",
    )
    end: End = Field(
        default=None, description="Number of time steps to use, or the first time that is not used; all if not set."
    )
    gap: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Number of further time steps between two splits that are in no split."
    )
    season: Literal["auto"] | Count = Field(
        default="auto",
        description=(
            "Number of time steps of a season, for the seasonal naive forecast and MASE; 1: none. `auto`: that of the distance"
            " of the rows, such as 24 for hours, 7 for days and 12 for months."
        ),
    )
    scale_by_entity: bool = Field(
        default=False,
        description=(
            "Whether the measured columns of each series are scaled by their own mean and deviation in the training split. The"
            " model reads these as channels and scales inside."
        ),
    )
    time_gaps: Literal["ignore", "cut"] = Field(
        default="ignore",
        description="For missing and irregular time steps, which are reported: `ignore` counts rows as steps; `cut`: no window"
        " contains one.",
    )
    missing_values: Literal["stop", "previous", "drop"] = Field(
        default="stop",
        description=(
            "For empty cells: `stop` refuses them; `previous` reads the previous value of the series, but never as a value to"
            " forecast; `drop` omits the windows with such cells."
        ),
    )
    format: str = Field(default="auto", description="Format of the dates for `strptime`, such as `%d/%m/%Y`; `auto`: detected.")
    encoding: Encoding = Field(default="auto", description="Text encoding, e.g. `latin-1`; `auto`: UTF-8 or UTF-16.")
    separator: Annotated[str, AfterValidator(_separator)] = Field(
        default="auto", description="Separator of columns; `auto`: detected."
    )
    decimal: Literal["auto", ".", ","] = Field(default="auto", description="Decimal separator of numbers; `auto`: detected.")
    missing: list[str] = Field(default=[], description="Additional marks of missing values, e.g. `?`.")
    _scales: dict[str, list[list[float]]] = PrivateAttr(default_factory=dict)

    @property
    def targets(self) -> list[str]:
        """The target columns."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def table_settings(self) -> Settings:
        """How the file is written, as far as the spec says."""
        from dlcli.spec.data.sources.table.reader import Settings

        named = [*self.targets, self.time, self.entity, *self.known, *self.static, *self.drop]
        named += self.features if isinstance(self.features, list) else []
        expected = frozenset(name for name in named if name)
        return Settings(encoding=self.encoding, separator=self.separator, decimal=self.decimal, expected=expected)

    @property
    def marks(self) -> frozenset[str]:
        """The cells that are gaps."""
        from dlcli.spec.data.sources.table.cells import MARKS

        return frozenset(MARKS) | {*self.missing, ""}

    def output(self, quantiles: Sequence[float]) -> Forecasts:
        """Returns the output type of forecasts of this source."""
        return Forecasts(self.horizon, self.targets, quantiles)

    def measured(self, columns: list[str]) -> list[str]:
        """Returns the measured columns of a file that the model reads: the targets first."""
        if isinstance(self.features, list):
            others = list(dict.fromkeys(self.features))
        else:
            excluded = {self.time, self.entity, *self.drop, *self.known, *self.static}
            others = [name for name in dict.fromkeys(columns) if name not in excluded]
        return [*self.targets, *(name for name in others if name not in self.targets)]

    def channels(self, columns: list[str]) -> int:
        """Returns the number of channels for the columns of a file."""
        measured = len(self.measured(columns))
        return measured * (3 if self.scale_by_entity else 1) + 2 * len(self.known) + len(self.static)

    def facts(self, task: Task) -> Facts:
        """Returns the shape of a window, by the header of the file, and the number of columns to forecast."""
        header = self._header()
        shape = None if header is None else (self.window, self.channels(header))
        output = task.output
        outputs = len(output.column_names()) if isinstance(output, Forecasts) else None
        return Facts(shape, outputs, (), ("forecast",), self.validation != 0, self.test != 0)

    def _header(self) -> list[str] | None:
        """Returns the columns of the file; None if it cannot be read, which `faults` reports."""
        from dlcli.spec.data.sources.table.reader import look_at

        try:
            return look_at(self.path, self.table_settings).table.names
        except DataError:
            return None

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields settings that contradict each other, a missing file, and columns that it lacks."""
        yield from self._setting_faults()
        if not Path(self.path).is_file():
            yield "path", f"{self.path} is a folder, not a file" if Path(self.path).is_dir() else f"no file {self.path}"
            return
        from dlcli.spec.data.sources.table.reader import look_at, refuse_rows

        try:
            beginning = look_at(self.path, self.table_settings)
            refuse_rows(beginning.faults, len(beginning.table.names))
        except DataError as error:
            yield "path", str(error)
            return
        yield from self._column_faults(beginning.table.names)
        shortest = self.window + self.horizon
        if not beginning.more and len(beginning.rows) < shortest:
            yield "window", f"window and horizon need {shortest} rows; the file has {len(beginning.rows)}"

    def _setting_faults(self) -> Iterator[tuple[str, str]]:
        roles: dict[str, Sequence[str | None]] = {
            "target": self.targets,
            "time": [self.time],
            "entity": [self.entity],
            "known": self.known,
            "static": self.static,
        }
        counts = Counter(name for names in roles.values() for name in names if name)
        for field, names in roles.items():
            for name in dict.fromkeys(name for name in names if name and counts[name] > 1):
                yield field, f"`{name}` is listed twice, as target, time, entity, known or static column"
        if isinstance(self.features, list):
            named = {self.time, self.entity, *self.known, *self.static}
            for name in self.features:
                if name in named:
                    yield "features", f"`{name}` is the time, the entity, known or static; it is no measured column"
        if self.known and self.window < self.horizon:
            yield "window", f"known columns need a window of at least the horizon, {self.horizon}"
        shares = [share for share in (self.validation, self.test) if isinstance(share, float)]
        if sum(shares) >= 1:
            yield "test", f"the shares of test and validation are {sum(shares):g}, which leaves no training rows"

    def _column_faults(self, header: list[str]) -> Iterator[tuple[str, str]]:
        from dlcli.spec.messages import nearest

        roles: dict[str, Sequence[str | None]] = {
            "target": self.targets,
            "time": [self.time],
            "entity": [self.entity],
            "features": self.features if isinstance(self.features, list) else [],
            "drop": self.drop,
            "known": self.known,
            "static": self.static,
        }
        for field, names in roles.items():
            for name in (name for name in names if name and name not in header):
                near = nearest(name, header)
                guess = f"did you mean `{near}`?" if near else f"it has {', '.join(header[:20])}"
                yield field, f"the file has no column `{name}`; {guess}"

    def resolved(self) -> Series:
        """Returns the source with the season of its time steps.

        Raises:
            DataError: the file cannot be read.
        """
        if self.season != "auto":
            return self
        from dlcli.spec.data.sources.series_rows import read_rows

        return self.model_copy(update={"season": read_rows(self).steps.season})

    def stored_bytes(self) -> int | None:
        """Returns the size of the file."""
        return file_bytes([self.path])

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> Series:
        """Returns the source of another file, all of whose windows are read; series are scaled as in the run's own file."""
        other = self.model_copy(update={"path": path, "validation": 0, "test": 0, "end": None})
        if self.scale_by_entity:
            from dlcli.spec.data.sources.series_windows import training_scales

            other._scales = training_scales(self)
        return other

    def open(self, request: Request) -> Opened:
        """Returns the windows of each split.

        Raises:
            DataError: the file cannot be read, has cells that are no numbers, or is too short for a split.
        """
        from dlcli.spec.data.sources.series_windows import open_series

        assert isinstance(request.task.output, Forecasts)
        return open_series(self, request.task.output, self._scales)
