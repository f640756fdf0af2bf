"""Tables as people have them: every row, column and cell is used, refused by name, or counted in a note."""

from __future__ import annotations

import bz2
import gzip
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.errors import DataError
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.spec.data.sources.base import Opened
from dlcli.spec.data.sources.column_kinds import CATEGORY, COLUMN_KINDS, NUMBER
from dlcli.spec.data.sources.csv import Csv, DateColumn
from dlcli.spec.data.sources.csv_rows import Rows, read_rows, row_settings
from dlcli.spec.data.sources.table.look import look
from dlcli.spec.data.sources.table.reader import open_lines, open_table
from spec.sources.opening import opened, request

ROWS = "age,city,y\n31,Bern,yes\n47.5,Rome,no\n,Bern,yes\n"


def csv(folder: Path, content: str | bytes, name: str = "rows.csv", **settings: Any) -> Csv:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Csv(kind="csv", path=str(path), **({"target": "y"} | settings))


def read(folder: Path, content: str | bytes, task: str = "classification", **settings: Any) -> Opened:
    return opened(csv(folder, content, **settings), task)


def refused(source: Csv, task: str = "classification") -> str:
    with pytest.raises(DataError) as caught:
        source.open(request(task))
    return str(caught.value)


def columns(found: Opened) -> dict[str, list[Any]]:
    return {name: values.tolist() for name, values in found.parts["train"].inputs.columns.items()}


def predicted(source: Csv, text: str, kinds: dict[str, ColumnKind]) -> Rows:
    lines = iter(io.StringIO(text, newline=""))
    (rows,) = read_rows(source, open_lines(lines, row_settings(source, kinds)), kinds, at_once=1000)
    return rows


def _zipped(text: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("rows.csv", text)
    return file.getvalue()


@pytest.mark.parametrize("kind", [kind for kind in COLUMN_KINDS.values() if kind.setting], ids=lambda kind: kind.name)
def test_a_column_that_the_field_of_a_kind_lists_is_of_this_kind(tmp_path: Path, kind: ColumnKind) -> None:
    source = csv(tmp_path, "price,code,y\n$1,7,0\n$2,8,1\n", **{kind.setting: ["price", "code"]})
    assert source.kinds_set(["price", "code", "y"]) == {"price": kind, "code": kind}
    assert opened(source).parts["train"].inputs.column_kinds == {"price": kind, "code": kind}
    assert [fact["became"] for fact in opened(source).column_facts] == [kind.name, kind.name, "target"]
    without = opened(csv(tmp_path, "price,code,y\n$1,7,0\n$2,8,1\n"))
    assert without.parts["train"].inputs.column_kinds == {"price": CATEGORY, "code": NUMBER}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (ROWS.encode("utf-8-sig"), "rows.csv"),
        (ROWS.encode("utf-16"), "rows.csv"),
        (ROWS.encode("utf-16-be"), "rows.csv"),
        (ROWS.replace("\n", "\r"), "rows.csv"),
        (ROWS.replace("\n", "\r\n") + "\x0d\x0a", "rows.csv"),
        (gzip.compress(ROWS.encode(), mtime=0), "rows.csv.gz"),
        (bz2.compress(ROWS.encode()), "rows.csv"),
        (_zipped(ROWS), "rows.zip"),
        (ROWS.replace(",", "\t"), "rows.tsv"),
        (ROWS.replace(",", "|"), "rows.txt"),
        (ROWS.replace(",", ";").replace("47.5", "47,5"), "rows.csv"),
        ("sep=;\r\n" + ROWS.replace(",", ";"), "rows.csv"),
        ("\n# by hand\n\n" + ROWS, "rows.csv"),
        (ROWS.replace("\n", ",,\n"), "rows.csv"),
        (ROWS.replace(",", " , "), "rows.csv"),
        ('"age","city","y"\n"31","Bern","yes"\n"47.5","Rome","no"\n"","Bern" ,"yes"\n', "rows.csv"),
    ],
    ids=[
        *("UTF-8 with a mark", "UTF-16", "UTF-16 without a mark", "CR", "CR LF", "gzip", "bzip2", "zip", "tabs", "bars"),
        *("semicolons", "sep=", "comments", "trailing separators", "blanks", "quotes"),
    ],
)
def test_the_same_table_in_many_forms(tmp_path: Path, content: str | bytes, name: str) -> None:
    source = csv(tmp_path, content, name)
    assert list(source.faults()) == []
    found = opened(source, "binary")
    assert list(found.parts["train"].inputs.columns) == ["age", "city"]
    assert np.array_equal(found.parts["train"].inputs.columns["age"], np.array([31, 47.5, np.nan], "float32"), equal_nan=True)
    assert columns(found)["city"] == ["Bern", "Rome", "Bern"]
    assert (found.classes, found.parts["train"].targets.tolist()) == (("no", "yes"), [1, 0, 1])
    assert (
        found.lines[1]
        == "columns: 1 number (age), 1 category (city 2)"
        + (", 2 dropped (Unnamed: 3, Unnamed: 4)" if b",,\n" in source_bytes(source) else "")
        + ", target (y)"
    )


