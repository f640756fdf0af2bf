"""Tables in CSV files: numbers, categories and missing values."""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.base import Count
from dlcli.spec.sources.base import Examples, Facts, FilePath, Opened, Request, SourceSpec, labels_of, row_ids

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Array = np.ndarray[Any, Any]
    Column = pd.Series[Any]

_TRUTH = {"true": "1", "True": "1", "TRUE": "1", "false": "0", "False": "0", "FALSE": "0"}
_OTHER_SEPARATORS = (";", "\t", "|", ",")


class Csv(SourceSpec):
    """A table with a header line. Columns of numbers are numbers, all others categories; both may have gaps.

    Empty cells and the usual marks (`NA`, `NaN`, `null`, `None`, ...) are gaps.
    """

    kind: Literal["csv"]
    path: FilePath = Field(description="The file with the training rows.")
    test: FilePath | None = Field(default=None, description="A file with test rows.")
    validation: FilePath | None = Field(default=None, description="A file with validation rows.")
    target: str | list[str] = Field(description="Column with the label; several for multilabel and regression.")
    features: Literal["all"] | list[str] = Field(default="all", description="Columns the model sees; `all` but the target.")
    drop: list[str] = Field(default=[], description="Columns left out of `all`.")
    categorical: list[str] = Field(default=[], description="Columns of numbers that are categories, such as a class number.")
    max_categories: Count = Field(default=200, description="A category column with more values than this is refused.")
    separator: str = Field(default=",", description="Character between columns.", min_length=1, max_length=1)
    decimal: Literal[".", ","] = Field(default=".", description="Character before the decimals of a number.")
    missing: list[str] = Field(default=[], description="Further marks of a gap, such as `?`.")

    @property
    def targets(self) -> list[str]:
        """The target columns."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def files(self) -> dict[str, str]:
        """The file of each given part."""
        given = {"train": self.path, "validation": self.validation, "test": self.test}
        return {part: path for part, path in given.items() if path is not None}

    def facts(self, task: str) -> Facts:
        """Returns the number of targets where they tell the outputs."""
        outputs = len(self.targets) if task in ("multilabel", "regression") else None
        several = len(self.targets) > 1
        tasks = ("multilabel", "regression") if several else ("classification", "binary", "regression", "multilabel")
        return Facts(None, outputs, (), tasks, self.validation is not None, self.test is not None)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields missing files and columns that a header does not have."""
        if len(set(self.targets)) < len(self.targets):
            yield "target", "a column stands twice"
        for part, path in self.files.items():
            key = "path" if part == "train" else part
            if part != "train" and path == self.path:
                yield key, "is the training file itself: its score would say nothing"
            if not Path(path).is_file():
                yield key, f"no file {path}"
            elif (header := self._header(path)) is not None:
                yield from self._header_faults(key, header)

    def _header(self, path: str) -> list[str] | None:
        """Returns the column names, or None where the file cannot be read as text."""
        try:
            with Path(path).open(encoding="utf-8-sig", newline="") as file:
                return next(csv.reader(file, delimiter=self.separator, skipinitialspace=True), [])
        except (OSError, UnicodeDecodeError, csv.Error):
            return None

    def _header_faults(self, key: str, header: list[str]) -> Iterator[tuple[str, str]]:
        twice = [name for name, count in Counter(header).items() if count > 1]
        if twice:
            yield key, f"the header has the column `{twice[0]}` twice"
        if not header:
            yield key, "the file is empty"
            return
        named = {"target": self.targets, "features": [] if self.features == "all" else list(self.features)}
        if key == "path":
            named |= {"drop": self.drop, "categorical": self.categorical}
        columns = set(header)
        for field, names in named.items():
            for name in names:
                if name not in columns:
                    place = field if key == "path" else key
                    yield place, f"the file has no column `{name}`{_nearest(name, header)}"
        if key == "path":
            yield from self._feature_faults(header)

    def _feature_faults(self, header: list[str]) -> Iterator[tuple[str, str]]:
        names = self._feature_names(header)
        seen = [name for name in self.targets if name in names]
        if seen:
            yield "features", f"`{seen[0]}` is the target: a model that sees it has nothing to learn"
        if not names:
            yield "features", "no column is left for the model to see"

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> Csv:
        """Returns the same with another file of test rows; what a column is, the training file still decides."""
        return self.model_copy(update={"test": path, "validation": None})

    def open(self, request: Request) -> Opened:
        """Returns the rows: a mapping of columns, float32 with NaN for gaps, or text with "" for gaps.

        Raises:
            DataError: a file cannot be read, a label is missing, or a column is neither numbers nor few categories.
        """
        tables = {part: self.table(path) for part, path in self.files.items()}
        names = self._feature_names(list(tables["train"].columns))
        numbers = [name for name in names if name not in self.categorical and self._is_number(tables["train"][name])]
        self._refuse_wide(tables["train"], [name for name in names if name not in set(numbers)])
        classes: tuple[str, ...] | None = None
        parts: dict[str, Examples] = {}
        for part, table in tables.items():
            inputs = {name: self._column(table, name, name in set(numbers), self.files[part]) for name in names}
            targets, classes = self._targets(table, request.task, classes, self.files[part])
            parts[part] = Examples(inputs, targets, row_ids(part, len(table)))
        empty = [name for name in numbers if tables["train"][name].isna().all()]
        notes = tuple(f"column `{name}` has no value in any training row" for name in empty)
        return Opened(parts, classes or tuple(self.targets), notes)

    def _feature_names(self, columns: list[str]) -> list[str]:
        if isinstance(self.features, list):
            return list(dict.fromkeys(self.features))
        left_out = {*self.targets, *self.drop}
        return [name for name in columns if name not in left_out]

    def table(self, path: str) -> pd.DataFrame:
        """Returns a file's cells as text, gaps as NaN: what a column is, the training file alone decides."""
        import pandas as pd

        try:
            with warnings.catch_warnings():
                # Rows longer than the header are only warned of, and cut.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                table = pd.read_csv(
                    path,
                    sep=self.separator,
                    encoding="utf-8-sig",
                    skipinitialspace=True,
                    index_col=False,
                    dtype=str,
                    na_values=self.missing,
                )
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
        except (OSError, ValueError, pd.errors.ParserWarning) as error:
            raise DataError(f"{path}: {str(error).strip()}") from None
        if table.empty:
            raise DataError(f"{path}: no rows below the header")
        return table

    def numbers(self, column: Column) -> Column:
        """Returns a column's numbers as float64, NaN where a cell is a gap or no number."""
        import pandas as pd

        text = column.str.replace(",", ".", regex=False) if self.decimal == "," else column
        return pd.to_numeric(text, errors="coerce").astype("float64")

    def _is_number(self, column: Column) -> bool:
        return bool((self.numbers(column).notna() | column.isna()).all())

    def _column(self, table: pd.DataFrame, name: str, is_number: bool, path: str) -> Array:
        """Returns one column as float32 with NaN for gaps, or as text with "" for gaps."""
        import numpy as np

        if name not in table.columns:
            raise DataError(f"{path}: no column `{name}`")
        column = table[name]
        if not is_number:
            return column.fillna("").to_numpy(dtype=object)
        numbers = self.numbers(column)
        wrong = numbers.isna() & column.notna()
        if wrong.any():
            raise DataError(
                f"{path}: column `{name}` is a number in the training file, but holds {column[wrong].iloc[0]!r} here"
            )
        values: Array = numbers.to_numpy(dtype="float64")
        with np.errstate(over="ignore"):
            values = values.astype("float32")
        if np.isinf(values).any():
            raise DataError(f"{path}: column `{name}` holds {column[np.isinf(values)].iloc[0]}, too large or infinite")
        return values

    def _refuse_wide(self, table: pd.DataFrame, names: list[str]) -> None:
        for name in names:
            values = table[name].nunique()
            if values > self.max_categories:
                raise DataError(
                    f"{self.path}: column `{name}` has {values} different values in {len(table)} rows, too many for a category"
                    f"{self._number_hint(table[name])}; put it under `data.source.drop`, or raise `data.source.max_categories`"
                )

    def _number_hint(self, column: Column) -> str:
        """Returns what keeps a column that is mostly numbers from being one."""
        wrong = column[self.numbers(column).isna() & column.notna()]
        if len(wrong) * 2 > len(column) or wrong.empty:
            return ""
        return f" (not all are numbers: {wrong.iloc[0]!r}; if that marks a gap, name it in `data.source.missing`)"

    def _targets(
        self, table: pd.DataFrame, task: str, classes: tuple[str, ...] | None, path: str
    ) -> tuple[Array, tuple[str, ...]]:
        absent = [name for name in self.targets if name not in table.columns]
        if absent:
            raise DataError(f"{path}: no target column `{absent[0]}`; rows without labels can only be predicted on")
        gaps = table[self.targets].isna().any(axis=1)
        if gaps.any():
            raise DataError(
                f"{path}: {int(gaps.sum())} of {len(table)} rows have no value in the target column"
                f" ({', '.join(self.targets)}), the first in row {int(gaps.to_numpy().argmax()) + 1} below the header"
            )
        values = self._target_values(table, task)
        targets, found = labels_of(values, task, classes, path)
        return targets, found or tuple(self.targets)

    def _target_values(self, table: pd.DataFrame, task: str) -> Array:
        """Returns labels as numbers where all are, else as text; true and false are 1 and 0 where numbers are needed."""
        import numpy as np

        columns = [table[name] for name in self.targets]
        if task in ("multilabel", "regression"):
            columns = [column.replace(_TRUTH) for column in columns]
        labels = [self.numbers(column) if self._is_number(column) else column for column in columns]
        values = np.stack([label.to_numpy(dtype=object) for label in labels], axis=1)
        return values if values.shape[1] > 1 else _native(values[:, 0])


def _native(values: Array) -> Array:
    """Returns a column of objects as float64 where it holds numbers, so that classes are sorted as numbers."""
    return values.astype("float64") if isinstance(values[0], float) else values


def _nearest(word: str, words: list[str]) -> str:
    from difflib import get_close_matches

    other = next((one for one in _OTHER_SEPARATORS if len(words) == 1 and one in words[0]), None)
    if other is not None:
        return f"; its header is one column, is the `separator` {other!r}?"
    near = get_close_matches(word, words, 1)
    return f"; did you mean `{near[0]}`?" if near else f"; it has {', '.join(words[:20])}"
