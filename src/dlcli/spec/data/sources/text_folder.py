"""A folder of texts, one sub-folder or one file a class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from dlcli.errors import DataError
from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, file_bytes
from dlcli.spec.data.sources.column_kinds import TEXT
from dlcli.spec.data.sources.file_tree import Tree, listing, walk
from dlcli.spec.data.sources.labels import composed, label_notes
from dlcli.spec.data.sources.part_names import SPLITS, part_of
from dlcli.spec.paths import FilePath
from dlcli.tasks import Task, names_of
from dlcli.visible import listed

COLUMN = "text"
"""The name of the model's input."""
_MOST_NAMED = 10


def is_text_file(path: str) -> bool:
    """Whether a file is a text by its name."""
    return path.lower().endswith(".txt")


@dataclass
class TextLayout:
    """The files of each class.

    Attributes:
        files: by part and class, the paths of the texts, sorted.
        ignored: other files.
        faults: what is wrong, as (field, message).
    """

    files: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    ignored: Tree = field(default_factory=Tree)
    faults: list[tuple[str, str]] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the training part, in order."""
        return tuple(sorted(self.files.get("train", {})))


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _encoding(value: str) -> str:
    from dlcli.spec.data.sources.table.files import encoding_fault

    fault = "is for tables" if value == "auto" else encoding_fault(value)
    if fault:
        raise PydanticCustomError("encoding", "{found} {fault}", {"found": repr(value), "fault": fault})
    return value


class TextFolder(SourceSpec):
    """Class folders of text files (`.txt`), or folders such as `train` and `test` that contain class folders.

    With `lines`, each line of a file is a text, and a class may also be a file: `positive.txt`, `negative.txt`. Texts without
    a letter are examples too; empty lines are not. Hidden files are ignored, other files are ignored and counted.
    """

    has_files: ClassVar[bool] = True
    kind: Literal["text_folder"]
    path: FilePath = Field(description="Folder of the texts.")
    lines: bool = Field(default=False, description="Whether each line is a text; otherwise each file is.")
    encoding: Annotated[list[Annotated[str, AfterValidator(_encoding)]], BeforeValidator(_as_list), Field(min_length=1)] = (
        Field(
            default=["utf-8"],
            description="Text encoding, or several that are tried in order for each file: `[utf-8, latin-1]`.",
        )
    )

    def facts(self, task: Task) -> Facts:
        """Returns the classes and the splits of the folder."""
        try:
            layout = self.layout()
        except DataError:  # `faults` reports it
            return Facts(columns=True, texts=True)
        names, parts = layout.classes, layout.files
        tasks = names_of(reads_columns=False)
        return Facts(None, len(names) or None, names, tasks, "validation" in parts, "test" in parts, columns=True, texts=True)

    def layout(self) -> TextLayout:
        """Returns the files of each class in each part.

        Raises:
            DataError: a folder cannot be read.
        """
        level, layout = listing(self.path), TextLayout()
        parts = _folders_of_parts(level.folders)
        if faults := list(_faults_of_parts(self.path, level.folders, parts)):
            layout.faults += faults
            return layout
        for part, paths in parts.items():
            layout.files[part] = self._classes_in(paths[0], layout)
        if parts:
            layout.ignored.others += level.files
        else:
            layout.files["train"] = self._classes_in(self.path, layout)
        layout.faults += _faults_of(self.path, layout)
        return layout

    def _classes_in(self, folder: str, layout: TextLayout) -> dict[str, list[str]]:
        """Returns the texts of each class below the folder of a part."""
        level, classes = listing(folder), dict[str, list[str]]()
        for name, path in level.folders.items():
            tree = walk(path, is_text_file)
            classes[composed(name)] = tree.files
            tree.files = []
            layout.ignored.add(tree)
        for path in level.files:
            if self.lines and is_text_file(path):
                classes.setdefault(composed(Path(path).stem), []).append(path)
            else:
                layout.ignored.others.append(path)
        return classes

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a missing folder, and class folders that cannot be determined."""
        if not Path(self.path).is_dir():
            yield "path", f"{self.path} is a file, not a folder" if Path(self.path).exists() else f"no folder {self.path}"
            return
        try:
            yield from self.layout().faults
        except DataError as error:
            yield "path", str(error)

    def stored_bytes(self) -> int | None:
        """Returns the size of the texts."""
        try:
            return file_bytes(path for classes in self.layout().files.values() for files in classes.values() for path in files)
        except DataError:
            return None

    def elsewhere(self, path: str, classes: tuple[str, ...] = ()) -> TextFolder:
        """Returns the same for another folder."""
        return self.model_copy(update={"path": path})

    def open(self, request: Request) -> Opened:
        """Returns the texts of every part in the order of their paths.

        Raises:
            DataError: the folder has `faults`, or files cannot be decoded.
        """
        for _, message in self.faults():
            raise DataError(message)
        layout, reader = self.layout(), _Reader(self.path, self.lines, self.encoding)
        parts = {
            part: self._examples(layout.files[part], layout.classes, reader, request) for part in SPLITS if part in layout.files
        }
        reader.refuse_undecodable()
        notes = (*layout.ignored.notes(), *reader.notes(), *label_notes(layout.classes))
        return Opened(parts, layout.classes, notes)

    def _examples(self, files: Mapping[str, list[str]], classes: Sequence[str], reader: _Reader, request: Request) -> Examples:
        import numpy as np

        from dlcli.runtime.inputs import TableColumns

        texts, ids, numbers = list[str](), list[str](), list[int]()
        for number, name in enumerate(classes):
            for path in files.get(name, ()):
                for text_id, text in reader.read(path):
                    texts.append(text)
                    ids.append(text_id)
                    numbers.append(number)
        column = np.array([*texts, None], dtype=object)[:-1]  # texts of one length would become an array of characters
        return Examples(TableColumns({COLUMN: column}, {COLUMN: TEXT}), np.array(numbers, dtype="int64"), ids)