def source_bytes(source: Csv) -> bytes:
    return Path(source.path).read_bytes()


def test_workbooks_and_parquet_files_are_tables_too(tmp_path: Path) -> None:
    import openpyxl
    import pandas as pd

    book = openpyxl.Workbook()
    for row in (["Study of 2024"], [], ["age", "city", "y"], [31, "Bern", True], [47.5, "Rome", False], [None, "Bern", True]):
        book.active.append(row)
    book.create_sheet("notes").append(["by hand"])
    book.save(tmp_path / "rows.xlsx")
    frame = pd.DataFrame({"age": [31, 47.5, None], "city": ["Bern", "Rome", "Bern"], "y": [True, False, True]})
    frame.to_parquet(tmp_path / "rows.parquet")
    for name in ("rows.xlsx", "rows.parquet"):
        source = Csv(kind="csv", path=str(tmp_path / name), target="y")
        assert list(source.faults()) == []
        found = opened(source, "binary")
        assert np.array_equal(
            found.parts["train"].inputs.columns["age"], np.array([31, 47.5, np.nan], "float32"), equal_nan=True
        )
        assert columns(found)["city"] == ["Bern", "Rome", "Bern"]
        assert found.parts["train"].targets.tolist() == [1, 0, 1]
    assert any("`Sheet` is read, not notes" in note for note in opened(csv_of(tmp_path / "rows.xlsx"), "binary").notes)
    with open_table(tmp_path / "rows.parquet", row_settings(source, {"age": NUMBER})) as table:
        (rows,) = read_rows(source, table, {"age": NUMBER, "city": CATEGORY}, at_once=10)
    assert rows.columns["city"].tolist() == ["Bern", "Rome", "Bern"]


def csv_of(path: Path) -> Csv:
    return Csv(kind="csv", path=str(path), target="y")


def test_another_encoding_is_refused_with_its_line_and_read_when_named(tmp_path: Path) -> None:
    content = "city,y\nBern,a\nKöln,b\n".encode("latin-1")
    (fault,) = csv(tmp_path, content).faults()
    assert fault == (
        "path",
        "line 3: not UTF-8 text (byte 0xf6): save it as UTF-8, or set `encoding`; with `encoding: latin-1` it reads 'Köln'",
    )
    assert columns(read(tmp_path, content, encoding="latin-1"))["city"] == ["Bern", "Köln"]


def test_a_quote_that_is_not_closed_costs_its_own_row_and_no_other(tmp_path: Path) -> None:
    text = "a,t,y\n" + "".join(f'{row},"text {row}",{row % 2}\n' for row in range(100)).replace('"text 4"', '"text 4')
    assert "line 6: a quote is not closed" in refused(csv(tmp_path, text))
    rows = predicted(csv(tmp_path, text), text, {"a": NUMBER, "t": CATEGORY})
    assert len(rows.numbers) == 99
    assert list(rows.faults) == [5]
    last = "a,y\n1,0\n2,1\n" + '"3,0\n' + "4,1\n"
    rows = predicted(csv(tmp_path, last), last, {"a": NUMBER})
    assert (rows.numbers, list(rows.faults)) == ([1, 2, 4], [3])


def test_rows_add_up(tmp_path: Path) -> None:
    text = 'a,b,y\n1,u,0\n,,\n2\n# end of the first part\na,b,y\n3,"two\nlines",1\n4,u,NA\n\n5,v,1\n'
    assert "1 of 5 rows have no value" in refused(csv(tmp_path, text.replace("2\n", "2,v,0\n", 1)))
    found = read(tmp_path, text, missing_target="drop")
    assert found.parts["train"].ids == ["train/0", "train/4", "train/6"]
    assert found.notes[:4] == (
        "1 row is shorter than the header; the missing cells are missing values (in line 4)",
        "1 row is spread over several lines by line breaks inside quotes (in line 7)",
        "1 line is a comment (#) and is ignored",
        "7 rows, of which 3 are used; left out: 1 empty, 1 like the header, 2 without a target (1 holds 'NA', which marks"
        " a missing value; if it is a class: `data.source.not_missing: [NA]`)",
    )


def test_another_file_has_notes_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "later.csv").write_text("a,b,y,more\n1,2,0,x\n,,,\n3\n")
    source = csv(tmp_path, "a,b,y\n1,1,0\n2,1,1\n", missing_target="drop").elsewhere(str(tmp_path / "later.csv"))
    found = opened(source)
    assert found.part_notes["test"] == (
        "1 row is shorter than the header; the missing cells are missing values (in line 4)",
        "column `more` is not a column of the training file; ignored",
        "3 rows, of which 1 is used; left out: 1 empty, 1 without a target",
    )
    assert found.part_notes["train"] == ()
    assert any("column `b` has the same value" in note for note in found.notes)


