"""Tables of OpenML that scikit-learn fetches: read from its data home, downloaded once."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO, TextIOWrapper
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlparse

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.base import Count
from dlcli.spec.data.sources.base import Facts, Opened, Request, SourceSpec, file_bytes
from dlcli.spec.data.sources.fetched import FetchedSource, most_bytes
from dlcli.spec.data.sources.labels import label_notes, labels_of
from dlcli.spec.paths import FilePath
from dlcli.tasks import TASKS, Task, names_of
from dlcli.visible import listed

if TYPE_CHECKING:
    from dlcli.arrays import Array

_GZIP = 16 + zlib.MAX_WBITS
_API = "api/v1/json/data"
_LARGEST_DESCRIPTION = 100_000_000
_AT_ONCE = 4096
"""Rows that are converted at once."""
_COPIES = 4
"""How many times as much memory as its text a table takes while it is read."""


class Openml(FetchedSource):
    """A table of OpenML: read from scikit-learn's data home, downloaded once by `sklearn.datasets.fetch_openml`.

    The types of the columns are those of OpenML: numeric columns are numbers, nominal and text columns are categories, except
    those that `text` lists. Columns that OpenML marks as row identifiers, or as to be ignored, are no inputs. Sets in sparse
    ARFF are refused.
    """

    kind: Literal["openml"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_(),+.=-]*$")] = Field(
        description="Name of the dataset, such as `credit-g`."
    )
    version: Count = Field(description="Version of the dataset.")
    target: str | list[str] | None = Field(
        default=None,
        description="Column with the label; a list for multilabel, or for several targets of a regression. If not set, the"
        " target that OpenML names.",
    )
    features: Literal["all"] | list[str] = Field(default="all", description="Input columns; `all`: all except the target.")
    drop: list[str] = Field(default=[], description="Columns to exclude from `all`.")
    text: list[str] = Field(default=[], description="Columns of texts, which `model.kind: sequence` reads as tokens.")
    max_categories: Count = Field(
        default=200, description="Largest number of values of a category column; columns with more are refused."
    )
    data_home: FilePath | None = Field(
        default=None,
        description="Folder of scikit-learn's data; if not set, that of the environment variable `SCIKIT_LEARN_DATA`, or"
        " `~/scikit_learn_data`.",
    )

    @property
    def targets(self) -> list[str]:
        """The target columns."""
        if self.target is not None:
            return [self.target] if isinstance(self.target, str) else self.target
        return [column["name"] for column in self._columns() or [] if column.get("is_target") == "true"]

    @property
    def texts(self) -> list[str]:
        """The columns of texts."""
        return self.text

    def header(self) -> tuple[str, ...] | None:
        """Returns the columns of the cached set; None if it is not cached."""
        columns = self._columns()
        return None if columns is None else tuple(column["name"] for column in columns)

    def feature_names(self, header: tuple[str, ...]) -> list[str]:
        """Returns the columns that the model sees."""
        ignored = () if isinstance(self.features, list) else self._ignored()
        return [name for name in super().feature_names(header) if name not in ignored]

    def _ignored(self) -> list[str]:
        """Returns the columns that OpenML marks as no inputs."""
        marks = ("is_ignore", "is_row_identifier")
        return [column["name"] for column in self._columns() or [] if "true" in (column.get(mark) for mark in marks)]

    def facts(self, task: Task) -> Facts:
        """Returns the number of outputs, where the targets determine it."""
        targets = self.targets
        outputs = len(targets) or None if task.output.reads_columns else None
        return Facts(
            None,
            outputs,
            (),
            names_of(reads_columns=True) if targets[1:] else tuple(TASKS),
            columns=True,
            texts=bool(self.text),
        )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields columns that the cached set does not have, and a set that names no target."""
        yield from super().faults()
        if self._columns() is not None and not self.targets:
            yield "target", f"OpenML names no target of the set; it has {listed(list(self.header() or ()))}"

    def notes(self) -> Iterator[str]:
        """Yields that the set is not cached, and the columns that are no inputs."""
        if self._columns() is None:
            yield f"the set {self.name} in version {self.version} is not in {self._folder}; a training downloads it"
        elif (ignored := self._ignored()) and self.features == "all":
            yield f"columns that OpenML marks as no inputs: {listed(ignored)}"

    def resolved(self) -> SourceSpec:
        """Returns the source with the target that OpenML names, if the set is cached."""
        targets: Any = self.targets
        return self if self.target is not None or not targets else self.model_copy(update={"target": _one_or_all(targets)})

    def stored_bytes(self) -> int | None:
        """Returns the size of the cached table."""
        try:
            path = self._table()
        except DataError:
            return None
        return None if path is None else file_bytes([str(path)])

    @property
    def _folder(self) -> Path:
        return self.home / "openml" / "openml.org"

    def _json(self, path: str) -> dict[str, Any]:
        """Returns a cached answer of OpenML; empty if it is not cached.

        Raises:
            DataError: it cannot be understood.
        """
        file = self._folder / f"{path}.gz"
        if not file.is_file():
            return {}
        return _answer(file, file.stat().st_mtime_ns)

    def _number(self) -> int | None:
        """Returns the number that OpenML gave the set; None if it is not cached."""
        names = f"{_API}/list/data_name/{self.name.lower()}/limit/2"
        exact = f"{names}/data_version/{self.version}"
        for path in (exact, f"{exact}/status/deactivated", f"{names}/status/active/"):
            for entry in _entry(self._json(path), "data", "dataset") or []:
                if str(entry.get("version", self.version)) == str(self.version):
                    return int(entry["did"])
        return None

    def _columns(self) -> list[dict[str, Any]] | None:
        """Returns OpenML's descriptions of the columns; None if the set is not cached, or its description is damaged."""
        try:
            number = self._number()
            columns = None if number is None else _entry(self._json(f"{_API}/features/{number}"), "data_features", "feature")
            return None if columns is None else [{**column, "name": str(column["name"])} for column in columns]
        except (DataError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def _description(self) -> dict[str, Any]:
        try:
            number = self._number()
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DataError(f"{self._folder}: the answers of OpenML for {self.name} cannot be understood") from None
        description = {} if number is None else self._json(f"{_API}/{number}").get("data_set_description")
        return description if isinstance(description, dict) else {}

    def _table(self) -> Path | None:
        """Returns the cached table; None if there is none.

        Raises:
            DataError: its place is outside the data home.
        """
        description = self._description()
        places = (urlparse(str(description.get("url", ""))).path.lstrip("/"), f"data/v1/download/{description.get('file_id')}")
        for place in places if description else ():
            if ".." in PurePosixPath(place).parts:
                raise DataError(f"{self._folder}: the table of {self.name} has the place {place!r}")
            if (path := self._folder / f"{place}.gz").is_file():
                return path
        return None

    def open(self, request: Request) -> Opened:
        """Returns all rows as one part.

        Raises:
            DataError: the set is not cached and cannot be downloaded, or cannot be read.
        """
        if self._table() is None or self._columns() is None:
            if request.offline:
                raise self.unavailable(f"version {self.version} is not cached there, and --offline forbids a download")
            self.download("fetch_openml", name=self.name, version=self.version, as_frame=True, parser="liac-arff")
        path, description = self._table(), self._description()
        if path is None or self._columns() is None:
            raise self.unavailable("its download left no table")
        for _, message in self.faults():
            raise DataError(message)
        if "sparse" in str(description.get("format", "")).lower():
            raise DataError(f"the openml set {self.name} is in sparse ARFF, which is not read")
        columns = self._read(path, str(description.get("md5_checksum", "")), request)
        labels = self._labels([columns[name] for name in self.targets], request.task, str(path))
        notes = [*self.notes(), *(label_notes(labels[1]) if not request.task.output.reads_columns else [])]
        return self.opened(columns, labels, request, tuple(notes))

    def _read(self, path: Path, checksum: str, request: Request) -> dict[str, Array]:
        """Returns the columns that are inputs, targets or side columns: numbers, or text objects with None for gaps."""
        from hashlib import md5

        from dlcli.upstream.sklearn import read_arff

        text = _inflated(path, most_bytes(_COPIES))
        if checksum and md5(text, usedforsecurity=False).hexdigest() != checksum:
            raise DataError(f"{path}: its content is not that which OpenML describes; delete the file to download it again")
        try:
            columns, rows = read_arff(TextIOWrapper(BytesIO(text), "utf-8", newline="\n"))
            names = tuple(name for name, _ in columns)
            exact = {*self.targets, *request.side_columns}
            used = {*self.feature_names(names), *exact}
            if lacking := sorted(used - {*names} - {*request.side_columns}):
                raise DataError(f"{path}: no column {listed(lacking)}")
            types = {
                name: ("float64" if name in exact else "float32") if number else "object"
                for name, number in columns
                if name in used
            }
            inputs = {*self.feature_names(names)}
            return self._filled(rows, {name: names.index(name) for name in types}, types, inputs, path)
        except ValueError as error:
            raise DataError(f"{path}: {str(error).splitlines()[0]}") from None

    def _filled(
        self, rows: Iterator[list[Any]], places: dict[str, int], types: dict[str, str], inputs: set[str], path: Path
    ) -> dict[str, Array]:
        """Returns the columns at some places of the rows, among them the `inputs`.

        Raises:
            DataError: there are no rows, or a column has too many categories.
        """
        import numpy as np

        parts: dict[str, list[Array]] = {name: [] for name in places}
        values: dict[str, set[Any]] = {name: set() for name in inputs - {*self.text} if types[name] == "object"}
        count = 0
        while chunk := list(islice(rows, _AT_ONCE)):
            count += len(chunk)
            for name, place in places.items():
                cells = np.empty(len(chunk), dtype=object)
                cells[:] = [row[place] for row in chunk]
                parts[name].append(cells.astype(types[name]))
                if name in values:
                    values[name] |= set(cells.tolist())
                    self._refuse_wide(name, len(values[name] - {None}), count, path)
        if not count:
            raise DataError(f"{path}: no rows")
        return {name: np.concatenate(chunks) for name, chunks in parts.items()}

    def _refuse_wide(self, name: str, values: int, rows: int, path: Path) -> None:
        if values > self.max_categories:
            raise DataError(
                f"{path}: column `{name}` has more than {self.max_categories:,} different values in the first {rows:,} rows,"
                " too many for a category; list it in `data.source.drop`, or raise `data.source.max_categories`"
            )

    def _labels(self, columns: list[Array], task: Task, where: str) -> tuple[Array, tuple[str, ...]]:
        import numpy as np

        if len(columns) == 1 and not task.output.reads_columns:
            targets, names = labels_of(_as_numbers(columns[0]), task, None, where)
        else:
            targets, names = labels_of(np.stack([_truth(column) for column in columns], axis=1), task, None, where)
        return targets, names or tuple(self.targets)


@lru_cache(maxsize=16)
def _answer(file: Path, _changed: int) -> dict[str, Any]:
    """Returns the answer of OpenML in a file that was changed at a time; it is needed many times.

    Raises:
        DataError: it cannot be understood.
    """
    try:
        content = json.loads(_inflated(file, _LARGEST_DESCRIPTION))
    except ValueError as error:
        raise DataError(f"{file}: not an answer of OpenML: {error}") from None
    return content if isinstance(content, dict) else {}


def _inflated(path: Path, most: int) -> bytes:
    """Returns the content of a gzipped file.

    Raises:
        DataError: it cannot be read, or is too large.
    """
    from dlcli.upstream.joblib import inflated

    try:
        return inflated(path, most, _GZIP)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (DataError, zlib.error) as error:
        raise DataError(f"{path}: {error}") from None


def _entry(content: dict[str, Any], *keys: str) -> list[dict[str, Any]] | None:
    """Returns the list of an answer below some keys; None if there is none."""
    value: Any = content
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, list) else None


def _one_or_all(names: list[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else names


def _as_numbers(labels: Array) -> Array:
    """Returns whole numbers that are written as text as numbers, so that classes are sorted as numbers."""
    plain = labels.dtype == object and all(
        isinstance(label, str) and label.isdecimal() and str(int(label)) == label for label in set(labels.tolist())
    )
    return labels.astype("int64") if plain else labels


def _truth(column: Array) -> Array:
    """Returns a target column in which truth values are 1 and 0."""
    import numpy as np

    from dlcli.spec.data.sources.csv_labels import TRUTH

    return np.array([TRUTH.get(cell, cell) if isinstance(cell, str) else cell for cell in column.tolist()], dtype=object)