class _Reader:
    """Reads texts, and remembers the files that cannot be decoded and how many lines are empty."""

    def __init__(self, root: str, lines: bool, encodings: Sequence[str]) -> None:
        self._root, self._lines, self._encodings = root, lines, encodings
        self._undecodable, self._empty_lines, self._others = list[str](), 0, Counter[str]()

    def read(self, path: str) -> Iterator[tuple[str, str]]:
        """Yields the id and the text of each example of a file."""
        name = Path(os.path.relpath(path, self._root)).as_posix()
        try:
            text, encoding = read_text(path, self._encodings)
        except DataError as error:
            self._undecodable.append(str(error))
            return
        if encoding != self._encodings[0]:
            self._others[encoding] += 1
        if not self._lines:
            yield name, text
            return
        for number, line in numbered_lines(text):
            if line.strip():
                yield f"{name}:{number}", line
            else:
                self._empty_lines += 1

    def refuse_undecodable(self) -> None:
        """Raises DataError if files could not be read, with the first of them by name."""
        if self._undecodable:
            count = len(self._undecodable)
            first = "; ".join(self._undecodable[:_MOST_NAMED]) + ("; ..." if count > _MOST_NAMED else "")
            raise DataError(f"{count:,} text file{'' if count == 1 else 's'} cannot be read: {first}")

    def notes(self) -> Iterator[str]:
        """Yields how many files have another encoding than the first one, and how many empty lines were ignored."""
        for encoding, count in self._others.items():
            yield f"read {count:,} text file{'' if count == 1 else 's'} as {encoding}"
        if self._empty_lines:
            yield f"ignored {self._empty_lines:,} empty line{'' if self._empty_lines == 1 else 's'}"


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yields the number of each line of a text, from 1, and the line without its end."""
    for number, line in enumerate(StringIO(text, newline=None), start=1):  # other separators do not end a line
        yield number, line.rstrip("\n")


def read_text(path: str, encodings: Sequence[str] = ("utf-8",)) -> tuple[str, str]:
    """Returns the text of a file without a byte order mark, and its encoding: the first that can decode it.

    Raises:
        DataError: the file cannot be read or decoded.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    for encoding in encodings:
        try:
            return content.decode(encoding).removeprefix("\ufeff"), encoding
        except UnicodeDecodeError:
            continue
    try:
        content.decode(encodings[0])
    except UnicodeDecodeError as error:
        remedy = "; set `data.source.encoding: [utf-8, cp1252, latin-1]`, or convert it" if list(encodings) == ["utf-8"] else ""
        raise DataError(f"{path}: not {' or '.join(encodings)} at byte {error.start}{remedy}") from None
    raise AssertionError("the first encoding cannot decode the file")


def _folders_of_parts(folders: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns the folders of each part by their names; `eval` is the test part, or that of validation beside a `test`.

    A single folder with such a name that has no folders in it is a class among others: a `train` may be a vehicle.
    """
    parts: dict[str, list[str]] = {}
    for name, path in folders.items():
        if named := part_of(name):
            parts.setdefault(named[0], []).append(path)
    evaluation = parts.pop("evaluation", [])
    if evaluation:
        free = next((part for part in ("test", "validation") if part not in parts), "test")
        parts[free] = [*parts.get(free, []), *evaluation]
    paths = [path for of_part in parts.values() for path in of_part]
    is_class = len(parts) == 1 and len(paths) < len(folders) and not any(listing(path).folders for path in paths)
    return {} if is_class else parts


def _faults_of_parts(folder: str, folders: Mapping[str, str], parts: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Yields folders beside those of splits, and two folders for one split."""
    names = {path: name for name, path in folders.items()}
    of_parts = [names[path] for paths in parts.values() for path in paths]
    others = sorted(folders.keys() - {*of_parts})
    if of_parts and others:
        yield (
            "path",
            f"{folder}: {listed(sorted(of_parts))} {'is' if len(of_parts) == 1 else 'are'} named like a split,"
            f" {listed(others)} {'is' if len(others) == 1 else 'are'} not: move the folders that are no splits out of it,"
            " or rename those of classes",
        )
    for part, paths in parts.items():
        if len(paths) > 1:
            several = listed([names[path] for path in paths])
            yield "path", f"{folder} has {len(paths)} folders for the {part} split: {several}; move or rename all but one"


def _faults_of(folder: str, layout: TextLayout) -> Iterator[tuple[str, str]]:
    train = layout.files.get("train", {})
    if "train" not in layout.files:
        yield "path", f"{folder} has no folder of training texts; it has {listed(sorted(layout.files))}"
    elif not train:
        texts = sum(map(is_text_file, layout.ignored.others))
        remedy = "; if each file is a class and each of its lines a text, set `data.source.lines: true`" if texts else ""
        yield "path", f"{folder} holds no class folders: texts belong in one folder for each class{remedy}"
    for name, files in sorted(train.items()):
        if not files:
            yield "path", f"{folder}: no .txt file in the class folder {name!r}"
    for part, classes in layout.files.items():
        if unknown := sorted(classes.keys() - train.keys()):
            yield "path", f"{folder}: the training texts have no class {unknown[0]!r}, which the {part} texts have"