def test_a_long_cell_is_read_alike_by_training_and_predicting(tmp_path: Path) -> None:
    text = f"t,x,y\na,0.5,0\n{'z' * 200_000},1.5,1\n"
    assert len(columns(read(tmp_path, text))["t"][1]) == 200_000
    assert predicted(csv(tmp_path, text), text, {"t": CATEGORY}).numbers == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,y\n1,0\n2,\x00\n", "line 3: contains a zero byte"),
        (b"", "the file is empty"),
        (b"\n\n  \n", "the file is empty"),
        (b"<html><table></table></html>", "HTML"),
        (b"a,a,y\n1,2,0\n", "the header has the column `a` twice"),
    ],
)
def test_what_is_no_table_is_refused_by_a_check(tmp_path: Path, content: bytes, message: str) -> None:
    faults = list(csv(tmp_path, content).faults())
    assert message in faults[0][1]


AUTOS = "3,?,alfa,gas,13495\n1,164,audi,gas,16500\n2,158,audi,diesel,13950\n0,?,bmw,gas,16430\n"


def test_a_first_row_of_values_never_becomes_the_header(tmp_path: Path) -> None:
    ((key, message),) = csv(tmp_path, AUTOS, target="13495").faults()
    assert key == "header"
    assert message.startswith("no header: its first row holds values such as 3, ")
    found = read(tmp_path, AUTOS, "regression", target="column_5", header=False, missing=["?"])
    assert list(found.parts["train"].inputs.columns) == ["column_1", "column_2", "column_3", "column_4"]
    assert len(found.parts["train"]) == 4
    names = ["risk", "loss", "make", "fuel", "price"]
    source = csv(tmp_path, AUTOS, target="price", names=names, missing=["?"])
    assert len(opened(source, "regression").parts["train"]) == 4
    without = "1,164,audi,gas\n2,158,bmw,gas\n"  # to be predicted on: no price
    assert predicted(source, without, {"risk": NUMBER, "make": CATEGORY}).columns["make"].tolist() == ["audi", "bmw"]
    named = ",".join(names) + "\n" + AUTOS  # a header after all
    assert len(opened(csv(tmp_path, named, target="price", names=names, missing=["?"]), "regression").parts["train"]) == 4


def test_a_run_of_a_file_without_a_header_records_its_names(tmp_path: Path) -> None:
    source = csv(tmp_path, AUTOS, target="column_5", header=False)
    assert source.resolved().names == ["column_1", "column_2", "column_3", "column_4", "column_5"]


def test_the_nameless_index_of_pandas_is_ignored_with_a_note_or_used_by_name(tmp_path: Path) -> None:
    text = ",a,y\n" + "".join(f"{row},{row * 0.5},{row % 2}\n" for row in range(12))
    found = read(tmp_path, text)
    assert list(found.parts["train"].inputs.columns) == ["a"]
    assert found.notes == ("column 1 has no name and contains row numbers, as written by `to_csv` of pandas: ignored",)
    for name in ("", "Unnamed: 0"):
        assert list(read(tmp_path, text, drop=[name]).parts["train"].inputs.columns) == ["a"]
        assert list(read(tmp_path, text, features=[name, "a"]).parts["train"].inputs.columns) == ["Unnamed: 0", "a"]
    assert list(csv(tmp_path, text).notes())[1:] == ["ignored columns without a name: `Unnamed: 0`"]
    old = csv(tmp_path, text, reader=1)
    assert list(opened(old).parts["train"].inputs.columns) == ["Unnamed: 0", "a"]  # as dlcli 0.1 read it


def test_decimal_commas_dots_and_thousands(tmp_path: Path) -> None:
    text = "a;b;y\n1.234;13,6;0\n2.500;7,25;1\n"
    assert columns(read(tmp_path, text, thousands="."))["a"] == [1234, 2500]
    source = csv(tmp_path, text)
    assert columns(opened(source))["b"] == [np.float32(13.6), 7.25]
    assert columns(opened(source))["a"] == ["1.234", "2.500"]  # not read as 1.234
    rows = predicted(csv(tmp_path, "a;y\n1,5;0\n2,5;1\n"), "a\n1.234\n", {"a": NUMBER})
    assert rows.columns["a"].tolist() == [np.float32(1.234)]  # a file of its own, with its own decimal mark
    rows = predicted(csv(tmp_path, "a;y\n1,5;0\n2,5;1\n", decimal=","), "a\n1.234\n", {"a": NUMBER})
    assert rows.faults == {
        1: "column `a`: '1.234' is not a number, or too large; beside decimal commas, a dot can only separate thousands:"
        " `thousands: '.'`"
    }
    assert columns(read(tmp_path, 'a,y\n"1,234",0\n"12,345,678.5",1\n', thousands=","))["a"] == [1234, np.float32(12345678.5)]


def test_numbers_written_as_text_are_named_with_the_remedy(tmp_path: Path) -> None:
    text = 'price,share,power,y\n"$84,835.00",45%,130,0\n$15.5,3.5 %,?,1\n"($1,000)",7%,98,0\n'
    notes = read(tmp_path, text).notes
    assert any("`price`" in note and "`data.source.numeric: [price, share]`" in note for note in notes)
    assert any("`power`" in note and "`data.source.missing: ['?']`" in note for note in notes)
    found = columns(read(tmp_path, text, numeric=["price", "share"], missing=["?"]))
    assert found["price"] == [84835, 15.5, -1000]
    assert found["share"] == [45, 3.5, 7]
    assert "column `price` is `numeric`, but contains 'free'" in refused(
        csv(tmp_path, "price,y\n$1,0\nfree,1\n", numeric=["price"]), "binary"
    )
    assert "`data.source.numeric: [y]`" in refused(csv(tmp_path, 'x,y\n1,"$1,000"\n2,$3\n'), "regression")


