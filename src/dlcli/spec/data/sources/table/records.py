"""Splits a text into records of cells, each with the number of its first line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from dlcli.errors import DataError
from dlcli.spec.data.sources.table.files import LONGEST_LINE

_MOST_FAULTS = 1000
Record = tuple[int, "list[str] | str"]
"""The number of a record's first line, with its cells, or with the fault of the record."""


@dataclass
class Counts:
    """Unusual rows that were read so far.

    Attributes:
        short: rows with fewer cells than the header, whose last cells are gaps; the first by its line.
        multiline: rows with a cell over several lines.
        comments: ignored lines that start with `#`.
    """

    short: list[int] = field(default_factory=list)
    multiline: list[int] = field(default_factory=list)
    comments: int = 0


class _Lines:
    """Numbered lines; those of a record whose quote is not closed can be read again."""

    def __init__(self, lines: Iterator[str], first: int) -> None:
        self._lines = lines
        self.number = first - 1
        self.record_lines: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        self.record_lines.append(line)
        return line

    def take_back(self) -> None:
        """Returns the lines of the current record to the input, all but the first."""
        lines = self.record_lines[1:]
        self._lines = chain(lines, self._lines)
        self.number -= len(lines)


def split_records(
    lines: Iterator[str], separator: str, first_line: int, counts: Counts, *, strict: bool = True
) -> Iterator[Record]:
    """Yields the records of a text with their first lines; a record with a wrong quote has a fault in place of cells.

    A quote that is not closed makes its own line a fault, and no other line. Without `strict`, a quote inside a quoted cell
    belongs to the cell, as earlier versions read it.

    Raises:
        DataError: there are too many faults.
    """
    csv.field_size_limit(LONGEST_LINE)
    if separator == " ":
        lines = (line.rstrip(" \t\r\n") for line in lines)
    numbered_lines = _Lines(lines, first_line)
    faults = 0
    reader = csv.reader(numbered_lines, delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        numbered_lines.record_lines.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            line = numbered_lines.number - len(numbered_lines.record_lines) + 1
            faults += 1
            if faults > _MOST_FAULTS:
                raise DataError(f"line {line}: more than {_MOST_FAULTS:,} lines have quotes that are not closed") from None
            yield line, _lenient(numbered_lines.record_lines, separator, strict=strict)
            numbered_lines.take_back()
            reader = csv.reader(numbered_lines, delimiter=separator, skipinitialspace=True, strict=True)
            continue
        if len(numbered_lines.record_lines) > 1:
            counts.multiline.append(numbered_lines.number - len(numbered_lines.record_lines) + 1)
        yield numbered_lines.number - len(numbered_lines.record_lines) + 1, cells


def _lenient(lines: list[str], separator: str, *, strict: bool) -> list[str] | str:
    """Returns the cells of a line with blanks behind its closing quotes, else what is wrong with it."""
    if len(lines) == 1 and not strict and lines[0].count('"') % 2 == 0:
        return next(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    if len(lines) == 1:
        tidy = re.sub(rf'"[ \t]+(?={re.escape(separator)}|[\r\n]|$)', '"', lines[0])
        try:
            return next(csv.reader([tidy], delimiter=separator, skipinitialspace=True, strict=True))
        except csv.Error:
            pass
    start = lines[0].rstrip()
    shown = start[:60] + ("..." if len(start) > 60 else "")
    return f"a quote is not closed, or is inside a quoted cell, where it must be doubled: {shown!r}"
