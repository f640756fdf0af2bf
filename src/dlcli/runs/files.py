"""Files that are written atomically: to a temporary file in the same folder, which is synced and renamed.

A file may have been changed or damaged since: every reader raises DamagedFile, with the path, for a file that it cannot read.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import secrets
import shutil
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from dlcli.errors import DamagedFile
from dlcli.visible import visible

_LARGEST_JSON = 64 * 2**20
_LARGEST_TABLE = 4 * 2**30


def new_name() -> str:
    """Returns a name for the folder of a new run, batch or sweep: the UTC time and four letters."""
    letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(4))
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{letters}"


def own_folder(folder: Path, *inside: str) -> Path:
    """Returns a folder that dlcli writes to, after a check that neither the folder nor its content is a link.

    The check covers the folder, its entries, and the entries of the folders named by `inside`; none of them needs to exist.

    Raises:
        DamagedFile: one of them is a link, or a folder's place is taken by something else.
    """
    for path in (folder, *(folder / name for name in inside)):
        if path.is_symlink() or (os.path.lexists(path) and not path.is_dir()):
            raise DamagedFile(
                f"{path}: dlcli does not write here, since this is {_kind_of(path)} and not a folder that it created"
            )
        link = next((entry for entry in sorted(path.iterdir()) if entry.is_symlink()), None) if path.is_dir() else None
        if link is not None:
            raise DamagedFile(f"{link}: dlcli does not write here, since this is a link and not a file that it created")
    return folder


def _kind_of(path: Path) -> str:
    return "a link" if path.is_symlink() else "a file"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; the file written there replaces `path` after the block, if it succeeds."""
    # Keras and matplotlib choose the format by the suffix, so it stays last.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    temporary.unlink(missing_ok=True)  # a link there would redirect the writing
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except IsADirectoryError:
        raise DamagedFile(f"{path}: there is a folder of this name, expected a file") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder beside `path`, which replaces `path` after the block, if it succeeds.

    The earlier folder is removed only then. For an instant between two renames neither exists at `path`; a process that is
    killed at that moment leaves both beside it.
    """
    letters = secrets.token_hex(4)
    temporary, before = (path.with_name(f".{path.name}.{letters}.{what}") for what in ("tmp", "before"))
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        if os.path.lexists(path):
            path.rename(before)
        try:
            temporary.rename(path)
        except OSError:
            if before.exists():
                before.rename(path)
            raise
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replaces a text file."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Replaces a JSON file; numbers that are not finite become null."""
    write_text(path, json_text(data) + "\n")


def json_text(data: Any, *, indent: int | None = 2) -> str:
    """Returns data as JSON, with letters of all scripts unescaped and control characters escaped as `\\u001b`.

    With `indent=None` the text is a single line.
    """
    text = json.dumps(as_json(data), indent=indent, ensure_ascii=False)
    return "\n".join(visible(line, escape=lambda char: json.dumps(char)[1:-1]) for line in text.split("\n"))


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        DamagedFile: the file is missing, no regular file, too large or no JSON.
    """
    try:
        return json.loads(_content(path, _LARGEST_JSON).decode("utf-8"), parse_constant=_no_number, parse_float=_number)
    except UnicodeDecodeError:
        raise DamagedFile(f"{path}: not UTF-8 text") from None
    except (ValueError, RecursionError) as error:  # such as numbers with thousands of digits, or very deep nesting
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise DamagedFile(f"{path}: not JSON: {reason}") from None


def read_text(path: Path) -> str:
    """Returns the text of a file; bytes that are not UTF-8 are replaced.

    Raises:
        DamagedFile: the file is missing, no regular file, or too large.
    """
    return _content(path, _LARGEST_JSON).decode("utf-8", "replace")


def _no_number(word: str) -> Any:
    raise ValueError(f"{word[:40]} is not a number of JSON")


def _number(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else float(_no_number(digits))


def _content(path: Path, largest: int) -> bytes:
    """Returns a file's bytes; only regular files are read, since a pipe would never end."""
    try:
        if not path.is_file():
            raise DamagedFile(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            # `read(largest)` would reserve so much memory, also for a small file: gigabytes, which a limit may not allow.
            size = min(os.fstat(file.fileno()).st_size, largest)
            content = file.read(size + 1)
            content += file.read(largest - size) if len(content) > size else b""  # it has grown meanwhile
    except OSError as error:
        raise DamagedFile(f"{path}: {error.strerror or error}") from None
    if len(content) > largest:
        raise DamagedFile(f"{path}: larger than {largest:,} bytes")
    return content


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Replaces a CSV file; rows are written as they come."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", errors=_ANY_NAME, newline="") as file:
        print_table(file, columns, rows)