def test_numbers_with_a_unit_or_a_typographic_minus_are_named_with_the_remedy(tmp_path: Path) -> None:
    text = "power,y\n58 bhp,0\n74.5 bhp,1\n103bhp,0\n"
    words = "(numbers with the unit 'bhp', such as '103bhp': remove the unit)"
    assert read(tmp_path, text).notes == (f"column `power` is a category {words}",)
    assert f"`power` becomes a category {words}" in list(csv(tmp_path, text).notes())
    assert f"`power` has 3 different values in 3 rows {words}, too many" in refused(csv(tmp_path, text, max_categories=2))
    assert read(tmp_path, "floor,y\n1st,0\n2nd,1\n3rd,0\n").notes == ()
    minus = "x,y\n5,0\n\u22127.5,1\n3,0\n"
    assert "'\u22127.5' becomes a number by `data.source.numeric: [x]`" in read(tmp_path, minus).notes[0]
    assert columns(read(tmp_path, minus, numeric=["x"]))["x"] == [5, -7.5, 3]


@pytest.mark.parametrize(("suffix", "text"), [(".csv", "in,in,,out\n"), (".csv", ",,body,out\n"), (".xlsx", "in,,,out\n")])
def test_names_of_groups_above_the_header_are_ignored_with_a_note(tmp_path: Path, suffix: str, text: str) -> None:
    text += "age,weight,kind,y\n31,70.5,a,1\n44,61,b,0\n"
    if suffix == ".xlsx":
        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        for line in text.splitlines():
            book.active.append([float(cell) if cell[:1].isdigit() else cell or None for cell in line.split(",")])
        book.active.merge_cells("A1:C1")
        book.save(tmp_path / "rows.xlsx")
        source = Csv(kind="csv", path=str(tmp_path / "rows.xlsx"), target="y")
    else:
        source = csv(tmp_path, text)
    found = opened(source)
    assert columns(found) == {"age": [31, 44], "weight": [70.5, 61], "kind": ["a", "b"]}
    assert found.notes[0].startswith("1 line before the table is ignored: ")
    assert found.notes[0] in list(source.notes())
    assert look(source.path).names == ["age", "weight", "kind", "y"]


def test_a_header_over_two_rows_of_merged_cells_is_joined(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["id", "in", None, "y"], [None, "age", "weight", None], [7, 31, 70.5, 1], [9, 44, 61, 0]):
        book.active.append(row)
    for cells in ("A1:A2", "B1:C1", "D1:D2"):
        book.active.merge_cells(cells)
    book.save(tmp_path / "rows.xlsx")
    source = Csv(kind="csv", path=str(tmp_path / "rows.xlsx"), target="y")
    found = opened(source)
    assert columns(found) == {"id": [7, 9], "age": [31, 44], "weight": [70.5, 61]}
    assert found.notes[0] == "the header has two rows, joined as id, age, weight, y"
    assert look(source.path).names == ["id", "age", "weight", "y"]


