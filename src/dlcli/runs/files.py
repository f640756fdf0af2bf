"""Files that are either whole or not there: written beside their place, synced, renamed.

What is read may have been changed or damaged since: every reader raises DamagedFile, with the file, for what it cannot read.
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
    """Returns a folder that dlcli writes to, once neither it nor what it holds leads elsewhere.

    Checked are the folder, its entries, and the entries of the folders named by `inside`. Nothing need be there yet.

    Raises:
        DamagedFile: one of them is a link, or something else than a folder stands in a folder's place.
    """
    for each in (folder, *(folder / name for name in inside)):
        if each.is_symlink() or (os.path.lexists(each) and not each.is_dir()):
            raise DamagedFile(
                f"{each}: dlcli does not write here, since this is {_kind_of(each)} and not a folder that it created"
            )
        link = next((entry for entry in sorted(each.iterdir()) if entry.is_symlink()), None) if each.is_dir() else None
        if link is not None:
            raise DamagedFile(f"{link}: dlcli does not write here, since this is a link and not a file that it created")
    return folder


def _kind_of(path: Path) -> str:
    return "a link" if path.is_symlink() else "a file"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there takes its place once the block has ended well."""
    # The suffix stays last: Keras and matplotlib choose the format by it.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    temporary.unlink(missing_ok=True)  # a link there would lead the writing elsewhere
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
    """Yields a new folder beside `path`, which takes its place, whole, once the block has ended well.

    What was there before goes only then. Between two renames there is neither, for an instant; a process that is killed in
    it leaves both beside the place.
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
    """Returns data as JSON; letters of all scripts as they are, control characters written out as `\\u001b`.

    In one line where `indent` is None.
    """
    text = json.dumps(as_json(data), indent=indent, ensure_ascii=False)
    return "\n".join(visible(line, escape=lambda char: json.dumps(char)[1:-1]) for line in text.split("\n"))


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        DamagedFile: it is missing, no file, too large or no JSON.
    """
    try:
        return json.loads(_content(path, _LARGEST_JSON).decode("utf-8"), parse_constant=_no_number, parse_float=_number)
    except UnicodeDecodeError:
        raise DamagedFile(f"{path}: not UTF-8 text") from None
    except (ValueError, RecursionError) as error:  # of numbers with thousands of digits, of nesting without end
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise DamagedFile(f"{path}: not JSON: {reason}") from None


def read_text(path: Path) -> str:
    """Returns a text file; bytes that are no UTF-8 are replaced.

    Raises:
        DamagedFile: it is missing, no file, or too large.
    """
    return _content(path, _LARGEST_JSON).decode("utf-8", "replace")


def _no_number(word: str) -> Any:
    raise ValueError(f"{word[:40]} is not a number of JSON")


def _number(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else float(_no_number(digits))


def _content(path: Path, largest: int) -> bytes:
    """Returns a file's bytes; of what is no file nothing is read: a pipe would never end."""
    try:
        if not path.is_file():
            raise DamagedFile(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            content = file.read(largest + 1)
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
    """Writes CSV to an open text file, rows as they come; on a terminal with control characters written out."""
    writer = csv.writer(_Rows(file), lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)


_ANY_NAME = "surrogateescape"
"""Names of files need not be text: their bytes go through as they are."""


class _Rows:
    """Ends rows with a line feed alone. Python's writer puts quotes around the characters of its own row end only, and a
    name may hold a carriage return, which the reader would take for the end of a row."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._shown = file, file.isatty()

    def write(self, row: str) -> None:
        row = row.removesuffix("\r\n")
        self._file.write((visible(row, keep="\n\t") if self._shown else row) + "\n")


def read_heading(path: Path) -> list[str]:
    """Returns the column names of a CSV file whose heading is one line; empty where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors=_ANY_NAME, newline="") as file:
        return next(csv.reader([file.readline()]), [])


def append_row(path: Path, row: Sequence[Any]) -> None:
    """Adds a row to a CSV file, synced; a line that a killed process left unfinished must be gone.

    Raises:
        DamagedFile: a link, or no file, stands in its place.
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
    """Returns the rows of a CSV file, each by column name; with `whole_lines` an unfinished last line is no row.

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
    odd = next((row for row in rows if len(row) != len(columns)), None)
    if odd is not None:
        raise DamagedFile(f"{path}: a row of {len(odd)} cells below a header of {len(columns)}")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def append_line(path: Path, line: str) -> None:
    """Adds a line to a text file, its control characters written out; more lines are indented, so that none is forged.

    Raises:
        DamagedFile: a link, or no file, stands in its place.
    """
    _refuse_no_file(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(visible(line, keep="\n").replace("\n", "\n    ") + "\n")


def as_json(value: Any) -> Any:
    """Returns a value as a JSON file can hold it: numbers that are not finite are None, lists, names as text in UTF-8."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # the name of a file need not be text
    if isinstance(value, Mapping):
        return {as_json(str(key)): as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, (list, tuple)) else value
