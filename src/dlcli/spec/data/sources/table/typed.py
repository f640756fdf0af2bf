"""Tables with typed cells, Excel and Parquet, as records of text like those of a CSV file."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any

from dlcli.errors import DataError
from dlcli.spec.data.sources.table.cells import Decimal
from dlcli.spec.data.sources.table.dialect import SAMPLE, Dialect, find_group_names, find_titles, join_header, judge_header

_LARGEST_WORKBOOK = 2**32
"""Bytes of a workbook when it is unpacked."""
_LARGEST_SEARCHED = 2**26
"""Bytes of the largest sheet, unpacked, that is searched for merged cells."""
_NO_CELLS = ("list", "struct", "map", "large_list", "fixed_size_list", "binary", "large_binary")
Record = tuple[int, list[str]]
"""A row's number in the sheet, and its cells as text."""


@dataclass(frozen=True)
class Sheets:
    """The sheet of a workbook that is read, and the others."""

    name: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class SheetTable:
    """The table in a sheet.

    Attributes:
        head: its first records, the header among them, all of one width, each with its row in the sheet.
        rest: the records below them.
        dialect: the lines above it, and whether its first record is a header.
        notes: remarks for the user.
    """

    head: list[Record]
    rest: Iterator[Record]
    dialect: Dialect
    notes: tuple[str, ...]


def sheet_table(
    path: str | Path,
    sheet: str | None = None,
    *,
    decimal: Decimal = ".",
    header: bool | None = None,
    skip_lines: int | None = None,
    names: AbstractSet[str] = frozenset(),
) -> SheetTable:
    """Returns the table in a sheet; the arguments are those of `find_dialect`.

    Raises:
        DataError: it is no workbook, or has no such sheet.
    """
    sheets = excel_sheets(path, sheet)
    rows = dropwhile(lambda record: record[0] <= (skip_lines or 0), excel_records(path, sheets.name))
    head = list(islice(rows, SAMPLE))
    titles = 0 if skip_lines is not None else find_titles([cells for _, cells in head], names)
    if skip_lines is None and header is None:
        titles += find_group_names([cells for _, cells in head[titles:]], names)
    skipped, head = tuple(" ".join(filter(None, cells)) for _, cells in head[:titles]), head[titles:]
    width = max((place + 1 for _, cells in head for place, cell in enumerate(cells) if cell), default=0)
    head = [(line, [*cells, *[""] * (width - len(cells))][:width]) for line, cells in head]
    joined = join_header([cells for _, cells in head], names) if header is None else None
    if joined:
        head = [(head[1][0], joined), *head[2:]]
    doubt, is_sure = judge_header([cells for _, cells in head], decimal, names)
    doubt = doubt if header is None else ""
    dialect = Dialect(decimal=decimal, skipped=skipped, header=not doubt, doubt=doubt, header_is_sure=is_sure)
    notes = [f"the header has two rows, joined as {', '.join(joined[:20])}"] if joined else []
    notes += _merged_notes(path, sheets.name, head[0][0] if head else 0)
    return SheetTable(head, rows, dialect, (*notes, *sheet_notes(path, sheets, [cells for _, cells in head])))


def excel_sheets(path: str | Path, sheet: str | None = None) -> Sheets:
    """Returns the sheet that is read: by its name, else the first one that holds cells.

    Raises:
        DataError: it is no workbook, or has no such sheet.
    """
    with _workbook(path) as book:
        names = [worksheet.title for worksheet in book.worksheets]
        if sheet is not None and sheet not in names:
            raise DataError(f"has no sheet `{sheet}`; it has {', '.join(names[:20])}")
        chosen = sheet or next((name for name in names if next(_sheet_rows(book[name]), None)), names[0] if names else "")
        if not chosen:
            raise DataError("the workbook has no sheet")
        return Sheets(chosen, tuple(name for name in names if name != chosen))


