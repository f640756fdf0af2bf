"""The one reader of tables: a file, or the rows on stdin, as records of one width, with what is wrong with each.

Training, evaluating, slicing and predicting read by it, so that a cell means the same in all of them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from dlcli.errors import DataError
from dlcli.spec.data.sources.table.cells import SPACES, Decimal, normalized
from dlcli.spec.data.sources.table.dialect import (
    SAMPLE,
    Dialect,
    find_dialect,
    lines_before,
    split_record,
)
from dlcli.spec.data.sources.table.files import decoded, decompressed, file_format, file_version, find_encoding
from dlcli.spec.data.sources.table.records import Counts, Record, split_records

EMPTY = "the row is empty"
REPEATED = "the row repeats the header"
_SAMPLE_CHARACTERS = 2**22
_CHECKED_CELLS = 200_000


@dataclass(frozen=True)
class Settings:
    """How a spec says that its tables are written; None and `auto` are detected in each file.

    Attributes:
        names: the columns, where the spec names them; empty: those of the header.
        expected: columns that the spec names, by which a header is recognised.
        targets: columns that a file may lack where `names` has them and it has no header.
        strip: whether blanks around names and cells are removed.
    """

    encoding: str = "auto"
    separator: str = "auto"
    decimal: str = "auto"
    header: bool | None = None
    names: tuple[str, ...] = ()
    skip_lines: int | None = None
    sheet: str | None = None
    expected: frozenset[str] = frozenset()
    targets: tuple[str, ...] = ()
    strip: bool = True


class Row(NamedTuple):
    """A record below the header: its number from 1, its line in the file, its cells, and its fault."""

    number: int
    line: int
    cells: list[str]
    fault: str = ""


@dataclass(frozen=True)
class OpenTable:
    """A table that is being read.

    Attributes:
        names: its columns.
        rows: its rows, each with `len(names)` cells or a fault.
        dialect: how it is written.
        format: `text`, `parquet`, `xlsx` or `memory`.
        encoding: of a text.
        counts: unusual rows among those that were read.
        notes: remarks for the user, before its rows are read.
    """

    names: list[str]
    rows: Iterator[Row]
    dialect: Dialect
    format: str
    encoding: str = ""
    counts: Counts = field(default_factory=Counts)
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Returns how the file is written, in a few words."""
        return self.format if self.format != "text" else f"{self.encoding}, {self.dialect.describe()}"


@contextmanager
def open_table(path: str | Path, settings: Settings) -> Iterator[OpenTable]:
    """Opens a file.

    Raises:
        DataError: it is no table, cannot be read, or has neither a header nor names for its columns in the spec.
    """
    kind = file_format(path)
    if kind != "text":
        yield _typed_table(str(path), kind, settings)
        return
    with decompressed(path) as file:
        prefer = "\t" if re.search(r"\.(tsv|tab)(\.\w+)?$", str(path).lower()) else ","
        yield open_stream(file, settings, prefer=prefer)


@dataclass(frozen=True)
class Beginning:
    """The beginning of a table: how it is written, its first rows, sound or not, and whether there are more."""

    table: OpenTable
    rows: tuple[Row, ...]
    unsound: tuple[Row, ...]
    more: bool

    @property
    def count(self) -> int:
        """How many rows were looked at, sound or not."""
        return len(self.rows) + len(self.unsound)

    @property
    def faults(self) -> list[Row]:
        """The rows that do not fit the header, for which training refuses the table."""
        return [row for row in self.unsound if row.fault not in (EMPTY, REPEATED)]


def look_at(path: str, settings: Settings) -> Beginning:
    """Returns the beginning of a file, about 200,000 cells; an unchanged file is read once.

    Raises:
        DataError: as `open_table` does.
    """
    return _looked_at(path, settings, file_version(path))