def test_merged_cells_and_other_sheets_of_a_workbook_are_named(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["read me"])
    sheet = book.create_sheet("R&D")
    for row in (["site", "x", "y"], ["a", 1.5, 0], [None, 2.5, 1], ["b", 3, 0], [None, 4, 1]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    sheet.merge_cells("A4:A5")
    book.save(tmp_path / "rows.xlsx")
    source = Csv(kind="csv", path=str(tmp_path / "rows.xlsx"), target="y")
    ((key, message),) = source.faults()
    assert key == "target"
    assert message.endswith("it has read me (the workbook's sheet `Sheet` is read, not R&D (`data.source.sheet`))")
    found = opened(source.model_copy(update={"sheet": "R&D"}))
    assert columns(found)["site"] == ["a", "", "b", ""]
    note = "2 ranges of cells are merged, such as A2:A3: the first cell has the value, the others are missing values"
    assert note in found.notes


def test_a_header_with_gaps_above_texts_stays_the_header(tmp_path: Path) -> None:
    assert list(columns(read(tmp_path, "a,,c,y\np,q,r,s\nt,u,v,w\n"))) == ["a", "Unnamed: 1", "c"]


def test_what_says_nothing_is_named(tmp_path: Path) -> None:
    rows = "".join(
        f"{row + 100},{row},1,k,{20_000_001 + 2 * row},2024-01-{row % 28 + 1:02d},{row % 7}.5,{row % 2}\n" for row in range(30)
    )
    notes = "\n".join(read(tmp_path, f"CustomerID,n,same,word,big,day,x,y\n{rows}").notes)
    assert "columns `CustomerID`, `n` number the rows" in notes
    assert "column `same` has the same value in all training rows" in notes
    assert "column `word` has the same value" in notes
    assert "column `big` holds whole numbers above 16,777,216, which float32 rounds: 20000001 is read as 20000000" in notes
    assert "column `day` is a category of dates; `data.source.dates: {day: {parts: [days, month, weekday]}}`" in notes
    assert "`x`" not in notes


def test_a_column_of_image_files_is_named(tmp_path: Path) -> None:
    text = "file,x,y\n" + "".join(f"images/{row}.PNG,{row % 3},{row % 2}\n" for row in range(12))
    (note,) = read(tmp_path, text).notes
    assert note.startswith("column `file` holds names of image files, which are not opened; `kind: image_table` reads")
    ((_, message),) = csv(tmp_path, text, max_categories=5).faults()
    assert "(names of image files, which are not opened; `kind: image_table`" in message


def test_dates_become_numbers(tmp_path: Path) -> None:
    text = "day,y\n2024-01-01,0\n2024-02-29 12:00,1\n,0\n"
    source = csv(tmp_path, text, dates={"day": DateColumn(parts=["days", "month", "weekday", "hour"])}).resolved()
    found = opened(source)
    inputs = found.parts["train"].inputs.columns
    assert list(inputs) == ["day.days", "day.month", "day.weekday", "day.hour"]
    assert inputs["day.days"].tolist()[:2] == [19723, 19782.5]
    assert [inputs[name].tolist()[1] for name in list(inputs)[1:]] == [2, 3, 12]
    assert np.isnan(inputs["day.days"][2])
    kinds = dict.fromkeys(inputs, NUMBER)
    rows = predicted(source, "day\n2024-02-29 12:00\nsoon\n", kinds)
    assert rows.columns["day.days"].tolist() == [19782.5]
    assert rows.faults == {2: "column `day.days`: 'soon' is not a date of the format 'ISO 8601'"}


@pytest.mark.parametrize(
    ("days", "form", "months", "is_named"),
    [
        (["2024-01", "2024-11"], "%Y-%m", [1, 11], True),
        (["Jan-24", "Nov-24"], "%b-%y", [1, 11], True),
        (["January 2024", "March 2024"], "%B %Y", [1, 3], True),
        (["01/2024", "11/2024"], "%m/%Y", [1, 11], True),
        (["5-Jan-24", "7-Nov-24"], "%d-%b-%y", [1, 11], True),
        (["14:30", "08:15"], "%H:%M", [1, 1], False),
    ],
)
def test_months_and_times_of_day_are_dates(
    tmp_path: Path, days: list[str], form: str, months: list[int], is_named: bool
) -> None:
    source = csv(tmp_path, "d,y\n" + "".join(f"{day},{row}\n" for row, day in enumerate(days)))
    assert any("of dates" in note for note in source.notes()) == is_named
    dated = source.model_copy(update={"dates": {"d": DateColumn(parts=["month", "hour"])}}).resolved()
    assert dated.dates["d"].format == form
    assert opened(dated, "binary").parts["train"].inputs.columns["d.month"].tolist() == months


def test_dates_whose_day_and_month_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    text = "day,y\n10/03/2004,0\n11/03/2004,1\n"
    with pytest.raises(DataError, match=r"may be '%d/%m/%Y' or '%m/%d/%Y'; set `format`"):
        csv(tmp_path, text, dates={"day": DateColumn()}).resolved()
    named = csv(tmp_path, text, dates={"day": DateColumn(format="%d/%m/%Y", parts=["month"])}).resolved()
    assert columns(opened(named))["day.month"] == [3, 3]
    sure = csv(tmp_path, text.replace("11/03", "31/03"), dates={"day": DateColumn()}).resolved()
    assert sure.dates["day"].format == "%d/%m/%Y"


def test_all_columns_that_are_too_wide_are_named_at_once_by_a_check(tmp_path: Path) -> None:
    text = "a,b,c,y\n" + "".join(f"word {row},w{row},{row % 3},{row % 2}\n" for row in range(20))
    ((key, message),) = csv(tmp_path, text, max_categories=10).faults()
    assert key == "drop"
    assert message == (
        "columns `a` has 20 different values in 20 rows; `b` has 20 different values in 20 rows, too many for a category;"
        " put them under `data.source.drop: [a, b]`, or raise `data.source.max_categories`"
    )


def test_labels_mean_the_same_in_every_file(tmp_path: Path) -> None:
    found = read(tmp_path, "x,y\n1,yes\n2,yes \n3,\u00a0no\n")
    assert found.classes == ("no", "yes")
    assert any("`y` ('yes', 'yes ')" in note for note in found.notes)
    found = read(tmp_path, "x,y\n1,01\n2,02\n3,10\n")
    assert found.classes == ("01", "02", "10")
    (tmp_path / "test.csv").write_text("x,y\n1,02\n2,10\n")
    test = opened(csv(tmp_path, "x,y\n1,01\n2,02\n3,10\n", test=str(tmp_path / "test.csv")))
    assert test.parts["test"].targets.tolist() == [1, 2]
    (tmp_path / "test.csv").write_text("x,y\n1,3.0\n2,1.0\n")
    test = opened(csv(tmp_path, "x,y\n1,1\n2,3\n5,x\n", test=str(tmp_path / "test.csv")))
    assert test.parts["test"].targets.tolist() == [1, 0]
    (tmp_path / "test.csv").write_text("x,y\n1,TRUE\n2,FALSE\n")
    test = opened(csv(tmp_path, "x,y\n1,True\n2,False\n", test=str(tmp_path / "test.csv")), "binary")
    assert test.parts["test"].targets.tolist() == [1, 0]
    long = read(tmp_path, "x,y\n1,12345678901234567\n2,12345678901234568\n")
    assert long.classes == ("12345678901234567", "12345678901234568")


def test_classes_that_differ_in_capitals_are_named(tmp_path: Path) -> None:
    found = read(tmp_path, "x,y\n1,Yes\n2,yes\n3,no\n")
    assert found.classes == ("Yes", "no", "yes")
    assert "classes whose names differ only in case are different classes: 'Yes', 'yes'" in found.notes


def test_labels_that_write_one_value_in_two_ways_are_named(tmp_path: Path) -> None:
    found = read(tmp_path, "x,y\n1,0\n2,1\n3,True\n4,False\n")
    assert found.classes == ("0", "1", "False", "True")
    assert found.notes == ("labels that may mean the same are treated as different classes: '0', 'False'; '1', 'True'",)
    assert read(tmp_path, "x,y\n1,01\n2,1\n3,7\n").notes[-1].endswith("different classes: '01', '1'")
    assert read(tmp_path, "x,y\n1,True\n2,False\n3,True\n").notes == ()


def test_a_check_reports_a_target_of_a_single_value(tmp_path: Path) -> None:
    assert "the target `y` has the same value in all rows, so there is nothing to predict" in list(
        csv(tmp_path, "x,y\n1,3.5\n2,3.5\n3,3.5\n").notes()
    )


def test_a_class_may_be_called_none(tmp_path: Path) -> None:
    text = "x,y\n1,None\n2,Low\n3,High\n"
    message = refused(csv(tmp_path, text))
    assert "(1 holds 'None', which marks a missing value; if it is a class: `data.source.not_missing: [None]`)" in message
    assert "remove these rows, or set `data.source.missing_target: drop`" in message
    assert read(tmp_path, text, not_missing=["None"]).classes == ("High", "Low", "None")
    assert read(tmp_path, text, missing_target="drop").classes == ("High", "Low")


def test_categories_are_the_same_value_in_every_file(tmp_path: Path) -> None:
    text = "k,c,y\n1,a,0\n2,b ,1\n3,a,0\n"
    source = csv(tmp_path, text, categorical=["k"])
    assert columns(opened(source)) == {"k": ["1", "2", "3"], "c": ["a", "b", "a"]}
    rows = predicted(source, "k,c\n3.0, b\n1,a  \n", {"k": CATEGORY, "c": CATEGORY})
    assert rows.columns["k"].tolist() == ["3", "1"]
    assert rows.columns["c"].tolist() == ["b", "a"]
    old = predicted(csv(tmp_path, text, reader=1), "k,c\n3.0,b \n", {"k": CATEGORY, "c": CATEGORY})
    assert [old.columns[name].tolist() for name in "kc"] == [["3.0"], ["b "]]


def test_letters_composed_and_decomposed_are_the_same(tmp_path: Path) -> None:
    found = read(tmp_path, "Gro\u0308ße,y\nKo\u0308ln,0\nKöln,1\n", features=["Größe"])
    assert columns(found) == {"Größe": ["Köln", "Köln"]}


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"thousands": ",", "decimal": ","}, "thousands"),
        ({"names": ["a", "a"]}, "names"),
        ({"categorical": ["age"], "numeric": ["age"]}, "categorical"),
        ({"numeric": ["agee"]}, "numeric"),
        ({"dates": {"dey": DateColumn()}}, "dates"),
    ],
)
def test_settings_that_do_not_go_together_are_faults(tmp_path: Path, settings: Any, key: str) -> None:
    assert key in [place for place, _ in csv(tmp_path, ROWS, **settings).faults()]


