"""Looks at the beginning of a table's file: how it is written, which columns it has, and what each of them holds.

    look("prices.csv.gz").columns[3]  # Column(name="price", kind="whole number", distinct=873, ...)

Neither NumPy nor pandas is imported, except by the formats that need a package of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from dlcli.errors import DataError
from dlcli.spec.data.sources.table.cells import MARKS, SPACES, Decoration, decoration, is_date, is_number, is_whole
from dlcli.spec.data.sources.table.dialect import (
    SAMPLE,
    Dialect,
    find_dialect,
    lines_before,
    records_of,
    split_record,
)
from dlcli.spec.data.sources.table.files import LONGEST_LINE, OtherEncoding, decoded, decompressed, file_format, find_encoding

ColumnKind = Literal["number", "whole number", "category", "text", "date", "identifier", "constant", "empty"]
_MOST_BYTES = 2**22
"""Characters of a file's beginning that are looked at."""
_MOSTLY = 0.95
_CAMEL_IDENTIFIER = re.compile(r"(?:^|[\W_]|(?<=[a-z])(?=[A-Z]))(?:[iI][dD]|ID|[Ii]ndex|[Uu]uid|UUID|[Gg]uid|idx)$")


@dataclass(frozen=True)
class Column:
    """What a column holds, by the rows that were looked at.

    Attributes:
        name: its name; `column_3` where the file has no header, `Unnamed: 0` where the header has no name for it.
        place: its position, from 0.
        kind: what it holds. An `identifier` numbers or names the rows; a `constant` has one value; `text` has too many
            values to be a category.
        distinct: how many different values it has, without gaps.
        gaps: how many cells have no value.
        examples: its most common values, at most five.
        decoration: why its numbers are not read as numbers, such as a currency.
        non_numbers: the values that are not numbers in a column that is mostly numbers, such as `?`.
    """

    name: str
    place: int
    kind: ColumnKind
    distinct: int
    gaps: int
    examples: tuple[str, ...] = ()
    decoration: Decoration = ""
    non_numbers: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether it is read as a column of numbers."""
        return self.kind in ("number", "whole number")


@dataclass(frozen=True)
class Look:
    """What the beginning of a table's file shows.

    Attributes:
        path: the file.
        format: `text` for CSV and its relatives, `parquet`, `xlsx`.
        encoding: of a text; `latin-1` where it is not UTF-8 and nothing says what it is (`encoding_is_sure` is then false).
        dialect: how it is written.
        columns: its columns, in order.
        rows: how many rows were looked at, without the header.
        complete: whether these are all.
        notes: remarks for the user.
    """

    path: str
    format: str
    encoding: str
    dialect: Dialect
    columns: tuple[Column, ...]
    rows: int
    complete: bool
    encoding_is_sure: bool = True
    notes: tuple[str, ...] = field(default=())

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    def column(self, name: str) -> Column:
        """Returns a column by its name.

        Raises:
            KeyError: there is none.
        """
        return next((column for column in self.columns if column.name == name), None) or _no_column(name)

    def describe(self) -> str:
        """Returns how the file is written, in one line."""
        count = f"{len(self.columns):,} columns"
        if self.format != "text":
            return f"{self.format}, {count}"
        return f"{self.encoding}, {self.dialect.describe()}, {count}"


def _no_column(name: str) -> Column:
    raise KeyError(name)


def look(path: str | Path, *, rows: int = SAMPLE, **settings: Any) -> Look:
    """Looks at the beginning of a file, at most `rows` rows and 4 Mi characters.

    `settings` are those of `find_dialect` and `encoding`, as a spec has them.

    Raises:
        DataError: it is no table, is empty, or cannot be read.
    """
    kind = file_format(path)
    if kind != "text":
        return _look_at_typed(str(path), kind, rows, settings.get("sheet"))
    settings.pop("sheet", None)
    encoding = settings.pop("encoding", "auto")
    lines, complete, name, sure = _first_lines(path, encoding, rows)
    if not any(line.strip(SPACES) for line in lines):
        raise DataError("the file is empty")
    prefer = "\t" if re.search(r"\.(tsv|tab)(\.\w+)?$", str(path).lower()) else ","
    dialect = find_dialect(lines, whole=complete, prefer=prefer, **settings)
    records = [row for _, row in records_of(lines[dialect.first_line - 1 :], dialect.separator, whole=complete, most=rows + 2)]
    header = split_record(dialect.header_comment, dialect.separator) if dialect.header_comment else None
    if header is None and dialect.header:
        header, records = records[0], records[1:]
    records = _table_rows(header, records)
    complete, records = complete and len(records) <= rows, records[:rows]
    width = max(map(len, records), default=0)
    names = column_names(header, width)
    columns = tuple(look_at_column(name, place, records, dialect) for place, name in enumerate(names))
    return Look(str(path), kind, name, dialect, columns, len(records), complete, sure, _notes(dialect, names))


def _look_at_typed(path: str, kind: str, rows: int, sheet: str | None) -> Look:
    records, dialect, notes = _typed_records(path, kind, rows + 2, sheet)
    if not records:
        raise DataError("the table is empty")
    header = records[0] if dialect.header else None
    records = _table_rows(header, records[1:] if header else records)
    complete, records = len(records) <= rows, records[:rows]
    names = column_names(header, max(map(len, records), default=0))
    columns = tuple(look_at_column(name, place, records, dialect) for place, name in enumerate(names))
    return Look(path, kind, "", dialect, columns, len(records), complete, notes=(*notes, *_notes(dialect, names)))


def _typed_records(path: str, kind: str, most: int, sheet: str | None) -> tuple[list[list[str]], Dialect, tuple[str, ...]]:
    """Returns the first records of an Excel or Parquet file, including the header, its dialect, and notes."""
    from dlcli.spec.data.sources.table.typed import parquet_columns, parquet_names, sheet_table

    if kind == "parquet":
        batch = next(parquet_columns(path, rows=most), [])
        rows = [[cell or "" for cell in row] for row in zip(*batch, strict=True)]
        return [parquet_names(path), *rows[: most - 1]], Dialect(), ()
    table = sheet_table(path, sheet)
    return [cells for _, cells in islice(chain(table.head, table.rest), most)], table.dialect, table.notes


def _table_rows(header: Sequence[str] | None, records: Sequence[list[str]]) -> list[list[str]]:
    """Returns the records that a training reads: without comments and repeated headers."""
    return [row for row in records if row != header and not (row[0].startswith("#") and len(row) == 1 < len(header or "  "))]


def _notes(dialect: Dialect, names: Sequence[str]) -> tuple[str, ...]:
    notes = [dialect.doubt] if dialect.doubt else []
    notes += lines_before(dialect.skipped)
    twice = [name for name, count in Counter(names).items() if count > 1]
    notes += [f"the header has the column {name!r} twice" for name in twice]
    return tuple(notes)


def column_names(header: Sequence[str] | None, width: int) -> list[str]:
    """Returns the names of a table's columns.

    Without a header they are `column_1`, `column_2`, ...; one without a name is `Unnamed: 3` by its place from 0, as in pandas.
    Nameless columns at the end that no row has are none.
    """
    if header is None:
        return [f"column_{place}" for place in range(1, width + 1)]
    names = [name.strip(SPACES) for name in header]
    while len(names) > max(width, 1) and not names[-1]:
        names.pop()
    return [name or f"Unnamed: {place}" for place, name in enumerate(names)]


def _first_lines(path: str | Path, encoding: str, rows: int) -> tuple[list[str], bool, str, bool]:
    """Returns the first lines, whether they are all, the encoding, and whether it is sure."""
    with decompressed(path) as file:
        name = find_encoding(file.peek(4096)[:4096]) if encoding == "auto" else encoding
        try:
            lines, complete = _bounded(decoded(file, name), rows)
            return lines, complete, name, True
        except OtherEncoding:
            if encoding != "auto" or name != "utf-8":
                raise
    with decompressed(path) as file:
        lines, complete = _bounded(decoded(file, "latin-1"), rows)
        return lines, complete, "latin-1", False


def _bounded(lines: Iterator[str], rows: int) -> tuple[list[str], bool]:
    """Returns the first lines of at most 4 Mi characters, and whether they are all."""
    head: list[str] = []
    remaining = _MOST_BYTES
    for line in islice(lines, rows + 101):
        head.append(line)
        remaining -= len(line)
        if remaining < 0:
            return head, False
    return head, next(lines, None) is None


def look_at_column(
    name: str, place: int, records: Sequence[Sequence[str]], dialect: Dialect, marks: Container[str] = MARKS
) -> Column:
    """Returns what a column holds by some rows."""
    cells = [row[place].strip(SPACES) if place < len(row) else "" for row in records]
    counts = Counter(cell for cell in cells if cell not in marks)
    gaps = len(cells) - sum(counts.values())
    kind, how, non_numbers = _kind(name, cells, counts, dialect.decimal)
    examples = tuple(value for value, _ in counts.most_common(5))
    return Column(name, place, kind, len(counts), gaps, examples, how, non_numbers)


def _kind(
    name: str, cells: Sequence[str], counts: Counter[str], decimal: str
) -> tuple[ColumnKind, Decoration, tuple[str, ...]]:
    """Returns what a column holds, what decorates its numbers, and what is no number in it where most are."""
    values = sum(counts.values())
    if not values:
        return "empty", "", ()
    if len(counts) == 1 and values > 1:
        return "constant", "", ()
    non_numbers = [value for value in counts if not is_number(value, decimal)]
    if not non_numbers:
        return _number_kind(name, [cell for cell in cells if cell in counts], counts), "", ()
    if sum(counts[value] for value in counts if is_date(value)) >= _MOSTLY * values:
        return "date", "", ()
    how = Counter(decoration(value) for value in non_numbers)
    most, count = how.most_common(1)[0]
    plain = sum(counts[value] for value in counts) - sum(counts[value] for value in non_numbers)
    decorated = sum(counts[value] for value in non_numbers if decoration(value))
    text = _text_kind(name, counts, values)
    if plain + decorated < 0.5 * values:
        return text, "", ()
    undecorated = tuple(value for value in non_numbers if not decoration(value))[:5]
    return text, most if most or count == len(non_numbers) else how.most_common(2)[1][0], undecorated


def _number_kind(name: str, cells: Sequence[str], counts: Counter[str]) -> ColumnKind:
    if not all(map(is_whole, counts)):
        return "number"
    count = len(cells)
    if len(counts) == count > 2 and (named_identifier(name) or _numbers_the_rows(cells)):
        return "identifier"
    return "whole number"


def _numbers_the_rows(cells: Iterable[str]) -> bool:
    """Whether whole numbers rise by one from row to row, from 0 or 1."""
    numbers = [int(float(cell)) for cell in cells]
    return len(numbers) > 9 and numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def named_identifier(name: str) -> bool:
    """Whether a column's name says that it numbers or names the rows: `id`, `PassengerId`, `row_index`."""
    return _CAMEL_IDENTIFIER.search(name) is not None or name.startswith("Unnamed: ")


