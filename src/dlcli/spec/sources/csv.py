"""Tables in CSV files: numbers, categories and missing values."""

from __future__ import annotations

import csv
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


class Csv(SourceSpec):
    """A table with a header line. Columns of numbers are numbers, all others categories; both may have gaps."""

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

    @property
    def targets(self) -> list[str]:
        """The target columns."""
        return [self.target] if isinstance(self.target, str) else self.target

    def facts(self, task: str) -> Facts:
        """Returns the number of targets where they tell the outputs."""
        outputs = len(self.targets) if task in ("multilabel", "regression") else None
        several = len(self.targets) > 1
        tasks = ("multilabel", "regression") if several else ("classification", "binary", "regression", "multilabel")
        return Facts(None, outputs, (), tasks, self.validation is not None, self.test is not None)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields missing files and columns that the header does not have."""
        for key, path in (("path", self.path), ("test", self.test), ("validation", self.validation)):
            if path is not None and not Path(path).is_file():
                yield key, f"no file {path}"
        header = self._header()
        if header is None:
            return
        named = {"target": self.targets, "drop": self.drop, "categorical": self.categorical}
        named |= {"features": self.features} if isinstance(self.features, list) else {}
        for key, columns in named.items():
            for column in columns:
                if column not in header:
                    yield key, f"the file has no column `{column}`{_nearest(column, header)}"

    def _header(self) -> list[str] | None:
        """Returns the column names, or None where the file cannot be read as text."""
        try:
            with Path(self.path).open(encoding="utf-8-sig", newline="") as file:
                return next(csv.reader(file, delimiter=self.separator), [])
        except (OSError, UnicodeDecodeError, csv.Error):
            return None

    def open(self, request: Request) -> Opened:
        """Returns the rows: a mapping of columns, float32 with NaN for gaps, or text with "" for gaps.

        Raises:
            DataError: a file cannot be read, a label is missing, or a column is neither numbers nor few categories.
        """
        tables = {"train": self._read(self.path)}
        tables |= {part: self._read(path) for part, path in (("validation", self.validation), ("test", self.test)) if path}
        names = self._feature_names(list(tables["train"].columns))
        numeric = {name for name in names if self._is_number(tables["train"][name])}
        self._refuse_wide(tables["train"], [name for name in names if name not in numeric])
        classes: tuple[str, ...] | None = None
        parts: dict[str, Examples] = {}
        for part, table in tables.items():
            inputs = {name: _column(table, name, name in numeric) for name in names}
            targets, found = self._targets(table, request.task, classes)
            classes = classes or found
            parts[part] = Examples(inputs, targets, row_ids(part, len(table)))
        return Opened(parts, classes or tuple(self.targets))

    def _feature_names(self, columns: list[str]) -> list[str]:
        if isinstance(self.features, list):
            return self.features
        return [name for name in columns if name not in self.targets and name not in self.drop]

    def _read(self, path: str) -> pd.DataFrame:
        import pandas as pd

        try:
            table = pd.read_csv(path, sep=self.separator, encoding="utf-8-sig", skipinitialspace=True)
        except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise DataError(f"{path}: {error}") from None
        if table.empty:
            raise DataError(f"{path}: no rows below the header")
        return table

    def _is_number(self, column: pd.Series[Any]) -> bool:
        import pandas as pd

        return pd.api.types.is_numeric_dtype(column) and str(column.name) not in self.categorical

    def _refuse_wide(self, table: pd.DataFrame, names: list[str]) -> None:
        for name in names:
            values = table[name].nunique()
            if values > self.max_categories:
                raise DataError(
                    f"{self.path}: column `{name}` has {values} different values in {len(table)} rows, too many for a category;"
                    f" put it under `data.source.drop`, or raise `data.source.max_categories`"
                )

    def _targets(self, table: pd.DataFrame, task: str, classes: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...]]:
        missing = [name for name in self.targets if name not in table.columns]
        if missing:
            raise DataError(f"a file lacks the target column `{missing[0]}`; without labels it can only be predicted on")
        columns = table[self.targets]
        gaps = int(columns.isna().any(axis=1).sum())
        if gaps:
            raise DataError(f"{gaps} rows have no value in the target column ({', '.join(self.targets)})")
        values = columns.to_numpy()
        single = task in ("classification", "binary")
        targets, found = labels_of(values[:, 0] if single else values, task, classes)
        return targets, found or tuple(self.targets)


def _column(table: pd.DataFrame, name: str, is_number: bool) -> Array:
    """Returns one column as float32 with NaN for gaps, or as text with "" for gaps."""
    import pandas as pd

    if name not in table.columns:
        raise DataError(f"a file lacks the column `{name}`")
    column = table[name]
    if is_number:
        return pd.to_numeric(column, errors="coerce").to_numpy(dtype="float32", na_value=float("nan"))
    if pd.api.types.is_numeric_dtype(column):
        column = column.map(lambda value: "" if pd.isna(value) else f"{value:g}")
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy(dtype=object)


def _nearest(word: str, words: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, words, 1)
    return f"; did you mean `{near[0]}`?" if near else f"; it has {', '.join(words[:20])}"