def print_table(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes CSV to an open text file, row by row; on a terminal with control characters escaped."""
    writer = csv.writer(_Rows(file), lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)


_ANY_NAME = "surrogateescape"
"""Names of files need not be valid text: their bytes are kept."""


class _Rows:
    """Ends rows with a line feed only. Python's writer quotes only the characters of its own row end, and a name may contain
    a carriage return, which the reader would take for the end of a row."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._shown = file, file.isatty()

    def write(self, row: str) -> None:
        row = row.removesuffix("\r\n")
        self._file.write((visible(row, keep="\n\t") if self._shown else row) + "\n")


def read_heading(path: Path) -> list[str]:
    """Returns the column names of a CSV file with a heading of one line; empty if the file does not exist."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors=_ANY_NAME, newline="") as file:
        return next(csv.reader([file.readline()]), [])


def append_row(path: Path, row: Sequence[Any]) -> None:
    """Adds a row to a CSV file and syncs it; the file must not end with an incomplete line of a killed process.

    Raises:
        DamagedFile: the path is a link or no regular file.
    """
    _refuse_no_file(path)
    with path.open("a", encoding="utf-8", errors=_ANY_NAME, newline="") as file:
        csv.writer(_Rows(file), lineterminator="\r\n").writerow(row)
        file.flush()
        os.fsync(file.fileno())


def _refuse_no_file(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DamagedFile(f"{path}: not a file inside the run")


def read_table(path: Path, *, whole_lines: bool = False) -> list[dict[str, str]]:
    """Returns the rows of a CSV file, each by column name; with `whole_lines` an unfinished last line is not a row.

    Raises:
        DamagedFile: as for `read_cells`.
    """
    columns, rows = read_cells(path, whole_lines=whole_lines)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def read_cells(path: Path, *, whole_lines: bool = False) -> tuple[list[str], list[list[str]]]:
    """Returns the column names of a CSV file, of which two may be equal, and the cells of each row.

    With `whole_lines` an unfinished last line is not a row.

    Raises:
        DamagedFile: it is missing, no file, too large, or its rows are not as wide as its heading.
    """
    text = _content(path, _LARGEST_TABLE).decode("utf-8", _ANY_NAME)
    if whole_lines and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
    if not text:
        raise DamagedFile(f"{path} is empty")
    csv.field_size_limit(_LARGEST_TABLE)  # Python's own limit is shorter than a name may be that `write_table` wrote
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        columns = next(reader, [])
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise DamagedFile(f"{path}:{reader.line_num}: not a table: {error}") from None
    uneven_row = next((row for row in rows if len(row) != len(columns)), None)
    if uneven_row is not None:
        raise DamagedFile(f"{path}: a row of {len(uneven_row)} cells below a header of {len(columns)}")
    return columns, rows


def append_line(path: Path, line: str) -> None:
    """Adds a line to a text file with control characters escaped; further lines are indented, so that none can be forged.

    Raises:
        DamagedFile: the path is a link or no regular file.
    """
    _refuse_no_file(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(visible(line, keep="\n").replace("\n", "\n    ") + "\n")


def as_json(value: Any) -> Any:
    """Returns a value in a form for JSON: numbers that are not finite become None, tuples lists, names text in UTF-8."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # the name of a file need not be valid text
    if isinstance(value, Mapping):
        return {as_json(str(key)): as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, (list, tuple)) else value