def excel_records(path: str | Path, sheet: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows of a sheet that hold a cell, with their numbers in the sheet, as text.

    Whole numbers have no decimals, dates are in the form of ISO 8601, a formula is what it last gave.

    Raises:
        DataError: the file cannot be read.
    """
    with _workbook(path) as book:
        yield from _sheet_rows(book[sheet])


def has_open_formulas(path: str | Path, sheet: str, *, rows: int = 100) -> bool:
    """Whether formulas in the first rows of a sheet have no result: the program that wrote them did not calculate.

    Raises:
        DataError: the file cannot be read.
    """
    with _workbook(path) as results, _workbook(path, data_only=False) as formulas:
        pairs = zip(results[sheet].iter_rows(max_row=rows), formulas[sheet].iter_rows(max_row=rows), strict=False)
        return any(
            result.value is None and isinstance(formula.value, str) and formula.value.startswith("=")
            for result_row, formula_row in pairs
            for result, formula in zip(result_row, formula_row, strict=False)
        )


def sheet_notes(path: str | Path, sheets: Sheets, head: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns remarks on a workbook by the first rows of its sheet: other sheets, formulas without results."""
    others = f"not {', '.join(sheets.others)} (`data.source.sheet`)"
    notes = [f"the workbook's sheet `{sheets.name}` is read, {others}"] if sheets.others else []
    if any("" in cells for cells in head[:100]) and has_open_formulas(path, sheets.name):
        notes.append(
            "the workbook has formulas without results, which are missing values; open and save it in a spreadsheet program"
        )
    return tuple(notes)


def _merged_notes(path: str | Path, sheet: str, header: int) -> list[str]:
    """Returns a note on merged cells below the header's row, of which only the first holds the value."""
    rows = {cells: int(re.findall(r"\d+", cells)[0]) for cells in _merged_cells(path, sheet)}
    merged = sorted((cells for cells, row in rows.items() if row > header), key=lambda cells: (rows[cells], cells))
    if not merged:
        return []
    count = "1 range of cells is" if len(merged) == 1 else f"{len(merged):,} ranges of cells are"
    return [f"{count} merged, such as {merged[0]}: the first cell has the value, the others are missing values"]


def _merged_cells(path: str | Path, sheet: str) -> list[str]:
    """Returns the ranges of merged cells of a sheet, such as `A2:A9`, which openpyxl does not give while it reads rows."""
    with zipfile.ZipFile(path) as archive:
        try:
            book, links = (archive.read(f"xl/{name}").decode() for name in ("workbook.xml", "_rels/workbook.xml.rels"))
            tags = [dict(re.findall(r'([\w:]+)="([^"]*)"', tag)) for tag in re.findall(r"<(?:\w+:)?sheet [^>]*>", book)]
            link = next(tag["r:id"] for tag in tags if unescape(tag["name"]) == sheet)
            targets = [dict(re.findall(r'(\w+)="([^"]*)"', tag)) for tag in re.findall(r"<Relationship [^>]*>", links)]
            target = next(tag["Target"] for tag in targets if tag["Id"] == link)
            name = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
            content = archive.read(name) if archive.getinfo(name).file_size <= _LARGEST_SEARCHED else b""
        except (KeyError, StopIteration, ValueError):
            return []
    return [cells.decode() for cells in re.findall(rb'<(?:\w+:)?mergeCell ref="([A-Z]+\d+:[A-Z]+\d+)"', content)]


def _sheet_rows(sheet: Any) -> Iterator[tuple[int, list[str]]]:
    sheet.reset_dimensions()  # what some programs write there is wrong, and rows beyond it would be lost
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        cells = [cell_text(value) for value in row]
        if any(cells):
            yield number, cells


def cell_text(value: Any) -> str:
    """Returns a typed cell as the text that a CSV file would hold: whole numbers without decimals, dates as in ISO 8601."""
    import datetime

    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    return str(value)


@contextmanager
def _workbook(path: str | Path, *, data_only: bool = True) -> Iterator[Any]:
    try:
        import openpyxl
    except ImportError:
        raise DataError("Excel files need the package openpyxl; or save the table as CSV") from None
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:  # openpyxl refuses a path by its ending
            if sum(member.file_size for member in archive.infolist()) > _LARGEST_WORKBOOK:
                raise DataError("the workbook is larger than 4 GiB when it is unpacked")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of elements that are not read: validation, drawings
                book = openpyxl.load_workbook(file, read_only=True, data_only=data_only)
                try:
                    yield book
                finally:
                    book.close()
    except DataError:
        raise
    except OSError as error:
        raise DataError(error.strerror or str(error)) from None
    except Exception as error:  # openpyxl raises what its parsers do: KeyError, ParseError, ValueError
        raise DataError(f"the workbook cannot be read: {error}") from None


def parquet_names(path: str | Path) -> list[str]:
    """Returns the names of a Parquet file's columns.

    Raises:
        DataError: it cannot be read.
    """
    with _parquet(path) as file:
        return [str(name) for name in file.schema_arrow.names]


def parquet_columns(path: str | Path, *, rows: int) -> Iterator[list[list[str | None]]]:
    """Yields the cells of a Parquet file's columns as text, None for gaps, `rows` rows at a time.

    Raises:
        DataError: it cannot be read, or has a column whose cells are no single values.
    """
    with _parquet(path) as file:
        for field in file.schema_arrow:
            if str(field.type).startswith(_NO_CELLS):
                raise DataError(f"column `{field.name}` holds {field.type}: a cell must be a number or a text")
        for batch in file.iter_batches(batch_size=rows):
            yield [_texts(column) for column in batch.columns]


def _texts(column: Any) -> list[str | None]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return [None if value is None else cell_text(value) for value in column.to_pylist()]
    if pa.types.is_boolean(column.type):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return texts


@contextmanager
def _parquet(path: str | Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except OSError as error:
        raise DataError(error.strerror or str(error)) from None
    except pa.ArrowException as error:
        raise DataError(f"the Parquet file cannot be read: {error}") from None
