"""A table of image files: a column with their paths, and one or more columns with their targets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PrivateAttr

from dlcli.errors import DataError
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec
from dlcli.spec.data.sources.csv import Csv, Encoding
from dlcli.spec.data.sources.file_tree import walk
from dlcli.spec.data.sources.folder import Folder
from dlcli.spec.data.sources.image_table_files import Place, missing_files, missing_in_words
from dlcli.spec.paths import FilePath
from dlcli.spec.run_files import is_of_run
from dlcli.tasks import TASKS, Labels, Task, names_of

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.spec.data.sources.table.contents import Table

_ANY_NUMBER = 10**9
_CHECKED = 500
"""Rows whose files are looked for before the table is opened."""


class ImageTable(SourceSpec):
    """A table that lists image files with their targets: classes, several labels, or numbers.

    The table is read as by the source `csv`; its format is detected. Columns that are neither `image` nor `target` are not
    used. The id of an image is its path as the table has it.
    """

    has_files: ClassVar[bool] = True
    kind: Literal["image_table"]
    path: FilePath = Field(description="Table of the training images: .csv, .tsv, .csv.gz, .parquet, .xlsx.")
    test: FilePath | None = Field(default=None, description="Table of the test images.")
    validation: FilePath | None = Field(default=None, description="Table of the validation images.")
    image: str = Field(description="Column with the path of the image file.")
    target: str | list[str] = Field(
        description="Column with the class or the number; a list for one column per label, or for several numbers."
    )
    folder: FilePath | None = Field(
        default=None, description="Folder that the paths are relative to; that of the table if not set."
    )
    extension: Annotated[str, Field(pattern=r"^\.[A-Za-z0-9]+$")] | None = Field(
        default=None, description="File extension of paths that are written without one, such as `.jpg`."
    )
    separator: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="Separator of the labels in a cell of the target, such as `|` in `cat|dog`, for `task: multilabel`. An"
        " empty cell: no label. The separator of the columns is detected.",
    )
    encoding: Encoding = Field(
        default="auto", description="Text encoding, e.g. `latin-1`; `auto`: UTF-8, or UTF-16 if the first bytes show it."
    )
    missing: list[str] = Field(default=[], description="Additional marks of missing values, e.g. `?`.")
    not_missing: list[str] = Field(
        default=[], description="Usual marks of missing values that are values in this table, e.g. a class called `None`."
    )
    missing_target: Literal["stop", "drop"] = Field(
        default="stop", description="For rows without a target: `stop` refuses them; `drop` removes and counts them."
    )
    missing_file: Literal["stop", "drop"] = Field(
        default="stop", description="For rows whose file does not exist: `stop` refuses them; `drop` removes and counts them."
    )
    _known_classes: tuple[str, ...] = PrivateAttr(default=())

    @property
    def targets(self) -> list[str]:
        """The target columns."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def table_source(self) -> Csv:
        """The source `csv` that reads the tables."""
        return Csv(
            kind="csv",
            path=self.path,
            test=self.test,
            validation=self.validation,
            target=self.target,
            features=[self.image],
            max_categories=_ANY_NUMBER,
            encoding=self.encoding,
            missing=self.missing,
            not_missing=self.not_missing,
            missing_target=self.missing_target,
        )

    def place(self, table: str) -> Place:
        """Returns where the image files of a table are."""
        return Place(self.folder or os.path.dirname(table), self.extension or "")

    def facts(self, task: Task) -> Facts:
        """Returns the number of outputs, where the targets determine it."""
        outputs = len(self.targets) if task.output.reads_columns and self.separator is None else None
        tasks = tuple(TASKS)
        if self.separator is not None:
            tasks = tuple(name for name, other in TASKS.items() if isinstance(other.output, Labels))
        elif len(self.targets) > 1:
            tasks = names_of(reads_columns=True)
        return Facts(None, outputs, (), tasks, self.validation is not None, self.test is not None, image=True)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields missing tables and columns, and image files of the first rows that do not exist."""
        if self.image in self.targets:
            yield "image", f"`{self.image}` is the target too"
            return
        if self.separator is not None and isinstance(self.target, list):
            yield "separator", "separates the labels in the cells of one column; `target` must be that column, not a list"
            return
        if self.folder is not None and not Path(self.folder).is_dir():
            yield "folder", f"no folder {self.folder}"
            return
        faults = [("image" if key == "features" else key, message) for key, message in self.table_source.faults()]
        yield from faults
        if not faults and self.missing_file == "stop":
            yield from self._file_faults()

    def _file_faults(self) -> Iterator[tuple[str, str]]:
        from dlcli.spec.data.sources.table.reader import look_at

        source = self.table_source
        for part, path in source.files.items():
            beginning = look_at(path, source.settings)
            rows = beginning.rows[:_CHECKED]
            (column,) = source.named([self.image], beginning.table.names)
            cells = [_cell(row.cells[beginning.table.names.index(column)], source.marks) for row in rows]
            missing = missing_files([row.number for row in rows], cells, self.place(path))
            if missing:
                of = f"{'the first ' if beginning.more or len(rows) < beginning.count else ''}{len(rows):,}"
                yield (
                    "path" if part == "train" else part,
                    f"{path}: {missing_in_words(missing, cells, self.place(path), of=of)}",
                )

    def notes(self) -> Iterator[str]:
        """Yields how the training table is written."""
        from dlcli.spec.data.sources.table.reader import counted_rows, look_at

        if next(self.faults(), None) is None:
            beginning = look_at(self.path, self.table_source.settings)
            count = f"{'at least ' if beginning.more else ''}{counted_rows(beginning.count)}"
            yield f"table: {beginning.table.describe()}, {len(beginning.table.names):,} columns, {count}"
            yield from beginning.table.notes

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> SourceSpec:
        """Returns the source of another table, or of a folder of class folders."""
        if os.path.isdir(path):
            return Folder(kind="folder", path=path).elsewhere(path, classes)
        other = self.model_copy(update={"path": path, "test": None, "validation": None})
        other._known_classes = classes
        return other

    def side_columns(self) -> tuple[str, ...] | None:
        """Returns the columns of the training table."""
        from dlcli.spec.data.sources.csv_side import header_of

        return header_of(self.table_source)

    def open(self, request: Request) -> Opened:
        """Returns the images of every table, to be read when needed, in the order of the rows.

        Raises:
            DataError: a table cannot be read, an image file does not exist, or an image has two different targets.
        """
        from dlcli.spec.data.sources.csv_labels import class_notes

        parts: dict[str, Examples] = {}
        notes: dict[str, tuple[str, ...]] = {}
        classes: tuple[str, ...] | None = self._known_classes or None
        tables = {part: _Rows(self, path, request.side_columns) for part, path in self.table_source.files.items()}
        for part, rows in tables.items():
            targets, classes = rows.targets(request.task, classes)
            parts[part] = rows.examples(targets, request)
            notes[part] = tuple(rows.notes)
        _refuse_shared(parts)
        names = classes or tuple(self.targets)
        of_part = [note if part == "train" else f"{tables[part].path}: {note}" for part in parts for note in notes[part]]
        of_classes = [] if request.task.output.reads_columns else class_notes(names, len(parts["train"]))
        lines = (f"table: {tables['train'].table.described}",)
        return Opened(parts, names, (*of_part, *self._unused(parts), *of_classes), lines, notes)

    def _unused(self, parts: dict[str, Examples]) -> Iterator[str]:
        """Yields a note on the images in the folders of the tables that no table lists; pictures of runs are not meant."""
        used = {path for examples in parts.values() for path in getattr(examples.inputs, "paths", ())}
        for folder in dict.fromkeys(self.place(path).folder for path in self.table_source.files.values()):
            unused = [path for path in walk(folder).files if path not in used and not is_of_run(path, folder)]
            if unused:
                lie, are = ("image", "is") if len(unused) == 1 else ("images", "are")
                yield f"{len(unused):,} {lie} in {folder} {are} not in the table and {are} not used, such as {unused[0]}"

    def columns_of(self, ids: Sequence[str], requested: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
        """Returns requested columns of the tables, a text for each image by its id, and the names of all columns.

        Raises:
            DataError: a table cannot be read.
        """
        source = self.table_source
        tables = [source.table(path) for path in source.files.values()]
        cells: dict[str, list[str]] = {}
        for name in requested:
            texts: dict[str, str] = {}
            for table in (table for table in tables if name in table.names):
                images = table.column(source.named([self.image], table.names)[0]).tolist()
                texts |= {image: cell or "" for image, cell in zip(images, table.column(name).tolist(), strict=True)}
            cells[name] = [texts.get(example_id, "") for example_id in ids]
        return cells, [name for table in tables for name in table.names]


class _Rows:
    """The rows of one table that have a target and an image file, each file once.

    Attributes:
        path: the path of the table.
        table: the rows.
        notes: what was left out, and which columns are not used.
    """

    def __init__(self, source: ImageTable, path: str, side_columns: tuple[str, ...]) -> None:
        from dlcli.spec.data.sources.csv_labels import with_targets

        self.path, self._source, self._csv, self._side_columns = path, source, source.table_source, side_columns
        table = self._csv.table(path)
        self.notes = [*table.notes, *self._unused_columns(table)]
        table = table if source.separator is None else _with_empty_cells(table, self._csv.named(source.targets, table.names)[0])
        table, left_out = with_targets(self._csv, table)
        self.table = self._with_files(table)
        self.notes += left_out

    def _unused_columns(self, table: Table) -> Iterator[str]:
        from dlcli.visible import listed

        used = self._csv.named([self._source.image, *self._source.targets, *self._side_columns], table.names)
        others = [name for name in table.names if name not in used]
        if others:
            yield f"{'column' if len(others) == 1 else 'columns'} not used: {listed(others)}"

    def _cells(self, table: Table) -> list[str | None]:
        cells: list[str | None] = table.column(self._csv.named([self._source.image], table.names)[0]).tolist()
        return cells

    def _with_files(self, table: Table) -> Table:
        """Returns the rows whose image file exists.

        Raises:
            DataError: some files do not exist, and `missing_file` is `stop`; or none does.
        """
        import numpy as np

        cells, place = self._cells(table), self._source.place(self.path)
        missing = missing_files(table.numbers.tolist(), cells, place)
        if not missing:
            return table
        words = missing_in_words(missing, cells, place, of=f"{len(table):,}")
        if self._source.missing_file == "stop" or len(missing) == len(table):
            raise DataError(f"{self.path}: {words}; `data.source.missing_file: drop` leaves them out")
        self.notes.append(f"left out: {words}")
        return table.without(np.isin(np.arange(len(table)), list(missing)), "without an image file")

    def targets(self, task: Task, classes: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...] | None]:
        """Returns the targets of the rows, and the names of the classes, labels or columns."""
        from dlcli.spec.data.sources.labels import labels_of

        if self._source.separator is None or not task.output.reads_labels:
            return self._plain_targets(task, classes)
        column = self.table.column(self._csv.named(self._source.targets, self.table.names)[0])
        values, names = _separated(column.tolist(), self._source.separator, classes, self.path)
        if without := int((values.sum(axis=1) == 0).sum()):
            self.notes.append(f"{without:,} of {len(values):,} images have no label: their cell is empty")
        return labels_of(values, task, names, self.path)[0], names

    def _plain_targets(self, task: Task, classes: tuple[str, ...] | None) -> tuple[Array, tuple[str, ...] | None]:
        from dlcli.spec.data.sources.csv_labels import labels

        try:
            return labels(self._csv, self.table, task, None if task.output.reads_columns else classes)
        except DataError as error:
            hint = isinstance(task.output, Labels) and isinstance(self._source.target, str)
            remedy = '; if a cell lists several labels, set their separator: `data.source.separator: "|"`' if hint else ""
            raise DataError(f"{error}{remedy}") from None

    def examples(self, targets: Array, request: Request) -> Examples:
        """Returns the images with their targets; a file that is listed twice with the same target is used once.

        Raises:
            DataError: a file is listed with two different targets.
        """
        import numpy as np

        from dlcli.runtime.images import ImageFiles
        from dlcli.spec.data.sources.csv_side import side_values

        cells, place = [cell or "" for cell in self._cells(self.table)], self._source.place(self.path)
        first: dict[str, int] = {}
        distinct, repeated = [], []
        for position, path in enumerate(map(place.path, cells)):
            original = first.setdefault(path, position)
            if original == position:
                distinct.append(position)
            elif np.array_equal(targets[original], targets[position]):
                repeated.append(position)
            else:
                rows = self.table.numbers[[original, position]].tolist()
                raise DataError(
                    f"{self.path}: `{cells[position]}` has two different targets, in the rows {rows[0]} and {rows[1]}"
                )
        if repeated:
            rows_word = "1 row repeats an image" if len(repeated) == 1 else f"{len(repeated):,} rows repeat an image"
            self.notes.append(
                f"{rows_word} with the same target and {'is' if len(repeated) == 1 else 'are'} left out, such as"
                f" row {self.table.numbers[repeated[0]]}: `{cells[repeated[0]]}`"
            )
        side = {name: values[distinct] for name, values in side_values(self._csv, self.table, self._side_columns).items()}
        return Examples(
            ImageFiles(tuple(first), request.image), targets[distinct], [cells[position] for position in distinct], side
        )


def _cell(cell: str, marks: frozenset[str]) -> str | None:
    from dlcli.spec.data.sources.table.cells import normalized

    text = normalized(cell)
    return None if text in marks else text


def _with_empty_cells(table: Table, name: str) -> Table:
    """Returns a table in which the empty cells of a column are texts, not missing values: they list no label."""
    import numpy as np

    place, raw = table.names.index(name), table.raw[name]
    column = ["" if cell is None and not text else cell for cell, text in zip(table.column(name).tolist(), raw, strict=True)]
    cells = [np.array(column, dtype=object) if index == place else other for index, other in enumerate(table.cells)]
    return replace(table, cells=cells)


def _separated(
    cells: Sequence[str], separator: str, classes: tuple[str, ...] | None, path: str
) -> tuple[Array, tuple[str, ...]]:
    """Returns which labels each cell lists, float32 `(n, labels)`, and the labels: those given, or all in order.

    Raises:
        DataError: no cell lists a label, or a label is not among those given.
    """
    import numpy as np

    by_row = [{label for part in cell.split(separator) if (label := part.strip())} for cell in cells]
    counts = Counter(label for labels in by_row for label in labels)
    if not counts:
        raise DataError(f"{path}: no row has a label")
    names = classes or tuple(sorted(counts))
    places = {name: place for place, name in enumerate(names)}
    unknown = [label for label in counts if label not in places]
    if unknown:
        raise DataError(f"{path}: label {unknown[0]!r} is not among the training table's: {', '.join(names[:20])}")
    values = np.zeros((len(cells), len(names)), dtype="float32")
    for row, labels in enumerate(by_row):
        values[row, [places[label] for label in labels]] = 1
    return values, names


def _refuse_shared(parts: dict[str, Examples]) -> None:
    """Raises DataError for image files that are in two tables."""
    part_of: dict[str, str] = {}
    for part, examples in parts.items():
        shared = [path for path in getattr(examples.inputs, "paths", ()) if path in part_of]
        if shared:
            count = "1 image is" if len(shared) == 1 else f"{len(shared):,} images are"
            raise DataError(f"{count} in both the {part_of[shared[0]]} and the {part} table, such as {shared[0]}")
        part_of |= dict.fromkeys(getattr(examples.inputs, "paths", ()), part)
