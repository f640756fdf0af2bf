"""Large tables in Parquet files, read as typed columns without texts for each cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PrivateAttr

from dlcli.errors import DataError
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.spec.base import Count
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, file_bytes, with_dropped
from dlcli.spec.data.sources.column_kinds import CATEGORY, NUMBER, TEXT
from dlcli.spec.data.sources.labels import label_notes
from dlcli.spec.data.sources.named_columns import input_faults, lacking_columns, listed_twice, text_faults
from dlcli.spec.data.sources.parquet_columns import ColumnPlan
from dlcli.spec.data.sources.parquet_files import NUMBERS, TEXTS, ParquetFiles, is_number, look_at_files, matching_files
from dlcli.spec.data.sources.row_ids import RowIds
from dlcli.spec.data.sources.row_storage import LargeTable
from dlcli.spec.paths import FilePath
from dlcli.tasks import TASKS, Task, names_of
from dlcli.visible import listed

Share = Annotated[float, Field(ge=0, lt=1)]


class Parquet(SourceSpec):
    """Large tables in Parquet: one file, a folder of files, or a pattern such as `rows-*.parquet`.

    The types of the columns are those of the files: numbers are numbers, texts and truth values are categories, except the
    columns that `text` lists. The files are read once, one row group after another: into memory, or into a file in
    `runs/.pixels` from which batches are read (`data.cache`). Validation and test rows are chosen by a hash of the row's
    number, so that they stay the same when rows are appended.
    """

    stores_rows: ClassVar[bool] = True
    kind: Literal["parquet"]
    path: FilePath = Field(description="Parquet file, folder of Parquet files, or pattern.")
    test: Share | FilePath = Field(default=0.2, description="Share of the rows for the test split, or other files with them.")
    validation: Share | FilePath = Field(
        default=0.1, description="Share of the rows for the validation split, or other files with them."
    )
    target: str | list[str] = Field(
        description="Column with the label; a list for multilabel, or for several targets of a regression."
    )
    features: Literal["all"] | list[str] = Field(default="all", description="Input columns; `all`: all except the target.")
    drop: list[str] = Field(default=[], description="Columns to exclude from `all`.")
    categorical: list[str] = Field(default=[], description="Numeric columns that are categories, such as class numbers.")
    text: list[str] = Field(
        default=[], description="Columns of texts, which `model.kind: sequence` reads as tokens; they are kept in memory."
    )
    max_categories: Count = Field(
        default=200, description="Largest number of values of a category column; columns with more are refused."
    )
    missing_target: Literal["stop", "drop"] = Field(
        default="stop", description="For rows without a target: `stop` refuses them; `drop` removes and counts them."
    )
    _known_classes: tuple[str, ...] = PrivateAttr(default=())

    @property
    def targets(self) -> list[str]:
        """The target columns."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def files(self) -> dict[str, str]:
        """The files of each part that has its own."""
        paths = {"train": self.path, "validation": self.validation, "test": self.test}
        return {part: path for part, path in paths.items() if isinstance(path, str)}

    @property
    def draws_parts(self) -> bool:
        """Whether `validation` or `test` is a share of the rows."""
        return any(isinstance(share, float) and share > 0 for share in (self.validation, self.test))

    def feature_names(self, files: ParquetFiles) -> list[str]:
        """Returns the columns that the model sees."""
        if isinstance(self.features, list):
            return list(dict.fromkeys(self.features))
        return [name for name in files.types if name not in {*self.targets, *self.drop}]

    def facts(self, task: Task) -> Facts:
        """Returns the number of outputs, where the targets determine it, and which splits there are."""
        outputs = len(self.targets) if task.output.reads_columns else None
        tasks = names_of(reads_columns=True) if len(self.targets) > 1 else tuple(TASKS)
        return Facts(None, outputs, (), tasks, self.validation != 0, self.test != 0, columns=True, texts=bool(self.text))

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields missing files, columns that they lack, and columns of types that are no single values."""
        shares = [share for share in (self.test, self.validation) if isinstance(share, float)]
        if sum(shares) >= 1:
            yield "test", f"the shares of test and validation are {sum(shares):g}, which leaves no training rows"
        features: list[str] = []
        for part, path in self.files.items():
            key = "path" if part == "train" else part
            try:
                files = look_at_files(path)
            except DataError as error:
                yield key, str(error)
                continue
            if part == "train":
                features = self.feature_names(files)
                yield from self._column_faults(files, features)
            else:
                lacking = [name for name in (*features, *self.targets) if name not in files.types]
                if lacking:
                    yield key, f"{path}: no column {listed([f'`{name}`' for name in lacking])}"

    def _column_faults(self, files: ParquetFiles, features: list[str]) -> Iterator[tuple[str, str]]:
        kinds = {"categorical": self.categorical, "text": self.text}
        named = {"target": self.targets, "drop": self.drop, **kinds}
        named |= {"features": self.features} if isinstance(self.features, list) else {}
        yield from lacking_columns("the file", list(files.types), named)
        yield from input_faults(features, self.targets)
        yield from text_faults(self.text, files.types, features)
        yield from listed_twice(kinds)
        for name in features:
            kind = files.types.get(name, "string")
            if not kind.startswith((*NUMBERS, *TEXTS)):
                yield "drop", f"column `{name}` holds {kind}, which is neither numbers nor text; list it in `drop`"

    def notes(self) -> Iterator[str]:
        """Yields the size of the training files."""
        if next(self.faults(), None) is None:
            files = look_at_files(self.path)
            yield f"table: {files.describe()}"

    def large_table(self) -> LargeTable | None:
        """Returns what decides where the rows are kept; None if the files cannot be read, which `faults` reports."""
        if next(self.faults(), None) is not None:
            return None
        return self._large_table()

    def _large_table(self) -> LargeTable:
        """Returns the rows of all files as one table."""
        tables = [self.column_plan(look_at_files(path), path).table() for path in self.files.values()]
        sums = {name: sum(getattr(table, name) for table in tables) for name in ("rows", "size", "training_bytes")}
        return replace(tables[0], **sums)

    def stored_bytes(self) -> int | None:
        """Returns the size of the files."""
        return file_bytes(name for path in self.files.values() for name in matching_files(path))

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> Parquet:
        """Returns the source of other files, all of whose rows are read; they may lack columns that are dropped."""
        other = self.model_copy(update={"path": path, "test": 0.0, "validation": 0.0})
        header = other.side_columns()
        other = other.model_copy(update={"drop": [name for name in self.drop if header is None or name in header]})
        other._known_classes = classes
        return other

    def column_plan(self, files: ParquetFiles, path: str) -> ColumnPlan:
        """Returns how the input columns of files are read.

        Args:
            files: the files.
            path: their path, for messages.
        """
        kinds = {name: self.kind_of(files, name) for name in self.feature_names(files)}
        return ColumnPlan(path, files, kinds, self.max_categories)

    def kind_of(self, files: ParquetFiles, name: str) -> ColumnKind:
        """Returns the kind of a column."""
        if name in self.text:
            return TEXT
        return NUMBER if is_number(files.types[name]) and name not in self.categorical else CATEGORY

    def side_columns(self) -> tuple[str, ...] | None:
        """Returns the columns of the training files; None if they cannot be read, which `faults` reports."""
        try:
            return tuple(look_at_files(self.path).types)
        except DataError:
            return None

    def without_inputs(self, columns: tuple[str, ...]) -> Parquet:
        """Returns the source that drops these columns, unless `features`, `categorical` or `text` lists them."""
        return with_dropped(self, columns, [*self.categorical, *self.text])

    def open(self, request: Request) -> Opened:
        """Returns the rows of every part as columns in the dtypes of their kinds.

        Raises:
            DataError: a file cannot be read, a label is missing, a column has too many categories, or the memory is too small.
        """
        from dlcli.spec.data.sources.parquet_parts import part_of_rows
        from dlcli.spec.data.sources.parquet_rows import ParquetRows
        from dlcli.spec.data.sources.table.facts import summary

        classes: tuple[str, ...] | None = self._known_classes or None
        parts: dict[str, Examples] = {}
        notes, first = list[str](), None
        in_memory = request.storage is None or request.storage.is_in_memory(self._large_table())
        for part, path in self.files.items():
            rows = ParquetRows(self, path, None if in_memory else request.storage)
            first = first or rows
            targets, names = rows.targets(request.task, classes)
            classes = classes or names
            notes += [note if part == "train" else f"{path}: {note}" for note in rows.notes]
            shares = {name: getattr(self, name) for name in ("test", "validation") if part == "train"}
            side_columns = rows.side_columns(request.side_columns)
            for name, places in part_of_rows(rows.numbers, shares, request.seed, part).items():
                side = {column: values[places] for column, values in side_columns.items()}
                numbers = rows.numbers[places]
                parts[name] = Examples(rows.columns.inputs(numbers), targets[places], RowIds(name, numbers), side)
        assert first is not None
        names = classes or tuple(self.targets)
        notes += label_notes(names) if not request.task.output.reads_columns else []
        facts = first.facts()
        lines = (f"table: {first.files.describe()}", f"columns: {summary(facts)}")
        order = [part for part in ("train", "validation", "test") if part in parts]
        column_facts = [fact.as_json() for fact in facts]
        return Opened({part: parts[part] for part in order}, names, tuple(notes), lines, column_facts=column_facts)