def _text_kind(name: str, counts: Counter[str], count: int) -> ColumnKind:
    if len(counts) == count > 9 and (named_identifier(name) or all(re.fullmatch(r"[\w.-]{4,64}", value) for value in counts)):
        return "identifier"
    wordy = sum(len(value) > 60 for value in counts) > 0.2 * len(counts)
    return "text" if wordy or len(counts) > 200 or (count > 20 and len(counts) > 0.5 * count) else "category"


@contextmanager
def _text_lines(path: str | Path, encoding: str) -> Iterator[Iterator[str]]:
    with decompressed(path) as file:
        yield decoded(file, encoding)


def count_values(beginning: Look, name: str, *, most: int = 1000) -> Counter[str]:
    """Returns how often each value occurs in a column of the whole file, without gaps; at most `most` different values.

    One more than `most` means that there are more.

    Raises:
        DataError: the file cannot be read.
    """
    place = beginning.column(name).place
    counts: Counter[str] = Counter()
    if beginning.format != "text":
        records, _, _ = _typed_records(beginning.path, beginning.format, 2**62 if beginning.format == "xlsx" else 2**24, None)
        header = records[0] if beginning.dialect.header else None
        below = _table_rows(header, records[1:] if header else records)
        cells = (row[place].strip(SPACES) if place < len(row) else "" for row in below)
        return Counter(dict(Counter(cell for cell in cells if cell not in MARKS).most_common(most + 1)))
    first = beginning.dialect.first_line - 1
    with _text_lines(beginning.path, beginning.encoding) as lines:
        import csv

        csv.field_size_limit(LONGEST_LINE)
        rows = csv.reader(islice(lines, first, None), delimiter=beginning.dialect.separator, skipinitialspace=True)
        header = None
        if beginning.dialect.header and not beginning.dialect.header_comment:
            header = next((row for row in rows if any(row)), None)
        try:
            for row in rows:
                if not _table_rows(header, [row] if row else []):
                    continue
                value = row[place].strip(SPACES) if place < len(row) else ""
                if value not in MARKS:
                    counts[value] += 1
                    if len(counts) > most:
                        break
        except csv.Error as error:
            raise DataError(f"line {first + rows.line_num}: {error}") from None
    return counts
