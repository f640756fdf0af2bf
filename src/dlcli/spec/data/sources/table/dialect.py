"""Detects how the text of a table is written: separator, decimal mark, header, lines above the table.

Settings of a spec are taken as they are; the rest is detected in the first lines.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from dlcli.spec.data.sources.table.cells import MARKS, SPACES, Decimal, decoration, find_decimal, is_date, is_number, is_whole

SEPARATORS = (",", ";", "\t", "|")
SAMPLE = 1000
"""Lines at the beginning of a file in which its dialect is detected."""
NAMES = {"\t": "tab", " ": "space", ",": "comma", ";": "semicolon", "|": "pipe"}
_MOSTLY = 0.9
_CELLS = 50_000
"""The most cells that are examined, so that thousands of columns take no longer than a few."""


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Attributes:
        separator: the character between cells; a blank means any number of them.
        decimal: the decimal mark of its numbers.
        header: whether its first record names the columns.
        first_line: the line of its first record, from 1; earlier lines do not belong to the table.
        skipped: the lines before its first record, such as `sep=;` or a comment.
        header_comment: whether the header is the comment in the line before the first record.
        doubt: why the first record seems to be no header, as text, if the spec does not say it.
        header_is_sure: whether the first record shows that it names the columns, by words above numbers.
    """

    separator: str = ","
    decimal: Decimal = "."
    header: bool = True
    first_line: int = 1
    skipped: tuple[str, ...] = ()
    header_comment: str = ""
    doubt: str = ""
    header_is_sure: bool = False

    def describe(self) -> str:
        """Returns the dialect in one line."""
        header = "header" if self.header else "no header"
        decimal = ", decimal comma" if self.decimal == "," else ""
        return f"separator {NAMES.get(self.separator, repr(self.separator))}{decimal}, {header}"


def lines_before(skipped: Sequence[str]) -> list[str]:
    """Returns a note on the lines before a table, if there are any."""
    if not skipped:
        return []
    lines = "1 line before the table is" if len(skipped) == 1 else f"{len(skipped)} lines before the table are"
    return [f"{lines} ignored: {skipped[0][:60]!r}{', ...' if len(skipped) > 1 else ''}"]


def split_record(line: str, separator: str) -> list[str]:
    """Returns the cells of one line."""
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])


def find_dialect(
    lines: Sequence[str],
    *,
    separator: str = "auto",
    decimal: str = "auto",
    header: bool | None = None,
    skip_lines: int | None = None,
    names: Iterable[str] = (),
    prefer: str = "",
    whole: bool = True,
) -> Dialect:
    """Returns the dialect of a table's first lines; arguments that are set are taken as they are.

    Args:
        lines: the first lines.
        separator: the character between cells; `auto`: found.
        decimal: the decimal mark; `auto`: found.
        header: whether the first record names the columns; None: found.
        skip_lines: lines before the first record; None: found.
        names: columns that the spec names, by which a header is known.
        prefer: the separator that the file's name suggests.
        whole: whether the lines are the whole file, so that the last record is complete.
    """
    expected = set(names)
    start, skipped, declared_separator = _leading(lines, skip_lines)
    rest = lines[start:]
    if separator == "auto":
        separator = declared_separator or _find_separator(rest, expected, prefer)
    records = records_of(rest, separator, whole=whole)
    if skip_lines is None:
        titles = find_titles([row for _, row in records], expected)
        if header is None:
            below = [row for _, row in records[titles:]]
            titles += _lines_above(below, expected) or find_group_names(below, expected)
        skipped += tuple(rest[number - 1].strip() for number, _ in records[:titles])
        start, records = start + (records[titles - 1][0] if titles else 0), records[titles:]
    cells = [row for _, row in records]
    mark: Decimal = "," if decimal == "," else "."
    if decimal == "auto":
        mark = find_decimal(islice((cell.strip(SPACES) for row in cells for cell in row), _CELLS), separator)
    dialect = Dialect(separator, mark, True, start + 1, skipped)
    if header is not None:
        return replace(dialect, header=header)
    comment = _header_comment(skipped, cells, separator, expected)
    if comment:
        return replace(dialect, header_comment=comment)
    doubt, is_sure = judge_header(cells, mark, expected)
    return replace(dialect, header=not doubt, doubt=doubt, header_is_sure=is_sure)


def _leading(lines: Sequence[str], skip_lines: int | None) -> tuple[int, tuple[str, ...], str]:
    """Returns the position of the first record, the lines before it, and the separator of a `sep=` line."""
    if skip_lines is not None:
        return min(skip_lines, len(lines)), tuple(line.strip() for line in lines[:skip_lines]), ""
    start, skipped, declared_separator = 0, [], ""
    for line in lines:
        text = line.strip(SPACES)
        separator = re.fullmatch(r'"?sep=(.)"?', line.strip("\r\n\ufeff "), re.IGNORECASE)
        if separator and not declared_separator:
            declared_separator = separator[1]
        elif text and not _is_comment(lines, start):
            break
        if text:
            skipped.append(text)
        start += 1
    return start, tuple(skipped), declared_separator


