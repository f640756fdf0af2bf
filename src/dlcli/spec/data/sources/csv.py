"""Tables in files: numbers, categories, dates and missing values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from dlcli.errors import DataError
from dlcli.runtime.column_kinds import CellForm, ColumnKind
from dlcli.spec.base import Count, Spec
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, file_bytes, with_dropped
from dlcli.spec.data.sources.column_kinds import COLUMN_KINDS
from dlcli.spec.data.sources.named_columns import header_guess, input_faults, listed_twice, text_faults
from dlcli.spec.data.sources.row_ids import RowIds
from dlcli.spec.data.sources.table.dates import Part
from dlcli.spec.paths import FilePath
from dlcli.tasks import TASKS, Task, names_of

if TYPE_CHECKING:
    from dlcli.spec.data.sources.table.contents import Table
    from dlcli.spec.data.sources.table.reader import Settings

REVISION = 2
"""The newest rules by which cells are read."""


def _encoding(value: str) -> str:
    from dlcli.spec.data.sources.table.files import encoding_fault

    fault = encoding_fault(value)
    if fault:
        raise PydanticCustomError("encoding", "{found} {fault}", {"found": repr(value), "fault": fault})
    return value


Encoding = Annotated[str, AfterValidator(_encoding)]


def _separator(value: str) -> str:
    if value != "auto" and (len(value) != 1 or value in '"\r\n'):
        raise PydanticCustomError("expected", "expected {what}", {"what": "one character, or `auto`"})
    return value


class DateColumn(Spec):
    """What becomes of a column of dates."""

    parts: Annotated[list[Part], Field(min_length=1)] = Field(
        default=["days"],
        description="Numeric columns to compute; `days`: days since 1970, with the time of day as a fraction.",
    )
    format: str = Field(
        default="auto",
        description="Format as in Python's `strptime`, e.g. `%d/%m/%Y`; `auto`: detected, if only one format fits.",
    )


class Csv(SourceSpec):
    """A table in a file: CSV, TSV and similar text files, also compressed; Parquet; or an Excel sheet.

    Columns of numbers are numbers, all others categories; both may have missing values. Empty cells and the usual
    marks (`NA`, `NaN`, `null`, `None`, ...) are missing values. The format of a file is detected, shown, and may be set.
    """

    has_rows: ClassVar[bool] = True
    kind: Literal["csv"]
    path: FilePath = Field(description="File with the training rows: .csv, .tsv, .csv.gz, .parquet, .xlsx.")
    test: FilePath | None = Field(default=None, description="File with the test rows.")
    validation: FilePath | None = Field(default=None, description="File with the validation rows.")
    target: str | list[str] = Field(
        description="Column with the label; a list for multilabel, or for several targets of a regression."
    )
    features: Literal["all"] | list[str] = Field(default="all", description="Input columns; `all`: all except the target.")
    drop: list[str] = Field(default=[], description="Columns to exclude from `all`.")
    categorical: list[str] = Field(default=[], description="Numeric columns that are categories, such as class numbers.")
    numeric: list[str] = Field(
        default=[],
        description="Columns of numbers that are written with currency signs, percent signs or thousands separators:"
        " $84,835.00 is 84835.",
    )
    text: list[str] = Field(default=[], description="Columns of texts, which `model.kind: sequence` reads as tokens.")
    dates: dict[str, DateColumn] = Field(
        default={}, description="Columns of dates and the numbers to compute from them: `{Date: {parts: [days, month]}}`."
    )
    max_categories: Count = Field(
        default=200, description="Largest number of values of a category column; columns with more are refused."
    )
    encoding: Encoding = Field(
        default="auto", description="Text encoding, e.g. `latin-1`; `auto`: UTF-8, or UTF-16 if the first bytes show it."
    )
    separator: Annotated[str, AfterValidator(_separator)] = Field(
        default="auto",
        description="Separator of columns; a space means any number of spaces; `auto`: detected in each file.",
    )
    decimal: Literal["auto", ".", ","] = Field(
        default="auto", description="Decimal separator of numbers; `auto`: detected in each file."
    )
    thousands: Literal[",", ".", " ", "'"] | None = Field(
        default=None, description="Thousands separator, as in 1,234,567; none if not set."
    )
    header: Literal["auto"] | bool = Field(
        default="auto",
        description=(
            "Whether the first row is a header; `auto`: it must look like one. `false`: the columns are named column_1, ..."
        ),
    )
    names: list[str] = Field(default=[], description="Column names, in order, for a file without a header.")
    skip_lines: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Number of lines above the table; if not set, blank lines, comments (#) and titles are detected.",
    )
    sheet: str | None = Field(default=None, description="Sheet of an Excel workbook; the first sheet with cells if not set.")
    missing: list[str] = Field(default=[], description="Additional marks of missing values, e.g. `?`.")
    not_missing: list[str] = Field(
        default=[],
        description="Usual marks of missing values that are values in this table, e.g. a class called `None` or `NA`.",
    )
    missing_target: Literal["stop", "drop"] = Field(
        default="stop",
        description="For rows without a target: `stop` refuses them; `drop` removes and counts them.",
    )
    reader: Literal["auto", 1, 2] = Field(
        default="auto",
        description=(
            "Revision of the rules for reading cells. 1, of earlier versions: whitespace at the end of a cell belongs to it,"
            " and 3.0 and 3 are two categories. `auto`: the newest, 2."
        ),
    )

    @property
    def targets(self) -> list[str]:
        """The target columns."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def files(self) -> dict[str, str]:
        """The file of each given part."""
        paths = {"train": self.path, "validation": self.validation, "test": self.test}
        return {part: path for part, path in paths.items() if path is not None}

    @property
    def revision(self) -> int:
        """The revision of the rules by which cells are read."""
        return REVISION if self.reader == "auto" else self.reader

    @property
    def marks(self) -> frozenset[str]:
        """The cells that are gaps."""
        from dlcli.spec.data.sources.table.cells import MARKS

        return (frozenset(MARKS) - set(self.not_missing)) | {*self.missing, ""}

    @property
    def settings(self) -> Settings:
        """How its files are written, as far as the spec says."""
        from dlcli.spec.data.sources.table.cells import normalized
        from dlcli.spec.data.sources.table.reader import Settings

        expected = [*self.targets, *self.drop, *chain.from_iterable(self._kind_settings().values()), *self.dates]
        expected += self.features if isinstance(self.features, list) else []
        header = True if self.header == "auto" and self.revision == 1 else None
        return Settings(
            encoding=self.encoding,
            separator=self.separator,
            decimal={",": ".", ".": ",", None: "auto"}.get(self.thousands, "auto") if self.decimal == "auto" else self.decimal,
            header=header if self.header == "auto" else self.header,
            names=tuple(map(normalized, self.names)),
            skip_lines=self.skip_lines,
            sheet=self.sheet,
            expected=frozenset(normalized(name) if self.revision > 1 else name for name in expected if name),
            targets=tuple(self.targets),
            strip=self.revision > 1,
        )

    def named(self, names: list[str], columns: list[str]) -> list[str]:
        """Returns the columns that names in the spec refer to; "" is the only column without a name."""
        from dlcli.spec.data.sources.table.cells import normalized

        if not names:
            return []
        nameless = [column for column in columns if column.startswith("Unnamed: ")]
        only = nameless[0] if len(nameless) == 1 else ""
        return [only or name if not name else normalized(name) if self.revision > 1 else name for name in names]

    def _kind_settings(self) -> dict[str, list[str]]:
        """Returns the columns that each field for a kind of column lists, by the field's name."""
        return {kind.setting: list(getattr(self, kind.setting)) for kind in COLUMN_KINDS.values() if kind.setting}

    def kinds_set(self, columns: list[str]) -> dict[str, ColumnKind]:
        """Returns the kinds of the columns of a file for which the spec sets one."""
        kinds = {kind.setting: kind for kind in COLUMN_KINDS.values()}
        return {column: kinds[field] for field, names in self._kind_settings().items() for column in self.named(names, columns)}

    def form(self, decimal: str, *, decorated: bool) -> CellForm:
        """Returns how a file with this decimal mark writes the cells of a column."""
        return CellForm(decimal, self.thousands, decorated, self.revision)

    def resolved(self) -> Csv:
        """Returns the source with what its training file decides for other files: names of columns, formats of dates.

        Raises:
            DataError: the file cannot be read, or no single format fits its dates.
        """
        from dlcli.spec.data.sources.table.reader import look_at

        update: dict[str, Any] = {"reader": self.revision}
        if self.header is False and not self.names and Path(self.path).is_file():
            update["names"] = look_at(self.path, self.settings).table.names
        if any(date.format == "auto" for date in self.dates.values()):
            from dlcli.spec.data.sources.csv_columns import date_formats

            update["dates"] = date_formats(self)
        return self.model_copy(update=update)

    def of_run(self) -> Csv:
        """Returns the source as a run recorded it; a run of a version without revisions reads by revision 1."""
        return self if "reader" in self.model_fields_set else self.model_copy(update={"reader": 1})

    def facts(self, task: Task) -> Facts:
        """Returns the number of outputs, where the targets determine it."""
        outputs = len(self.targets) if task.output.reads_columns else None
        several = len(self.targets) > 1
        tasks = names_of(reads_columns=True) if several else tuple(TASKS)
        parts = (self.validation is not None, self.test is not None)
        return Facts(None, outputs, (), tasks, *parts, columns=True, texts=bool(self.text))

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields missing files, columns that a header lacks, and columns that cannot be categories."""
        from dlcli.spec.data.sources.table.reader import look_at, no_header, refuse_rows

        yield from self._setting_faults()
        features: list[str] = []
        for part, path in self.files.items():
            key = "path" if part == "train" else part
            if part != "train" and path == self.path:
                yield key, "is the training file itself, so its score would be meaningless"
            if not Path(path).is_file():
                yield key, f"{path} is a folder, not a file" if Path(path).is_dir() else f"no file {path}"
                continue
            try:
                beginning = look_at(path, self.settings)
                table = beginning.table
                refuse_rows(beginning.faults, len(table.names))
            except DataError as error:
                yield "header" if no_header("")[:10] in str(error) else key, str(error)
                continue
            others = [f" ({note})" for note in table.notes if "`data.source.sheet`" in note]
            faults = [(field, message + "".join(others)) for field, message in self._header_faults(key, table.names)]
            if not beginning.count and not faults:
                faults.append((key, "no rows below the header" if table.dialect.header else "no rows"))
            yield from faults
            if key == "path":
                features = self.feature_names(table.names)
            elif not faults:
                yield from _lacking(key, features, table.names)
            if key == "path" and not faults:
                from dlcli.spec.data.sources.csv_columns import wide_columns

                yield from wide_columns(self)

    def _setting_faults(self) -> Iterator[tuple[str, str]]:
        if len(set(self.targets)) < len(self.targets):
            yield "target", "a column is listed twice"
        if self.thousands and self.thousands == self.decimal:
            yield "thousands", f"is also the decimal separator, {self.decimal!r}"
        if len(set(self.names)) < len(self.names):
            yield "names", f"`{Counter(self.names).most_common(1)[0][0]}` is listed twice"
        yield from listed_twice(self._kind_settings())
        for field, names in {"categorical": self.categorical, "text": self.text}.items():
            for name in names:
                if name in self.dates and name not in self.numeric:
                    yield field, f"`{name}` is listed as a date too"

    def _header_faults(self, key: str, header: list[str]) -> Iterator[tuple[str, str]]:
        named = {"target": self.targets, "features": [] if self.features == "all" else list(self.features)}
        if key == "path":
            named |= {"drop": self.drop, **self._kind_settings(), "dates": list(self.dates)}
        yield from self._doubled(key, header)
        columns = set(header)
        for field, names in named.items():
            for name, column in zip(names, self.named(names, header), strict=True):
                if column not in columns:
                    place = field if key == "path" else key
                    yield place, f"the file has no column `{name}`; {header_guess(name, header, auto=self.separator == 'auto')}"
        if key == "path":
            inputs = self.feature_names(header)
            yield from input_faults(inputs, self.named(self.targets, header))
            yield from text_faults(self.named(self.text, header), header, inputs)

    def _doubled(self, key: str, header: list[str]) -> Iterator[tuple[str, str]]:
        """Yields the columns that are used and appear twice in a header."""
        twice = [name for name, count in Counter(header).items() if count > 1]
        used = {*self.feature_names(header), *self.named(self.targets, header)}
        twice = [name for name in twice if name in used]
        if twice:
            listed = ", ".join(f"`{name}`" for name in twice[:20])
            word = "column" if len(twice) == 1 else "columns"
            yield key, f"the header has the {word} {listed} twice; drop them, or name all columns by `header: true` and `names`"

    def notes(self) -> Iterator[str]:
        """Yields how the training file is written, and notes on its columns by its first rows."""
        from dlcli.spec.data.sources.csv_columns import outlook

        yield from outlook(self)

    def stored_bytes(self) -> int | None:
        """Returns the size of the files of all parts."""
        return file_bytes(self.files.values())

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> Csv:
        """Returns the source with another file of test rows; the training file still decides the types of columns."""
        return self.model_copy(update={"test": path, "validation": None})

    def feature_names(self, columns: list[str]) -> list[str]:
        """Returns the columns of a file that the model sees."""
        if isinstance(self.features, list):
            return list(dict.fromkeys(self.named(self.features, columns)))
        excluded = {*self.named(self.targets, columns), *self.named(self.drop, columns)}
        return [name for name in dict.fromkeys(columns) if name not in excluded]

    def side_columns(self) -> tuple[str, ...] | None:
        """Returns the columns of the training file."""
        from dlcli.spec.data.sources.csv_side import header_of

        return header_of(self)

    def without_inputs(self, columns: tuple[str, ...]) -> Csv:
        """Returns the source that drops these columns, unless a field lists them as inputs, dates or columns of a kind."""
        return with_dropped(self, columns, {*chain.from_iterable(self._kind_settings().values()), *self.dates})

    def open(self, request: Request) -> Opened:
        """Returns the rows as columns in the dtypes of their kinds.

        Raises:
            DataError: a file cannot be read, a label is missing, or a column is neither numbers nor few categories.
        """
        from dlcli.runtime.inputs import TableColumns
        from dlcli.spec.data.sources.csv_columns import Columns
        from dlcli.spec.data.sources.csv_labels import class_notes, labels, with_targets
        from dlcli.spec.data.sources.csv_rows import ignored_columns
        from dlcli.spec.data.sources.csv_side import side_values

        tables, notes, part_notes = {}, list[str](), dict[str, tuple[str, ...]]()
        for part, path in self.files.items():
            table = self.table(path)
            tables[part], target_notes = with_targets(self, table)
            where = "" if part == "train" else f"{path}: "
            ignored = ignored_columns(self, table.names, tables["train"].names)
            part_notes[part] = (*table.notes, *ignored, *target_notes)
            notes += [where + note for note in part_notes[part]]
        columns = Columns.of(self, tables["train"], request.column_kinds)
        classes: tuple[str, ...] | None = None
        parts: dict[str, Examples] = {}
        for part, table in tables.items():
            targets, classes = labels(self, table, request.task, classes)
            ids = RowIds(part, table.numbers - 1, is_whole=False)
            inputs, side_columns = (
                TableColumns(columns.read(table), columns.kinds),
                side_values(self, table, request.side_columns),
            )
            parts[part] = Examples(inputs, targets, ids, side_columns)
        names = classes or tuple(self.targets)
        notes += [
            *columns.notes,
            *(class_notes(names, len(tables["train"])) if not request.task.output.reads_columns else []),
        ]
        lines = (f"table: {tables['train'].described}", f"columns: {columns.summary}")
        return Opened(parts, names, tuple(notes), lines, part_notes, columns.as_json)

    def table(self, path: str) -> Table:
        """Returns a file's cells as text; the training file alone decides the types of columns.

        Raises:
            DataError: it cannot be read, or is no table.
        """
        from dlcli.spec.data.sources.table.contents import read_table

        return read_table(path, self.settings, self.marks, self.targets)


def _lacking(key: str, features: list[str], header: list[str]) -> Iterator[tuple[str, str]]:
    """Yields the columns of the training file that the model sees and another file lacks, in one message."""
    lacking = [name for name in features if name not in header and not name.startswith("Unnamed: ")]
    if lacking:
        listed = ", ".join(f"`{name}`" for name in lacking[:20]) + (", ..." if len(lacking) > 20 else "")
        yield (
            key,
            f"the file has no column {listed}, which is an input in the training file; it has {', '.join(header[:20])}",
        )
