"""Rows to be predicted on: the same cells as a training would read, bad rows left out, a few held at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.errors import DataError
from dlcli.runtime.column_kinds import ColumnKind
from dlcli.spec.data.sources.column_kinds import CATEGORY, NUMBER
from dlcli.spec.data.sources.csv import Csv
from dlcli.spec.data.sources.csv_rows import Rows, ignored_columns, read_rows, row_settings
from dlcli.spec.data.sources.table.reader import open_lines
from spec.sources.opening import request

COLUMNS = {"age": NUMBER, "city": CATEGORY}


def read(text: str, columns: dict[str, ColumnKind] = COLUMNS, at_once: int = 10, **settings: Any) -> list[Rows]:
    source = Csv(kind="csv", path="rows.csv", target="target", **settings)
    lines = iter(text.splitlines(keepends=True))
    return list(read_rows(source, open_lines(lines, row_settings(source, columns)), columns, at_once=at_once))


def test_rows_are_read_as_a_training_reads_them(tmp_path: Path) -> None:
    text = (
        'city,age,left out,target\n"Paris, Texas",31,x,1\nNA, 2.5,x,0\n" Köln",,x,1\n"two\nlines",1e3,x,0\n\n  \n'
        '"say ""so""",-1,x,1\nshort\n'
    )
    path = tmp_path / "rows.csv"
    path.write_text(text.replace("short\n", "short,7,x,1\n"), encoding="utf-8")
    source = Csv(kind="csv", path=str(path), target="target", features=["age", "city"])
    trained = source.open(request("binary")).parts["train"].inputs.columns
    (found,) = read(text)
    assert found.faults == {}
    assert found.numbers == [1, 2, 3, 4, 5, 6]
    assert found.columns["city"].tolist() == trained["city"].tolist()
    assert found.columns["city"].tolist()[2] == "Köln"
    (first,) = read(text, reader=1)
    assert first.columns["city"].tolist()[2] == " Köln"  # as dlcli 0.1 read it
    assert np.array_equal(found.columns["age"][:5], trained["age"][:5], equal_nan=True)
    assert np.isnan(found.columns["age"][5])  # a row that ends early has gaps


def test_rows_whose_cells_do_not_read_are_left_out_and_named() -> None:
    found = read("age,city\n1,a\nold,b\n1e99,c\n3,d,e\n4,f\n", at_once=2)
    assert [rows.numbers for rows in found] == [[1], [], [5]]
    assert [rows.columns["city"].tolist() for rows in found if rows.numbers] == [["a"], ["f"]]
    assert {number: fault for rows in found for number, fault in rows.faults.items()} == {
        2: "column `age`: 'old' is not a number, or too large",
        3: "column `age`: '1e99' is not a number, or too large",
        4: "3 cells below a header of 2",
    }


def test_separators_decimals_and_marks_of_gaps_are_the_sources_own() -> None:
    (found,) = read("age;city\n1,5;?\n?;b\n", separator=";", decimal=",", missing=["?"])
    assert np.array_equal(found.columns["age"], np.array([1.5, np.nan], "float32"), equal_nan=True)
    assert found.columns["city"].tolist() == ["", "b"]


def test_missing_and_doubled_columns_are_named() -> None:
    with pytest.raises(DataError, match=r"^lacks the columns `age`, `city`; its header has a, b$"):
        read("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"^the file is empty$"):
        read("")
    with pytest.raises(DataError, match=r"^its header has the column `age` twice$"):
        read("age,age,city\n1,2,a\n")


def test_only_so_many_rows_are_read_ahead() -> None:
    taken = []

    def lines() -> Any:
        for line in ["age,city\n", *("1,a\n" for _ in range(100))]:
            taken.append(line)
            yield line

    source = Csv(kind="csv", path="rows.csv", target="target")
    opened = open_lines(lines(), row_settings(source, COLUMNS), sample=11)
    first = next(read_rows(source, opened, COLUMNS, at_once=10))
    assert len(first.numbers) == 10
    assert len(taken) == 11


def test_columns_that_the_training_did_not_have_are_named() -> None:
    header = ["age", "more", "city", "id", "target", "Unnamed: 5", "other"]
    source = Csv(kind="csv", path="rows.csv", target="target", drop=["id"])
    (note,) = ignored_columns(source, header, COLUMNS)
    assert note == "columns `more`, `other` are not columns of the training file; ignored"
    assert ignored_columns(source, ["age", "city", "id"], COLUMNS) == []
    assert ignored_columns(source.model_copy(update={"features": ["age", "city"]}), header, COLUMNS) == []