@lru_cache(maxsize=16)
def _looked_at(path: str, settings: Settings, _version: tuple[int, int]) -> Beginning:
    with open_table(path, settings) as table:
        rows = tuple(islice(table.rows, max(1, _CHECKED_CELLS // max(len(table.names), 1))))
        sound, unsound = tuple(row for row in rows if not row.fault), tuple(row for row in rows if row.fault)
        return Beginning(replace(table, rows=iter(())), sound, unsound, next(table.rows, None) is not None)


def refuse_rows(faults: Sequence[Row], width: int) -> None:
    """Raises DataError for rows that do not fit the header."""
    if faults:
        named = "; ".join(f"line {row.line}: {row.fault}" for row in faults[:5])
        longer = [row for row in faults if row.fault == f"{width + 1} cells below a header of {width}"]
        first_cells = {row.cells[0] for row in longer}
        names_rows = len(longer) == len(faults) == len(first_cells) and longer[0].number == 1
        hint = "; if each row begins with a row name, as written by R, name all columns with `header: true` and `names`"
        raise DataError(named + ("; and more" if len(faults) > 5 else "") + hint * names_rows)


def open_stream(file: io.BufferedReader, settings: Settings, *, prefer: str = ",", sample: int = SAMPLE) -> OpenTable:
    """Opens a text that is read once, such as stdin; `sample` lines are read ahead."""
    encoding = find_encoding(file.peek(4096)[:4096]) if settings.encoding == "auto" else settings.encoding
    return open_lines(decoded(file, encoding), settings, encoding=encoding, prefer=prefer, sample=sample)


def open_lines(
    lines: Iterator[str], settings: Settings, *, encoding: str = "utf-8", prefer: str = ",", sample: int = SAMPLE
) -> OpenTable:
    """Opens a text by its lines; `sample` of them are read ahead."""
    head = _ahead(lines, sample)
    dialect = find_dialect(
        head,
        separator=settings.separator,
        decimal=settings.decimal,
        header=settings.header,
        skip_lines=settings.skip_lines,
        names=settings.expected | set(settings.names),
        prefer=prefer,
        whole=len(head) < sample,
    )
    counts = Counts()
    rest = chain(head[dialect.first_line - 1 :], lines)
    records = split_records(rest, dialect.separator, dialect.first_line, counts, strict=settings.strip)
    header = split_record(dialect.header_comment, dialect.separator) if dialect.header_comment else None
    return _opened(records, dialect, settings, OpenTable([], iter(()), dialect, "text", encoding, counts), header)


def table_in_memory(columns: Mapping[str, Sequence[str]]) -> OpenTable:
    """Returns a table of columns of text, all of one length; an empty text is a missing value."""
    rows = (Row(number, number, list(cells)) for number, cells in enumerate(zip(*columns.values(), strict=True), 1))
    return OpenTable([str(name) for name in columns], rows, Dialect(), "memory")


def _ahead(lines: Iterator[str], most: int) -> list[str]:
    head: list[str] = []
    remaining = _SAMPLE_CHARACTERS
    for line in islice(lines, most):
        head.append(line)
        remaining -= len(line)
        if remaining < 0:
            break
    return head


def _opened(
    records: Iterator[Record], dialect: Dialect, settings: Settings, table: OpenTable, comment: list[str] | None
) -> OpenTable:
    """Returns the table with its names and its rows, from its records."""
    first = next(records, None)
    while first is not None and isinstance(first[1], list) and not any(cell.strip(SPACES) for cell in first[1]):
        first = next(records, None)
    if first is None and not comment:
        raise DataError("the file is empty")
    if first is not None and isinstance(first[1], str):
        raise DataError(f"line {first[0]}: {first[1]}")
    cells = [_name(cell, settings) for cell in first[1]] if first is not None and comment is None else comment or []
    names, has_header = _names(cells, dialect, settings)
    rest = records if has_header and comment is None else chain([first] if first else [], records)
    dialect = replace(dialect, header=has_header)
    header = list(first[1]) if first is not None and has_header and comment is None else names
    rows = _rows(rest, len(names), header, table.counts)
    notes = _notes(dialect, names, settings)
    return replace(table, names=names, rows=rows, dialect=dialect, notes=(*table.notes, *notes))


def _name(cell: str, settings: Settings) -> str:
    return normalized(cell) if settings.strip else cell


def _names(cells: list[str], dialect: Dialect, settings: Settings) -> tuple[list[str], bool]:
    """Returns the names of the columns, and whether the first record is the header.

    Raises:
        DataError: the first record holds values and the columns have no names, or the spec has too many or too few names.
    """
    if settings.names:
        return _explicit_names(cells, dialect, settings)
    if settings.header is False:
        return [f"column_{place}" for place in range(1, len(cells) + 1)], False
    if dialect.doubt and settings.header is None:
        raise DataError(no_header(dialect.doubt))
    return [name or f"Unnamed: {place}" for place, name in enumerate(cells)], True


def _explicit_names(cells: list[str], dialect: Dialect, settings: Settings) -> tuple[list[str], bool]:
    """Returns the names that the spec gives, and whether the first record is a header, which they then replace."""
    names = list(settings.names)
    without = [name for name in names if name not in settings.targets]
    if set(cells) in (set(names), set(without)):
        return cells, True
    has_header = settings.header is True or (settings.header is None and dialect.header_is_sure)
    if len(cells) == len(names) or (settings.header is True and len(cells) == len(names) - 1):
        return names, has_header  # R writes no name above the names of rows
    if len(cells) == len(without):
        return without, has_header
    raise DataError(f"has {len(cells)} columns, and `names` has {len(names)}")


def counted_rows(count: int) -> str:
    """Returns a number of rows as text."""
    return "1 row" if count == 1 else f"{count:,} rows"


def no_header(doubt: str) -> str:
    """Returns the words for a table without a header."""
    return (
        f"no header: {doubt}; add a header, or set `header: false`, which names the columns column_1,"
        " column_2, ... (or by `names`), or set `header: true` if this row is the header"
    )


def _notes(dialect: Dialect, names: Sequence[str], settings: Settings) -> Iterator[str]:
    yield from lines_before(dialect.skipped)
    numbers = [name for name in names if name.isdecimal()]
    if dialect.header and settings.header is None and numbers and not settings.names:
        listed = ", ".join(numbers[:5]) + (", ..." if len(numbers) > 5 else "")
        yield f"the first line is read as the header although it contains numbers ({listed}); if it is not, set `header: false`"


def _rows(records: Iterable[Record], width: int, header: Sequence[str], counts: Counts) -> Iterator[Row]:
    """Yields the rows below the header, all of one width, without blank lines."""
    number = 0
    for line, cells in records:
        if isinstance(cells, str):
            number += 1
            yield Row(number, line, [], cells)
            continue
        size = len(cells)
        if size < width:
            if size == 0 or (size == 1 and not cells[0].strip(SPACES)):
                continue
            if size == 1 and cells[0].startswith("#"):
                counts.comments += 1
                continue
        number += 1
        if size != width:
            cells, fault = _fitted(line, cells, width, counts)
            if fault:
                yield Row(number, line, cells, fault)
                continue
        if not cells[0] and not any(cell.strip(SPACES) for cell in cells):
            yield Row(number, line, [], EMPTY)
        elif cells[0] == header[0] and width > 1 and cells == header:
            yield Row(number, line, [], REPEATED)
        else:
            yield Row(number, line, cells)


def _fitted(line: int, cells: list[str], width: int, counts: Counts) -> tuple[list[str], str]:
    """Returns a row's cells at the header's width, or what is wrong with it; cells beyond it may only be empty."""
    if len(cells) < width:
        counts.short.append(line)
        return cells + [""] * (width - len(cells)), ""
    if any(cell.strip(SPACES) for cell in cells[width:]):
        return cells, f"{len(cells)} cells below a header of {width}"
    return cells[:width], ""


def _typed_table(path: str, kind: str, settings: Settings) -> OpenTable:
    """Returns the table of an Excel or Parquet file."""
    from dlcli.spec.data.sources.table.typed import parquet_columns, parquet_names, sheet_table

    decimal: Decimal = "," if settings.decimal == "," else "."
    if kind == "parquet":
        records: Iterator[Record] = (
            (line, [cell or "" for cell in cells])
            for line, cells in enumerate(
                chain.from_iterable(zip(*batch, strict=True) for batch in parquet_columns(path, rows=20_000)), 2
            )
        )
        dialect = Dialect(decimal=decimal)
        named = replace(settings, header=True)
        return _opened(chain([(1, parquet_names(path))], records), dialect, named, OpenTable([], iter(()), dialect, kind), None)
    sheet = sheet_table(
        path,
        settings.sheet,
        decimal=decimal,
        header=settings.header,
        skip_lines=settings.skip_lines,
        names=settings.expected | set(settings.names),
    )
    rows = chain(sheet.head, sheet.rest)
    return _opened(rows, sheet.dialect, settings, OpenTable([], iter(()), sheet.dialect, kind, notes=sheet.notes), None)
