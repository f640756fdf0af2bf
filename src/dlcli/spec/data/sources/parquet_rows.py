"""The rows of Parquet files: their targets in memory, their input columns in memory or on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlcli.errors import DataError
from dlcli.spec.data.sources.labels import labels_of
from dlcli.spec.data.sources.parquet_columns import InputColumns
from dlcli.spec.data.sources.parquet_files import NumberValues, TextValues, batches, is_number, look_at_files, side_array
from dlcli.tasks import Task

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.spec.data.sources.parquet import Parquet
    from dlcli.spec.data.sources.row_storage import RowStorage
    from dlcli.spec.data.sources.table.facts import ColumnFact


class ParquetRows:
    """The rows of some files.

    Attributes:
        files: the files.
        numbers: the number of each row with a target in the files, from 0, uint32 or int64 `(n,)`.
        columns: the input columns.
        notes: what was left out.
    """

    def __init__(self, source: Parquet, path: str, storage: RowStorage | None) -> None:
        import numpy as np

        self._path, self._source, self.files, self.notes = path, source, look_at_files(path), list[str]()
        if not self.files.rows:
            raise DataError(f"{path}: no rows")
        plan = source.column_plan(self.files, path)
        self.columns: InputColumns = plan.read(storage)
        self._targets = self._read_targets()
        self._has_target = self._with_target(path)
        numbers = np.flatnonzero(self._has_target)
        self.numbers: Array = numbers.astype("uint32") if self.files.rows < 2**32 else numbers

    def _read_targets(self) -> dict[str, NumberValues | TextValues]:
        """Returns the target columns."""
        rows, start = self.files.rows, 0
        targets: dict[str, NumberValues | TextValues] = {
            name: NumberValues(rows, "float64") if is_number(self.files.types[name]) else TextValues(rows, rows)
            for name in self._source.targets
        }
        for batch in batches(self.files, list(targets)):
            for name, column in targets.items():
                column.fill(start, batch.column(name))
                if isinstance(column, NumberValues):
                    column.refuse_infinite(start, batch.num_rows, start, f"{self._path}: column `{name}`")
            start += batch.num_rows
        return targets

    def _with_target(self, path: str) -> Array:
        """Returns which rows have all targets, as bool `(n,)`.

        Raises:
            DataError: some rows have none, and `missing_target` is `stop`.
        """
        import numpy as np

        has_target = np.ones(self.files.rows, dtype=bool)
        for column in self._targets.values():
            if isinstance(column, NumberValues):
                has_target &= ~np.isnan(column.values)
            elif "" in column.texts:
                has_target &= column.values != column.texts.index("")
        gaps = int((~has_target).sum())
        if not gaps:
            return has_target
        words = f"{gaps:,} of {len(has_target):,} rows have no value in the target column ({', '.join(self._source.targets)})"
        if self._source.missing_target == "stop" or gaps == len(has_target):
            first = int(has_target.argmin())
            raise DataError(
                f"{path}: {words}, the first is row {first} (from 0); set `data.source.missing_target: drop` to leave them out"
            )
        self.notes.append(f"{words} and are left out")
        return has_target

    def targets(self, task: Task, classes: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
        """Returns the targets of the rows that have one, and the names of the classes, as `labels_of` does."""
        import numpy as np

        column = next(iter(self._targets.values()))
        if not isinstance(column, TextValues) or task.output.reads_columns or not task.output.is_row:
            return labels_of(self._labels(task), task, classes, self._path)
        rows = column.values[self._has_target]
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
            return columns[0][self._has_target]
        return np.stack([column[self._has_target] for column in columns], axis=1)

    def side_columns(self, names: Sequence[str]) -> dict[str, Array]:
        """Returns the requested columns that the files have, of the rows at `numbers`, as `Examples.side_columns`."""
        import pyarrow as pa

        present = [name for name in names if name in self.files.types]
        table = pa.Table.from_batches(batches(self.files, present)) if present else None
        return {name: side_array(table.column(name))[self.numbers] for name in present} if table is not None else {}

    def facts(self) -> list[ColumnFact]:
        """Returns what each column of the files became."""
        from dlcli.spec.data.sources.table.facts import ColumnFact

        features, facts = self._source.feature_names(self.files), []
        for name in self.files.types:
            if name in self._source.targets:
                facts.append(ColumnFact(name, "target"))
            elif name in features:
                kind = self._source.kind_of(self.files, name)
                facts.append(ColumnFact(name, kind.name, *self.columns.fact(name)))
            else:
                why = "data.source.drop" if self._source.features == "all" else "not in data.source.features"
                facts.append(ColumnFact(name, "dropped", why=why))
        return facts


def _texts(column: TextValues, task: Task) -> Array:
    """Returns a target of texts as objects; truth values are 1 and 0 where numbers are needed."""
    import numpy as np

    from dlcli.spec.data.sources.csv_labels import TRUTH

    texts: list[Any] = [TRUTH.get(text, text) for text in column.texts] if task.output.reads_columns else column.texts
    return np.array(texts, dtype=object)[column.values]