def test_a_run_of_the_first_release_reads_as_it_did(tmp_path: Path) -> None:
    from dlcli.spec.load import load_resolved, load_text, to_yaml

    source = csv(tmp_path, ROWS)
    data = f"data: {{source: {{kind: csv, path: {source.path}, target: y}}}}"
    text = f"version: 1\nname: t\ntask: binary\n{data}\nmodel: {{kind: mlp}}\n"
    written = to_yaml(load_text(text, tmp_path / "spec.yaml").experiment)
    (tmp_path / "new.yaml").write_text(written)
    (tmp_path / "old.yaml").write_text("".join(line for line in written.splitlines(keepends=True) if "reader:" not in line))
    new, old = (load_resolved(tmp_path / name).data.source for name in ("new.yaml", "old.yaml"))
    assert isinstance(new, Csv)
    assert isinstance(old, Csv)
    assert (new.revision, old.revision) == (2, 1)
    assert opened(old.model_copy(update={"separator": ","}), "binary").classes == ("no", "yes")


def test_a_check_shows_how_a_table_is_written_and_what_its_columns_hold(tmp_path: Path) -> None:
    rows = "".join(f"{row};{row * 7 % 5},5;1;2024-01-{row + 1:02d};$1.50;{row % 2}\n" for row in range(12))
    source = csv(tmp_path, f"id;x;same;day;price;y\n{rows}")
    assert list(source.notes()) == [
        "table: utf-8, separator semicolon, decimal comma, header, 6 columns, 12 rows",
        "columns that identify the rows: `id`",
        "columns with the same value in all rows: `same`, `price`",
        "columns of dates (`data.source.dates` converts them to numbers): `day`",
    ]


