"""Large tables in Parquet files, read as typed columns without texts for each cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from dlcli.errors import DataError
from dlcli.spec.base import Count
from dlcli.spec.data.sizes import size_in_words
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, file_bytes, label_notes, labels_of
from dlcli.spec.data.sources.parquet_files import (
    NumberValues,
    ParquetFiles,
    TextValues,
    batches,
    look_at_files,
    matching_files,
    side_array,
)
from dlcli.spec.data.sources.row_ids import RowIds
from dlcli.spec.paths import FilePath
from dlcli.tasks import TASKS, Task, names_of
from dlcli.visible import listed

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.spec.data.sources.table.facts import ColumnFact

Share = Annotated[float, Field(ge=0, lt=1)]
_NUMBERS = ("int", "uint", "float", "double", "halffloat", "decimal")
_TEXTS = ("string", "large_string", "bool", "dictionary")
_SHARE = 0.25
"""Share of the free memory that the columns may take: a training needs a few times their size."""
_NUMBER_BYTES, _TEXT_BYTES, _TARGET_BYTES = 4, 12, 16


class Parquet(SourceSpec):
    """Large tables in Parquet: one file, a folder of files, or a pattern such as `rows-*.parquet`.

    The types of the columns are those of the files: numbers are numbers, texts and truth values are categories. The files are
    read once, one row group after another, into columns of 4 bytes for each number; tables that would take more than a
    quarter of the free memory are refused with numbers. Validation and test rows are chosen by a hash of the row's number,
    so that they stay the same when rows are appended.
    """

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
        return Facts(None, outputs, (), tasks, self.validation != 0, self.test != 0, columns=True)

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
        from dlcli.spec.messages import nearest

        named = {"target": self.targets, "drop": self.drop, "categorical": self.categorical}
        named |= {"features": self.features} if isinstance(self.features, list) else {}
        for field, names in named.items():
            for name in (name for name in names if name not in files.types):
                near = nearest(name, list(files.types))
                guess = f"did you mean `{near}`?" if near else f"it has {listed(list(files.types))}"
                yield field, f"the file has no column `{name}`; {guess}"
        if not features:
            yield "features", "there is no input column"
        if both := [name for name in self.targets if name in features]:
            yield "features", f"`{both[0]}` is the target; it cannot be an input"
        for name in features:
            kind = files.types.get(name, "string")
            if not kind.startswith((*_NUMBERS, *_TEXTS)):
                yield "drop", f"column `{name}` holds {kind}, which is neither numbers nor text; list it in `drop`"

    def notes(self) -> Iterator[str]:
        """Yields the size of the training files."""
        if next(self.faults(), None) is None:
            files = look_at_files(self.path)
            yield f"table: {files.describe()}; its columns take {size_in_words(self._bytes(files))} in memory"

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

    def _bytes(self, files: ParquetFiles) -> int:
        """Returns the bytes of the columns in memory."""
        texts = sum(self._is_text(files, name) for name in self.feature_names(files))
        numbers = len(self.feature_names(files)) - texts
        return files.rows * (_NUMBER_BYTES * numbers + _TEXT_BYTES * texts + _TARGET_BYTES * len(self.targets))

    def _is_text(self, files: ParquetFiles, name: str) -> bool:
        return name in self.categorical or not files.types[name].startswith(_NUMBERS)

    def side_columns(self) -> tuple[str, ...] | None:
        """Returns the columns of the training files; None if they cannot be read, which `faults` reports."""
        try:
            return tuple(look_at_files(self.path).types)
        except DataError:
            return None

    def without_inputs(self, columns: tuple[str, ...]) -> Parquet:
        """Returns the source that drops these columns, unless `features` or `categorical` lists them."""
        header = self.side_columns() or ()
        dropped = [name for name in columns if name in header and name not in (*self.drop, *self.categorical)]
        return self if self.features != "all" else self.model_copy(update={"drop": [*self.drop, *dropped]})

    def open(self, request: Request) -> Opened:
        """Returns the rows of every part as columns in the dtypes of their kinds.

        Raises:
            DataError: a file cannot be read, a label is missing, a column has too many categories, or the memory is too small.
        """
        from dlcli.spec.data.sources.parquet_parts import part_of_rows
        from dlcli.spec.data.sources.table.facts import summary

        classes: tuple[str, ...] | None = self._known_classes or None
        parts: dict[str, Examples] = {}
        notes, first = list[str](), None
        for part, path in self.files.items():
            rows = _Rows(self, path)
            first = first or rows
            targets, names = rows.targets(request.task, classes)
            classes = classes or names
            notes += [note if part == "train" else f"{path}: {note}" for note in rows.notes]
            shares = {name: getattr(self, name) for name in ("test", "validation") if part == "train"}
            side_columns = rows.side_columns(request.side_columns)
            for name, places in part_of_rows(rows.numbers, shares, request.seed, part).items():
                side = {column: values[places] for column, values in side_columns.items()}
                parts[name] = Examples(rows.inputs(places), targets[places], RowIds(name, rows.numbers[places]), side)
        assert first is not None
        names = classes or tuple(self.targets)
        notes += label_notes(names) if not request.task.output.reads_columns else []
        facts = first.facts()
        lines = (f"table: {first.files.describe()}", f"columns: {summary(facts)}")
        order = [part for part in ("train", "validation", "test") if part in parts]
        column_facts = [fact.as_json() for fact in facts]
        return Opened({part: parts[part] for part in order}, names, tuple(notes), lines, column_facts=column_facts)


class _Rows:
    """The rows of some files in memory.

    Attributes:
        files: the files.
        numbers: the number of each row in the files, from 0, int64 `(n,)`.
        notes: what was left out.
    """

    def __init__(self, source: Parquet, path: str) -> None:
        import numpy as np

        self._path, self._source, self.files, self.notes = path, source, look_at_files(path), list[str]()
        self._names = source.feature_names(self.files)
        self._refuse_larger(path)
        rows = self.files.rows
        if not rows:
            raise DataError(f"{path}: no rows")
        self._columns: dict[str, NumberValues | TextValues] = {
            name: TextValues(rows, source.max_categories) if source._is_text(self.files, name) else NumberValues(rows)
            for name in self._names
        }
        self._targets: dict[str, NumberValues | TextValues] = {
            name: NumberValues(rows, "float64") if self.files.types[name].startswith(_NUMBERS) else TextValues(rows, rows)
            for name in source.targets
        }
        self._fill(path)
        self._kept = self._with_target(path)
        self.numbers: Array = np.flatnonzero(self._kept)

    def _refuse_larger(self, path: str) -> None:
        """Raises DataError if the columns take more than their share of the memory."""
        from dlcli.runtime.free_memory import free_memory

        size, free = self._source._bytes(self.files), free_memory()
        if size > _SHARE * free:
            most = int(_SHARE * free / (size / self.files.rows))
            raise DataError(
                f"{path}: {self.files.rows:,} rows of {len(self._names):,} columns take {size_in_words(size)} in memory;"
                f" {size_in_words(free)} are free, of which {size_in_words(_SHARE * free)} may be used: about {most:,} rows"
                " would fit; name fewer columns in `features`, or fewer files in `path`"
            )

    def _fill(self, path: str) -> None:
        columns, start = {**self._columns, **self._targets}, 0
        for batch in batches(self.files, list(columns)):
            for name, values in columns.items():
                values.fill(start, batch.column(name))
                if isinstance(values, TextValues) and values.is_full:
                    raise DataError(
                        f"{path}: column `{name}` has more than {self._source.max_categories:,} different values in the first"
                        f" {start + batch.num_rows:,} rows, too many for a category; list it in `data.source.drop`, or raise"
                        " `data.source.max_categories`"
                    )
            start += batch.num_rows
        self._refuse_infinite(path)

    def _refuse_infinite(self, path: str) -> None:
        import numpy as np

        for name, column in {**self._columns, **self._targets}.items():
            if isinstance(column, NumberValues) and np.isinf(column.values).any():
                row = int(np.isinf(column.values).argmax())
                raise DataError(f"{path}: column `{name}` contains a number in row {row} that is infinite or too large")

    def _with_target(self, path: str) -> Array:
        """Returns which rows have all targets, as bool `(n,)`.

        Raises:
            DataError: some rows have none, and `missing_target` is `stop`.
        """
        import numpy as np

        kept = np.ones(self.files.rows, dtype=bool)
        for column in self._targets.values():
            if isinstance(column, NumberValues):
                kept &= ~np.isnan(column.values)
            elif "" in column.texts:
                kept &= column.numbers != column.texts.index("")
        gaps = int((~kept).sum())
        if not gaps:
            return kept
        words = f"{gaps:,} of {len(kept):,} rows have no value in the target column ({', '.join(self._source.targets)})"
        if self._source.missing_target == "stop" or gaps == len(kept):
            first = int(kept.argmin())
            raise DataError(
                f"{path}: {words}, the first is row {first} (from 0); set `data.source.missing_target: drop` to leave them out"
            )
        self.notes.append(f"{words} and are left out")
        return kept

    def targets(self, task: Task, classes: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
        """Returns the targets of the rows that have one, and the names of the classes, as `labels_of` does."""
        import numpy as np

        column = next(iter(self._targets.values()))
        if not isinstance(column, TextValues) or task.output.reads_columns or not task.output.is_row:
            return labels_of(self._labels(task), task, classes, self._path)
        rows = column.numbers[self._kept]
        present = np.unique(rows)
        numbers, names = labels_of(np.array(column.texts, dtype=object)[present], task, classes, self._path)
        number = np.zeros(len(column.texts), numbers.dtype)
        number[present] = numbers
        return number[rows], names

    def _labels(self, task: Task) -> Array:
        """Returns the labels of the rows that have a target, as `labels_of` takes them."""
        import numpy as np

        columns = [
            column.values if isinstance(column, NumberValues) else _texts(column, task) for column in self._targets.values()
        ]
        if len(columns) == 1 and not task.output.reads_columns:
            return columns[0][self._kept]
        return np.stack([column[self._kept] for column in columns], axis=1)

    def inputs(self, places: Array) -> Any:
        """Returns the columns of the rows at some places of `numbers`."""
        from dlcli.runtime.inputs import TableColumns
        from dlcli.spec.data.sources.column_kinds import kinds_of

        rows = self.numbers[places]
        columns = {
            name: column.values[rows] if isinstance(column, NumberValues) else column.objects()[rows]
            for name, column in self._columns.items()
        }
        return TableColumns(columns, kinds_of(columns))

    def side_columns(self, names: Sequence[str]) -> dict[str, Array]:
        """Returns the requested columns that the files have, of the rows at `numbers`, as `Examples.side_columns`."""
        import pyarrow as pa

        present = [name for name in names if name in self.files.types]
        table = pa.Table.from_batches(batches(self.files, present)) if present else None
        return {name: side_array(table.column(name))[self.numbers] for name in present} if table is not None else {}

    def facts(self) -> list[ColumnFact]:
        """Returns what each column of the files became."""
        import numpy as np

        from dlcli.spec.data.sources.table.facts import ColumnFact

        facts = []
        for name in self.files.types:
            column = self._columns.get(name)
            if name in self._source.targets:
                facts.append(ColumnFact(name, "target"))
            elif isinstance(column, NumberValues):
                facts.append(ColumnFact(name, "number", None, int(np.isnan(column.values).sum())))
            elif isinstance(column, TextValues):
                gaps = int((column.numbers == column.texts.index("")).sum()) if "" in column.texts else 0
                facts.append(ColumnFact(name, "category", len(column.texts) - (gaps > 0), gaps))
            else:
                why = "data.source.drop" if self._source.features == "all" else "not in data.source.features"
                facts.append(ColumnFact(name, "dropped", why=why))
        return facts


def _texts(column: TextValues, task: Task) -> Array:
    """Returns a target of texts as objects; truth values are 1 and 0 where numbers are needed."""
    import numpy as np

    from dlcli.spec.data.sources.csv_labels import TRUTH

    texts: list[Any] = [TRUTH.get(text, text) for text in column.texts] if task.output.reads_columns else column.texts
    return np.array(texts, dtype=object)[column.numbers]