def _is_comment(lines: Sequence[str], place: int) -> bool:
    """Whether a line is a comment: it starts with `#`, and is not a header like the records below it."""
    text = lines[place].lstrip(SPACES)
    if not text.startswith("#"):
        return False
    below = next((line for line in lines[place + 1 :] if line.strip(SPACES)), "")
    if not below or below.lstrip().startswith("#"):
        return bool(below)
    counts = [(text.count(separator), below.count(separator)) for separator in SEPARATORS]
    return not any(ours and ours == theirs for ours, theirs in counts) or text[1:2] in " !"


def records_of(lines: Iterable[str], separator: str, *, whole: bool = True, most: int = SAMPLE) -> list[tuple[int, list[str]]]:
    """Returns the records in some lines, each with the number of its last line, from 1, without blank records."""
    csv.field_size_limit(2**26)
    reader = csv.reader(_without_end_blanks(lines, separator), delimiter=separator, skipinitialspace=True)
    records: list[tuple[int, list[str]]] = []
    try:
        for row in islice(reader, most):
            if any(cell.strip(SPACES) for cell in row):
                records.append((reader.line_num, row))
    except csv.Error:
        return records
    return records if whole or len(records) < 2 else records[:-1]


def _without_end_blanks(lines: Iterable[str], separator: str) -> Iterable[str]:
    return (line.rstrip(" \r\n") for line in lines) if separator == " " else lines


