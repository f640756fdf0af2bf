"""How a table's file is written, and what its columns hold, by a look at its beginning."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dlcli.errors import DataError
from dlcli.spec.data.sources.table.look import Look, count_values, look

ROWS = "age,city,target\n31,Bern,1\n47.5,Rome,0\n,Bern,1\n"


def written(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def shown(folder: Path, content: str | bytes, name: str = "rows.csv") -> Look:
    return look(written(folder, content, name))


def test_names_and_kinds_of_columns(tmp_path: Path) -> None:
    numbered = "".join(
        f"{row},{row / 7:.3f},{row % 3},{'ab'[row % 2]},2024-01-{row % 28 + 1:02d},x,,u{row}x{row},{row * row + 5}\n"
        for row in range(60)
    )
    found = shown(tmp_path, f"PassengerId,x,k,c,day,same,none,key,big\n{numbered}")
    assert [(column.name, column.kind, column.distinct) for column in found.columns] == [
        ("PassengerId", "identifier", 60),
        ("x", "number", 60),
        ("k", "whole number", 3),
        ("c", "category", 2),
        ("day", "date", 28),
        ("same", "constant", 1),
        ("none", "empty", 0),
        ("key", "identifier", 60),
        ("big", "whole number", 60),
    ]
    assert (found.rows, found.complete, found.notes) == (60, True, ())


@pytest.mark.parametrize(
    ("cells", "decoration", "odd"),
    [
        (["$84,835.00", "$1.50", "$12"], "currency", ()),
        (["1,234", "2,345", "3,456,789"], "thousands", ()),
        (["45%", "3.5 %", "7"], "percent", ()),
        (["1", "2.5", "?"], "", ("?",)),
    ],
)
def test_numbers_written_as_text_are_named(tmp_path: Path, cells: list[str], decoration: str, odd: tuple[str, ...]) -> None:
    text = "".join(f'"{cell}",{row}\n' for row, cell in enumerate(cells))
    column = shown(tmp_path, f"x,y\n{text}").column("x")
    assert (column.is_number, column.decoration, column.non_numbers) == (False, decoration, odd)


@pytest.mark.parametrize(
    ("content", "described"),
    [
        (ROWS.encode("utf-8-sig"), "utf-8, separator comma, header, 3 columns"),
        (ROWS.encode("utf-16"), "utf-16, separator comma, header, 3 columns"),
        (ROWS.encode("utf-16-le"), "utf-16-le, separator comma, header, 3 columns"),
        (ROWS.replace("\n", "\r").encode(), "utf-8, separator comma, header, 3 columns"),
        (gzip.compress(ROWS.encode(), mtime=0), "utf-8, separator comma, header, 3 columns"),
        (ROWS.replace(",", "\t"), "utf-8, separator tab, header, 3 columns"),
        (ROWS.replace(",", ";").replace(".", ","), "utf-8, separator semicolon, decimal comma, header, 3 columns"),
        ("sep=;\n" + ROWS.replace(",", ";"), "utf-8, separator semicolon, header, 3 columns"),
        ("\n\n# from the lab\n" + ROWS, "utf-8, separator comma, header, 3 columns"),
        ("Results of 2024\n\n" + ROWS, "utf-8, separator comma, header, 3 columns"),
        ("# age,city,target\n" + ROWS.partition("\n")[2], "utf-8, separator comma, header, 3 columns"),
        (ROWS.partition("\n")[2] * 3, "utf-8, separator comma, no header, 3 columns"),
        ("a b  c\n1 2   3\n 4  5 6 \n", "utf-8, separator space, header, 3 columns"),
    ],
)
def test_the_dialect_is_found(tmp_path: Path, content: str | bytes, described: str) -> None:
    found = shown(tmp_path, content)
    assert found.describe() == described
    names = ["column_1", "column_2", "column_3"] if not found.dialect.header else ["age", "city", "target"]
    assert found.names == (["a", "b", "c"] if "space" in described else names)


@pytest.mark.parametrize(
    ("text", "is_header"),
    [
        ("3,?,alfa-romero,88.60\n1,164,audi,94.50\n2,158,alfa-romero,99.80\n", False),
        ("p,x,s\ne,x,s\np,b,y\ne,b,s\n", False),
        ("2024-01-01,3.5\n2024-01-02,4.5\n", False),
        ("5.1,3.5,setosa\n", False),
        ("country,1990,1991\nA,5,6\nB,7,8\n", True),
        ("0,1,2\n5.5,6.5,7.5\n1.5,2.5,0.5\n", True),
        ("id,name\n1,a\n2,b\n", True),
        ("a,b\n", True),
        ("text,label\nfine,1\nbad,0\n", True),
    ],
)
def test_a_first_row_of_values_is_no_header(tmp_path: Path, text: str, is_header: bool) -> None:
    assert shown(tmp_path, text).dialect.header is is_header


def test_latin_1_is_a_guess_and_says_so(tmp_path: Path) -> None:
    found = shown(tmp_path, "city,target\nKöln,1\nBern,0\n".encode("latin-1"))
    assert (found.encoding, found.encoding_is_sure) == ("latin-1", False)
    assert found.column("city").examples == ("Köln", "Bern")


def test_columns_without_a_name_are_named_as_pandas_names_them(tmp_path: Path) -> None:
    assert shown(tmp_path, ",a,y\n0,1,2\n1,3,4\n").names == ["Unnamed: 0", "a", "y"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "old format"),
        (b"<!DOCTYPE html><table>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"a,b\n1,\x002\n3,4\n", "line 2: contains a zero byte"),
        (gzip.compress(ROWS.encode() * 50, mtime=0)[:-20], "damaged or incomplete"),
    ],
)
def test_what_is_no_table_is_refused_in_words(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        shown(tmp_path, content)


def test_a_workbook_and_a_parquet_file_are_looked_at_too(tmp_path: Path) -> None:
    import openpyxl
    import pandas as pd

    book = openpyxl.Workbook()
    for row in (["age", "city"], [31, "Bern"], [47.5, None], [2.0, "Rome"]):
        book.active.append(row)
    book.create_sheet("notes").append(["by hand"])
    book.save(tmp_path / "rows.xlsx")
    found = look(tmp_path / "rows.xlsx")
    assert [(column.name, column.kind, column.gaps) for column in found.columns] == [
        ("age", "number", 0),
        ("city", "category", 1),
    ]
    assert found.column("age").examples == ("31", "47.5", "2")
    assert found.notes == ("the workbook's sheet `Sheet` is read, not notes (`data.source.sheet`)",)
    pd.DataFrame({"age": [31, 47.5], "city": ["Bern", None]}).to_parquet(tmp_path / "rows.parquet")
    found = look(tmp_path / "rows.parquet")
    assert [(column.name, column.kind, column.gaps) for column in found.columns] == [
        ("age", "number", 0),
        ("city", "category", 1),
    ]


def test_values_are_counted_over_the_whole_file(tmp_path: Path) -> None:
    path = written(tmp_path, "x,y\n" + "".join(f"{row},{row % 7}\n" for row in range(5000)))
    found = look(path, rows=100)
    assert (found.rows, found.complete) == (100, False)
    assert count_values(found, "y") == {str(value): 715 - (value > 1) for value in range(7)}
    assert len(count_values(found, "x", most=50)) == 51


def test_comments_and_repeated_headers_are_no_values(tmp_path: Path) -> None:
    found = shown(tmp_path, "# by hand\nx,y,label\n1,2,a\n# a break\nx,y,label\n3,4,b\n5,6,a\n")
    assert [(column.kind, column.gaps, column.non_numbers) for column in found.columns[:2]] == [("whole number", 0, ())] * 2
    assert (found.rows, count_values(found, "label")) == (3, {"a": 2, "b": 1})
    assert found.notes == ("1 line before the table is ignored: '# by hand'",)


def test_titles_above_the_table_of_a_workbook_are_no_header(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Report of 2024"], [], ["x", "y", "label"], [1, 2, "a"], [3, 4, "b"], [5, 6, "a"]):
        book.active.append(row)
    book.save(tmp_path / "rows.xlsx")
    found = look(tmp_path / "rows.xlsx")
    assert found.names == ["x", "y", "label"]
    assert found.notes == ("1 line before the table is ignored: 'Report of 2024'",)
    assert count_values(found, "label") == {"a": 2, "b": 1}


def test_a_workbook_without_a_header_is_known(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in range(12):
        book.active.append([row % 7, 1.5 * row, "ab"[row % 2]])
    book.save(tmp_path / "rows.xlsx")
    found = look(tmp_path / "rows.xlsx")
    assert (found.names, found.rows, found.dialect.header) == (["column_1", "column_2", "column_3"], 12, False)
    assert count_values(found, "column_3") == {"a": 6, "b": 6}
    assert "its first row holds values such as" in found.notes[0]
