import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcli.errors import DataError
from dlcli.spec.data.sources.csv import Csv
from dlcli.tasks import TASKS
from spec.sources.opening import opened, request

DATA = os.environ.get("DLCLI_TEST_DATA", "")
TABLE = """age,city,smoker,target
31,Köln,True,yes
,"Paris, Texas",False,no
47.5,,True,yes
"""


def table(folder: Path, text: str = TABLE, test: str = "", **settings: Any) -> Csv:
    (folder / "train.csv").write_text(text, encoding="utf-8")
    if test:
        (folder / "test.csv").write_text(test, encoding="utf-8")
        settings["test"] = str(folder / "test.csv")
    return Csv(kind="csv", path=str(folder / "train.csv"), **({"target": "target"} | settings))


def refused(source: Csv, task: str = "classification") -> str:
    with pytest.raises(DataError) as caught:
        source.open(request(task))
    return str(caught.value)


def test_numbers_categories_and_gaps(tmp_path: Path) -> None:
    found = opened(table(tmp_path), "binary")
    train = found.parts["train"]
    assert list(train.inputs.columns) == ["age", "city", "smoker"]
    assert train.inputs.columns["age"].dtype == np.float32
    assert np.array_equal(train.inputs.columns["age"], [31, np.nan, 47.5], equal_nan=True)
    assert train.inputs.columns["city"].tolist() == ["Köln", "Paris, Texas", ""]
    assert train.inputs.columns["smoker"].tolist() == ["True", "False", "True"]
    assert (found.classes, train.targets.tolist()) == (("no", "yes"), [1, 0, 1])
    assert train.ids == ["train/0", "train/1", "train/2"]


def test_a_byte_order_mark_separators_decimal_commas_and_own_gaps(tmp_path: Path) -> None:
    text = "\ufeffx;y;target\n1,5;?;a\n2;3;b\n"
    train = opened(table(tmp_path, text, separator=";", decimal=",", missing=["?"])).parts["train"]
    assert train.inputs.columns["x"].tolist() == [1.5, 2.0]
    assert np.array_equal(train.inputs.columns["y"], [np.nan, 3], equal_nan=True)


def test_the_training_file_decides_what_a_column_is(tmp_path: Path) -> None:
    train, test = "n,c,target\n1,007,a\n2,008,b\n", "n,c,target\n,9,b\n"
    found = opened(table(tmp_path, train, test, categorical=["c"])).parts
    assert found["train"].inputs.columns["c"].tolist() == ["007", "008"]
    assert found["test"].inputs.columns["c"].tolist() == ["9"]
    assert np.isnan(found["test"].inputs.columns["n"][0])
    assert found["test"].targets.tolist() == [1]


def test_features_and_drop_choose_the_columns(tmp_path: Path) -> None:
    assert list(opened(table(tmp_path, features=["smoker", "age"])).parts["train"].inputs.columns) == ["smoker", "age"]
    assert list(opened(table(tmp_path, drop=["city"])).parts["train"].inputs.columns) == ["age", "smoker"]


def test_class_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    found = opened(table(tmp_path, "x,target\n1,10\n1,9\n1,2\n"))
    assert (found.classes, found.parts["train"].targets.tolist()) == (("2", "9", "10"), [2, 1, 0])


def test_several_targets(tmp_path: Path) -> None:
    text = "x,a,b\n1,0,True\n2,1,false\n"
    found = opened(table(tmp_path, text, target=["a", "b"]), "multilabel")
    assert found.classes == ("a", "b")
    assert found.parts["train"].targets.tolist() == [[0, 1], [1, 0]]
    assert list(found.parts["train"].inputs.columns) == ["x"]
    found = opened(table(tmp_path, "x,a,b\n1,0.5,2\n2,1,3\n", target=["a", "b"]), "regression")
    assert found.parts["train"].targets.tolist() == [[0.5, 2], [1, 3]]
    assert table(tmp_path, text, target=["a", "b"]).facts(TASKS["regression"]).outputs == 2