def test_lines_above_the_header_are_found_by_the_columns_of_the_spec(tmp_path: Path) -> None:
    text = '"Source","WDI",\n"Updated","2024-01-05",\n\n"Country","Code","1960","1961"\n"A","B","1","2"\n"C","D","3","4"\n'
    found = read(tmp_path, text, "regression", target="1961")
    assert list(found.parts["train"].inputs.columns) == ["Country", "Code", "1960"]
    assert found.notes[0] == '2 lines before the table are ignored: \'"Source","WDI",\', ...'
    letters = "p,x,s\ne,x,s\ny,b,s\ne,x,y\n"
    ((key, _),) = csv(tmp_path, letters, target="y").faults()
    assert key == "header"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"a","b","y"\n"1",2,3,0\n"2",3,4,1\n', "if each row begins with a row name, as written by R, name all columns with"),
        ('a,t,y\n1,"say \\"hi\\"",0\n', "line 2: a quote is not closed, or is inside a quoted cell, where it must be"),
    ],
)
def test_rows_of_other_programs_are_refused_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(csv(tmp_path, text))


def test_row_names_of_r_are_read_when_named(tmp_path: Path) -> None:
    text = '"a","b","y"\n"u1",2,3,0\n"u2",3,4,1\n'
    found = read(tmp_path, text, header=True, names=["row", "a", "b", "y"], drop=["row"])
    assert columns(found) == {"a": [2, 3], "b": [3, 4]}


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ('{"a": 1, "y": 0}\n', "path", "JSON"),
        ('"a,b,y"\n"1,2,0"\n', "target", "each of its lines is a single quoted cell, 'a,b,y'"),
    ],
)
def test_what_only_looks_like_a_table_is_named(tmp_path: Path, text: str, key: str, message: str) -> None:
    ((place, found), *_) = csv(tmp_path, text).faults()
    assert place == key
    assert message in found


@pytest.mark.parametrize(
    ("text", "decimal", "prices"),
    [
        ("price;size\n1.100,50;3\n2.100,50;4\n", ",", [1100.5, 2100.5]),
        ("size;price;y\n0,5;1.100,00;b\n1,5;2.100,00;c\n", ",", [1100.0, 2100.0]),
        ("x;price\n1;1'100.50\n2;2’100.50\n", ".", [1100.5, 2100.5]),
        ("x;price\n1;1\u00a0100,50 €\n2;-2\u00a0100,50 €\n", ",", [1100.5, -2100.5]),
        ('x,price\n1,"45,5%"\n2,"46,5%"\n', ",", [45.5, 46.5]),
        ("x,price\n1,$1.50\n2,$2.25\n", ".", [1.5, 2.25]),
    ],
)
def test_decorated_prices_are_read_as_their_country_writes_them(
    tmp_path: Path, text: str, decimal: str, prices: list[float]
) -> None:
    source = csv(tmp_path, text, target="price", numeric=["price"])
    assert opened(source, "regression").parts["train"].targets[:, 0].tolist() == prices
    with open_table(source.path, source.settings) as table:
        assert table.dialect.decimal == decimal


def test_a_check_refuses_rows_that_a_training_refuses_and_counts_the_same(tmp_path: Path) -> None:
    source = csv(tmp_path, "x,y\n1,a\n2,b,c\n,\n3,a\n")
    assert list(source.faults()) == [("path", "line 3: 3 cells below a header of 2")]
    source = csv(tmp_path, "x,y\n1,a\n,\nx,y\n3,b\n")
    assert next(source.notes()).endswith("4 rows")
    assert opened(source).lines[0].endswith("4 rows")
    assert "4 rows, of which 2 are used; left out: 1 empty, 1 like the header" in opened(source).notes


def test_a_workbook_is_known_by_its_content_and_formulas_without_results_are_named(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["x", "sum", "y"], [1, "=A2+1", "a"], [2, "=A3+1", "b"]):
        book.active.append(row)
    book.save(tmp_path / "rows.xlsx")
    found = opened(Csv(kind="csv", path=str((tmp_path / "rows.xlsx").rename(tmp_path / "rows.csv")), target="y"))
    assert columns(found)["x"] == [1, 2]
    assert (
        "the workbook has formulas without results, which are missing values; open and save it in a spreadsheet program"
        in found.notes
    )


def test_a_zip_of_images_is_refused_with_the_folder_to_give(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "rows.csv", "w") as archive:
        for name in ("a/1.png", "b/2.png"):
            archive.writestr(name, b"")
    source = Csv(kind="csv", path=str(tmp_path / "rows.csv"), target="y")
    assert list(source.faults()) == [("path", "a zip of 2 files: unpack it and give the folder of images")]