def _find_separator(lines: Sequence[str], expected: set[str], prefer: str) -> str:
    """Returns the separator with which the header has the expected columns and the records are equally wide."""
    best, points = ",", (-1.0, 0.0, 0.0, 0.0, 0.0)
    for separator in (*SEPARATORS, " "):
        records = [row for _, row in records_of(lines[:200], separator, whole=False, most=200)]
        widths = Counter(map(len, records))
        width = max(widths, key=lambda size: (widths[size], size), default=1)
        if width < 2 or (separator == " " and (width < 3 or widths[width] < len(records) or _find_any(lines))):
            continue
        header = next((row for row in records if len(row) > 1), [])
        names = {cell.strip(SPACES) for cell in header}
        even = widths[width] / len(records) if abs(len(header) - width) <= 1 else 0.0
        clean = [cell.strip(SPACES) for row in records[1 : 2 + 5_000 // width] for cell in row[:5_000]]
        numbers = sum(map(_is_numeric, clean)) / max(len(clean), 1)
        is_first = len(records[0]) == width  # no separator occurs only in the values
        score = (float(bool(expected & names)), round(even, 1), float(is_first), round(numbers, 2), float(separator == prefer))
        if even and score > points:
            best, points = separator, score
    return best


def _is_numeric(cell: str) -> bool:
    """Whether a cell is a number in any form, or a date."""
    return is_number(cell) or is_number(cell, ",") or is_date(cell) or bool(decoration(cell))


def _find_any(lines: Sequence[str]) -> bool:
    """Whether most lines hold the same separator other than blanks."""
    sample = [line for line in lines[:200] if line.strip(SPACES)]
    return any(sum(separator in line for line in sample) > _MOSTLY * len(sample) for separator in SEPARATORS)


def find_titles(rows: Sequence[list[str]], expected: AbstractSet[str]) -> int:
    """Returns how many titles are above the table: records of a single cell above records of several."""
    widths = Counter(map(len, rows))
    width = max(widths, key=lambda size: (widths[size], size), default=1)
    count = 0
    for row in rows:
        filled = [cell.strip(SPACES) for cell in row if cell.strip(SPACES)]
        if width < 3 or len(filled) > 1 or set(filled) & expected or count == len(rows) - 1:
            break
        count += 1
    return count


def find_group_names(rows: Sequence[list[str]], expected: AbstractSet[str]) -> int:
    """Returns how many records above the header name groups of columns, 0 or 1: `in,,,out` above `age,height,weight,y`.

    Such names are repeated, or are in merged cells of a sheet; below them each column has its own name, above its values.
    """
    if len(rows) < 3:
        return 0
    groups, names = ([cell.strip(SPACES) for cell in row] for row in rows[:2])
    if 3 * len(set(groups) - {""}) > 2 * len(names) or len(set(names) - {""}) < len(names) - 1 or expected & set(groups):
        return 0
    is_header = bool(expected) and expected <= set(names)
    return int(not any(map(is_number, names)) and (is_header or judge_header(rows[1:], ".", expected) == ("", True)))


def join_header(rows: Sequence[list[str]], expected: AbstractSet[str]) -> list[str] | None:
    """Returns the names of a header over two rows with merged cells, `id,in,,y` above `,age,weight,`; None for any other."""
    if len(rows) < 3:
        return None
    above, below = ([cell.strip(SPACES) for cell in row] for row in rows[:2])
    names = [lower or upper for upper, lower in zip(above, below, strict=True)]
    in_both = "" in above and "" in below and all(names) and len(set(names)) == len(names)
    is_header = in_both and not any(map(is_number, names)) and judge_header([names, *rows[2:]], ".", expected) == ("", True)
    return names if is_header else None


def _lines_above(rows: Sequence[list[str]], expected: AbstractSet[str]) -> int:
    """Returns how many records are above a header with all columns of the spec, if the first record has none of them."""
    if not expected or not rows or expected & {cell.strip(SPACES) for cell in rows[0]}:
        return 0
    for place, row in enumerate(rows[1:20], 1):
        others = all(len(other) != len(row) for other in rows[:place])
        if others and expected <= {cell.strip(SPACES) for cell in row} and not judge_header(rows[place:], ".", expected)[0]:
            return place
    return 0


def _header_comment(skipped: Sequence[str], rows: list[list[str]], separator: str, expected: set[str]) -> str:
    """Returns the comment above the first record where it names the columns, without its `#`."""
    if not skipped or not rows or not skipped[-1].startswith("#"):
        return ""
    text = skipped[-1].lstrip("#! ")
    names = [name.strip(SPACES) for name in split_record(text, separator)]
    fits = len(names) == len(rows[0]) > 1 and not any(map(is_number, names))
    first = {cell.strip(SPACES) for cell in rows[0]}
    return text if fits and not expected & first and (expected & set(names) or any(map(is_number, first))) else ""


def judge_header(rows: Sequence[list[str]], decimal: str, expected: AbstractSet[str]) -> tuple[str, bool]:
    """Returns why the first record is a row of values and not a header, and whether it shows that it is a header.

    The reason is "" where it is a header, or nothing shows.

    Each column counts for one of them: a number above numbers of its size, and a value that the column has again below, for
    a row; a word above numbers, and a number that none below is like, for a header.
    """
    if not rows:
        return "", False
    first = [cell.strip(SPACES) for cell in rows[0][:200]]
    below = [row for row in rows[1 : 2 + _CELLS // len(rows[0])] if row != rows[0]]
    if _counts_up([cell for cell in first if is_number(cell)]):
        return "", False
    for_row: list[str] = []
    for_header = 0
    for place, cell in enumerate(first):
        column = [row[place].strip(SPACES) for row in below if place < len(row) and row[place].strip(SPACES)]
        verdict = _verdict(cell, column, decimal)
        if verdict > 0:
            for_row.append(cell)
        for_header -= min(verdict, 0)
    numbers = [cell for cell in first if is_number(cell, decimal)]
    if not below:
        for_row = numbers if numbers and len(numbers) * 2 >= len([cell for cell in first if cell]) else []
    named = len(expected & {cell.strip(SPACES) for cell in rows[0]}) > len(expected & set(for_row))
    if len(for_row) <= for_header or named or not for_row:
        return "", bool(for_header or named)
    return f"its first row holds values such as {', '.join(for_row[:3])}", False


def _verdict(cell: str, column: list[str], decimal: str) -> int:
    """Returns 1 where a first cell is a value like those below it, -1 where it is a name, 0 where nothing shows."""
    numbers = [float(value.replace(",", ".")) for value in column if is_number(value, decimal)]
    mostly = bool(column) and len(numbers) > _MOSTLY * len(column)
    if is_number(cell, decimal) and numbers:
        if not is_whole(cell):
            return 1
        low, high = min(numbers), max(numbers)
        reach = max(high - low, max(abs(low), abs(high)) / 2)
        return 1 if low - reach <= float(cell) <= high + reach else -1 if mostly else 0
    if mostly:
        return -1 if cell not in MARKS and (len(cell) > 1 or cell.isalpha()) else 0
    if column and is_date(cell) and is_date(column[0]):
        return 1
    return 1 if column.count(cell) >= max(1, len(column) // 100) and cell else 0


def _counts_up(names: list[str]) -> bool:
    """Whether numbers in a header are names: 0, 1, 2, ... as pandas writes them, or years."""
    if len(names) < 2 or not all(name.isdecimal() and len(name) < 10 for name in names):
        return False
    numbers = list(map(int, names))
    steps = {after - before for before, after in pairwise(numbers)}
    return steps == {1} or (len(names) > 2 and len(steps) == 1 and min(steps) > 0)