@pytest.mark.parametrize(
    ("text", "settings", "task", "message"),
    [
        ("x,target\n", {}, "classification", "no rows below the header"),
        ("", {}, "classification", "the file is empty"),
        (
            "x,target\n1,a\n2,\n3,b\n",
            {},
            "classification",
            "1 of 3 rows have no value in the target column (target), the first in",
        ),
        ("x,target\n1,a\n2,b\n", {}, "regression", "needs numeric labels, found 'a'"),
        ("x,target\n1,a\n2,b,c\n", {}, "classification", "line 3: 3 cells below a header of 2"),
        ("x,target\n1,a,9\n2,b,9\n", {}, "classification", "line 2: 3 cells below a header of 2; line 3: 3 cells"),
        ("x,target\ninf,1\n2,0\n", {}, "binary", "column `x` contains inf"),
        ("x,target\n1e300,1\n2,0\n", {}, "binary", "column `x` contains 1e300"),
        ("x,target\na,1\nb,0\nc,1\n", {"max_categories": 2}, "binary", "column `x` has 3 different values in 3 rows"),
        (
            "x,target\n1,1\n2,0\n?,1\n",
            {"max_categories": 2},
            "binary",
            "not all are numbers: '?' in 1 row; if it marks",
        ),
    ],
)
def test_unfit_tables_are_refused_with_the_files_name(
    tmp_path: Path, text: str, settings: Any, task: str, message: str
) -> None:
    found = refused(table(tmp_path, text, **settings), task)
    assert message in found
    assert str(tmp_path / "train.csv") in found


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("x,c,target\n?,u,a\n", "column `x` is numeric in the training file, but contains '?'"),
        ("x,target\n1,a\n", "no column `c`"),
        ("x,c\n1,u\n", "no target column `target`"),
        ("x,c,target\n1,u,z\n", "class 'z' is not among the training split's: a, b"),
    ],
)
def test_a_test_file_that_does_not_fit_is_refused_by_name(tmp_path: Path, test: str, message: str) -> None:
    found = refused(table(tmp_path, "x,c,target\n1,u,a\n2,v,b\n", test))
    assert message in found
    assert str(tmp_path / "test.csv") in found


def test_a_file_that_is_not_utf8_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes("x,target\nKöln,a\n".encode("latin-1"))
    assert "save it as UTF-8" in refused(Csv(kind="csv", path=str(tmp_path / "train.csv"), target="target"))


def test_faults_are_found_from_the_headers_alone(tmp_path: Path) -> None:
    def faults(text: str, test: str = "", **settings: Any) -> list[tuple[str, str]]:
        return list(table(tmp_path, text, test, **settings).faults())

    assert faults("age,target\n31,a\n") == []
    assert faults("age,target\n", target="tarqet")[0] == ("target", "the file has no column `tarqet`; did you mean `target`?")
    assert faults("age,target\n", drop=["agee"])[0][0] == "drop"
    assert faults("age;target\n31;a\n") == []
    assert faults("age;target\n", separator=",")[0] == (
        "target",
        "the file has no column `target`; its header is a single column; is the `separator` ';'?",
    )
    twice = "the header has the column `a` twice; drop them, or name all columns by `header: true` and `names`"
    assert faults("a,a,target\n") == [("path", twice)]
    assert faults("a,a,b,target\n1,2,3,x\n", drop=["a"]) == []
    assert faults("a,target\n", features=["a", "target"])[0][0] == "features"
    assert faults("a,target\n", drop=["a"]) == [("features", "there is no input column")]
    assert faults("a,target\n1,x\n", "a,b\n") == [("test", "the file has no column `target`; it has a, b")]
    assert faults("a,target\n") == [("path", "no rows below the header")]
    assert faults("") == [("path", "the file is empty")]
    gone = Csv(kind="csv", path=str(tmp_path / "gone.csv"), target="y")
    assert list(gone.faults()) == [("path", f"no file {tmp_path / 'gone.csv'}")]


def test_a_column_without_values_is_noted(tmp_path: Path) -> None:
    found = opened(table(tmp_path, "x,e,target\n1,,a\n2,,b\n"))
    assert found.notes == ("column `e` has no value in any training row",)
    assert np.isnan(found.parts["train"].inputs.columns["e"]).all()


def test_a_hundred_thousand_rows_and_ten_thousand_classes(tmp_path: Path) -> None:
    rows = "".join(f"{index},c{index % 150},k{index % 10_000}\n" for index in range(100_000))
    found = opened(table(tmp_path, f"x,c,target\n{rows}"))
    assert len(found.classes) == 10_000
    assert [found.classes[number] for number in found.parts["train"].targets[[0, 1, 99_999]]] == ["k0", "k1", "k9999"]


def test_equal_targets_are_one_object_in_memory(tmp_path: Path) -> None:
    rows = "".join(f"{index},{'yes ' if index % 3 else 'no'}\n" for index in range(9_000))
    read = table(tmp_path, f"x,target\n{rows}").table(str(tmp_path / "train.csv"))
    assert read.raw["target"][:4] == ["no", "yes", "yes", "no"]
    assert len({id(cell) for cell in read.raw["target"]}) == 2
    assert read.numbers[[0, -1]].tolist() == [1, 9_000]


@pytest.mark.skipif(not DATA, reason="DLCLI_TEST_DATA is not set")
def test_titanic() -> None:
    path = f"{DATA}/tabular/titanic_train.csv"
    assert "`Name` has 891 different values" in refused(Csv(kind="csv", path=path, target="Survived"), "binary")
    source = Csv(
        kind="csv", path=path, target="Survived", drop=["PassengerId", "Name", "Ticket", "Cabin"], categorical=["Pclass"]
    )
    found = opened(source, "binary")
    train = found.parts["train"]
    assert found.classes == ("0", "1")
    assert int(train.targets.sum()) == 342
    assert int(np.isnan(train.inputs.columns["Age"]).sum()) == 177
    assert set(train.inputs.columns["Pclass"]) == {"1", "2", "3"}
    assert set(train.inputs.columns["Embarked"]) == {"C", "Q", "S", ""}