@pytest.mark.parametrize(
    ("text", "settings", "note"),
    [
        ("zip,y\n01000,1\n20095,0\n", {}, "column `zip` holds numbers with leading zeros: 01000 is read as 1000;"),
        ("zip,y\n01000,1\n20095,0\n", {"categorical": ["zip"]}, ""),
        ("month,y\n01,1\n12,0\n", {}, ""),
        ("x;y\n1.100;1\n2.200;0\n", {}, "column `x` has three digits after every dot, such as '1.100', where the dot"),
        ("x;y\n1.100;1\n2.200;0\n", {"thousands": "."}, ""),
        ("x,y\n1.100,1\n2.200,0\n", {}, ""),
        ("x,y\n1.100 €,1\n2.200 €,0\n", {"numeric": ["x"]}, "column `x` has three digits after every dot, such as '1.100 €'"),
        ("d,y\n20240131,1\n20240201,0\n", {}, "column `d` holds dates as numbers, such as 20240131; `data.source.dates: {d:"),
        ("d,y\n20241331,1\n20240201,0\n", {}, ""),
        ("x,y\n5,1\n-999,0\n7,1\n", {}, "column `x` holds -999 and no other negative number; if it marks a missing value, set"),
        ("x,y\n5,1\n-999,0\n-7,1\n", {}, ""),
        ("x,y\n5,1\n-999,0\n7,1\n", {"missing": ["-999"]}, ""),
        ("y;x\n1.100;1\n2.200;0\n", {}, "column `y` has three digits after every dot, such as '1.100', where the dot"),
    ],
)
def test_numbers_that_may_be_meant_otherwise_are_named(tmp_path: Path, text: str, settings: Any, note: str) -> None:
    source = csv(tmp_path, text, **settings)
    for notes in (list(source.notes()), opened(source, "regression").notes):
        words = ("leading zeros", "three digits", "dates as numbers", "marks a missing value")
        forms = [said for said in notes if any(word in said for word in words)]
        assert len(forms) == bool(note)
        assert all(said.startswith(note) for said in forms)


def test_a_check_knows_files_without_rows_folders_and_columns_that_a_part_lacks(tmp_path: Path) -> None:
    assert list(csv(tmp_path, "x,y\n").faults()) == [("path", "no rows below the header")]
    assert list(Csv(kind="csv", path=str(tmp_path), target="y").faults()) == [("path", f"{tmp_path} is a folder, not a file")]
    (tmp_path / "test.csv").write_text("x,y\n1,a\n")
    source = csv(tmp_path, "x,c,y\n1,u,a\n2,v,b\n", test=str(tmp_path / "test.csv"))
    message = "the file has no column `c`, which is an input in the training file; it has x, y"
    assert list(source.faults()) == [("test", message)]
    assert list(source.model_copy(update={"drop": ["c"]}).faults()) == []


def test_amounts_as_classes_are_named(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{row},{100_000 + 37 * row}\n" for row in range(60))
    note = "the target has 60 different whole numbers in 60 rows; if they are amounts, use `task: regression`"
    assert note in read(tmp_path, text).notes
    assert note not in read(tmp_path, text, "regression").notes


def test_lines_to_skip_in_a_sheet_are_counted_as_the_sheet_shows_them(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Report", "of", "2024"], [], ["x", "c", "y"], [1, "u", "a"], [2, "v", "b"]):
        book.active.append(row)
    book.save(tmp_path / "rows.xlsx")
    source = Csv(kind="csv", path=str(tmp_path / "rows.xlsx"), target="y", skip_lines=2)
    assert columns(opened(source)) == {"x": [1, 2], "c": ["u", "v"]}


def test_reading_numbers_calls_no_function_for_each_cell(tmp_path: Path) -> None:
    """Several calls for each cell took most of the time of reading a wide table. Those on its beginning are limited."""
    rows, width = 300, 40
    values = np.random.default_rng(0).normal(size=(rows, width))
    lines = [",".join(f"x{place}" for place in range(width)) + ",y"]
    lines += [",".join(f"{value:.5f}" for value in row) + f",{place % 2}" for place, row in enumerate(values)]
    source = csv(tmp_path, "\n".join(lines) + "\n")
    calls = 0

    def count(frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.endswith(("contents.py", "facts.py"))

    sys.setprofile(count)
    try:
        found = opened(source)
    finally:
        sys.setprofile(None)
    assert np.allclose(np.stack(list(found.parts["train"].inputs.columns.values()), axis=1), values, atol=1e-5)
    assert calls < rows * width / 2


def test_notes_on_blanks_do_not_depend_on_where_the_cells_with_blanks_are(tmp_path: Path) -> None:
    """Cells that mostly differ are not cached until a cell is written unusually, in rows that are read later."""
    texts = [f"t{place:04}" for place in range(2500)]
    texts[2400:2403] = ["t0007 ", "NA", "t0008"]
    source = csv(tmp_path, "a,y\n" + "".join(f"{text},{place % 2}\n" for place, text in enumerate(texts)), max_categories=3000)
    found = opened(source)
    assert columns(found)["a"] == [*texts[:2400], "t0007", "", "t0008", *texts[2403:]]
    assert any("treated as equal: `a` ('t0007', 't0007 ')" in note for note in found.notes)
