"""Tables of OpenML, from scikit-learn's cache: as scikit-learn reads them, or refused by name."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from dlcli.errors import DataError
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources import Request
from dlcli.spec.data.sources.openml import Openml
from dlcli.tasks import TASKS
from spec.sources.fetched_sets import ARFF, CLINIC, arff_row, write_openml
from spec.sources.opening import opened, request


def source(home: Path, **fields: Any) -> Openml:
    data = {"kind": "openml", "name": "clinic", "version": 1, "data_home": str(home), **fields}
    return Openml.model_validate(data, context={"folder": "/"})


def test_a_table_is_that_of_scikit_learn(tmp_path: Path) -> None:
    write_openml(tmp_path)
    frame = datasets.fetch_openml("clinic", version=1, data_home=tmp_path, as_frame=True, parser="liac-arff")
    data = opened(source(tmp_path), "binary")
    train = data.parts["train"]
    assert data.classes == ("ill", "well")
    assert [data.classes[label] for label in train.targets] == frame.target.tolist()
    assert list(train.inputs.columns) == list(frame.data.columns)
    np.testing.assert_array_equal(train.inputs.columns["age"], frame.data["age"].to_numpy("float32"))
    for name in ("home town", "ward"):
        assert train.inputs.columns[name].tolist() == frame.data[name].tolist()
    assert data.notes == ("columns that OpenML marks as no inputs: id",)
    assert data.lines[1] == "columns: 1 number (age), 2 categories (home town 3, ward 5), target (class)"


@pytest.mark.parametrize("found_as", ["data_version/1/status/deactivated", "status/active/"])
def test_a_set_is_found_however_it_was_fetched(tmp_path: Path, found_as: str) -> None:
    write_openml(tmp_path, found_as=found_as)
    assert len(opened(source(tmp_path, name="CLINIC"), "binary").parts["train"]) == 40
    assert source(tmp_path, version=2).header() is None


def test_earlier_versions_of_scikit_learn_named_the_table_by_its_number(tmp_path: Path) -> None:
    table = write_openml(tmp_path)
    table.rename(table.parent.with_suffix(".gz"))
    assert len(opened(source(tmp_path), "binary").parts["train"]) == 40


def test_the_target_may_be_another_column_or_several(tmp_path: Path) -> None:
    write_openml(tmp_path)
    assert source(tmp_path).resolved() == source(tmp_path, target="class")
    towns = opened(source(tmp_path, target="home town"))
    assert towns.classes == ("New York", "Rome", "it's far")
    assert "class" in towns.parts["train"].inputs.columns
    ages = opened(source(tmp_path, target=["id"], features=["ward"]), "regression")
    assert ages.parts["train"].targets[:2, 0].tolist() == [1e10, 1e10]
    with pytest.raises(DataError, match=r"clinic\.arff\.gz: example 4 .* a label that is missing"):
        source(tmp_path, target="age").open(request("regression"))


def test_side_columns_are_exact_and_no_inputs(tmp_path: Path) -> None:
    write_openml(tmp_path)
    asked = Request(TASKS["binary"], ImageSettings(), 0, offline=True, side_columns=("id", "ward"))
    train = source(tmp_path).without_inputs(("id", "ward")).open(asked).parts["train"]
    assert train.side_columns["id"].tolist() == [10_000_000_000 + row for row in range(40)]
    assert train.side_columns["ward"].tolist()[:6] == ["w0", "w1", "w2", "w3", "w4", "w0"]
    assert list(train.inputs.columns) == ["age", "home town"]


def test_classes_that_are_whole_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    text = "@RELATION a\n@ATTRIBUTE x REAL\n@ATTRIBUTE y {10,9,1}\n@DATA\n" + "1,10\n2,9\n3,1\n"
    write_openml(tmp_path, text=text, columns=(("x", "numeric", "", ""), ("y", "nominal", "is_target", "")))
    assert opened(source(tmp_path)).classes == ("1", "9", "10")


def test_a_set_that_is_not_cached_is_not_downloaded_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = source(tmp_path)
    folder = tmp_path / "openml" / "openml.org"
    assert list(made.notes()) == [f"the set clinic in version 1 is not in {folder}; a training downloads it"]
    assert (made.header(), made.side_columns(), list(made.faults()), made.stored_bytes()) == (None, None, [], None)
    with pytest.raises(DataError, match="the openml set clinic is not available: version 1 is not cached there, and --offline"):
        made.open(request("binary"))
    fetch = datasets.fetch_openml

    def downloaded(data_home: str, **arguments: Any) -> Any:
        write_openml(Path(data_home))
        return fetch(data_home=data_home, **arguments)  # accepts the arguments, and columns of texts

    monkeypatch.setattr(datasets, "fetch_openml", downloaded)
    undecided = made.without_inputs(("ward",))
    fetched = undecided.open(Request(TASKS["binary"], ImageSettings(), 0, offline=False, side_columns=("ward", "class")))
    train = fetched.parts["train"]
    assert len(train) == 40
    assert list(train.inputs.columns) == ["age", "home town"]  # also of a set that was not there when the spec was loaded
    assert train.side_columns.keys() == {"ward", "class"}
    assert made.targets == ["class"]


def test_characters_that_end_lines_elsewhere_are_part_of_a_cell(tmp_path: Path) -> None:
    rows = [arff_row(row) for row in range(40)]
    write_openml(tmp_path, text=ARFF + "\n".join([rows[0].replace("w0", '"w\u2028 0"'), *rows[1:]]) + "\n")
    wards = opened(source(tmp_path), "binary").parts["train"].inputs.columns["ward"]
    assert len(wards) == 40
    assert "\u2028" in wards[0]


def test_a_table_that_differs_from_its_description_is_refused(tmp_path: Path) -> None:
    table = write_openml(tmp_path)
    table.write_bytes(gzip.compress((ARFF + arff_row(0)).encode()))
    with pytest.raises(DataError, match=r"clinic\.arff\.gz: its content is not that which OpenML describes; delete the file"):
        source(tmp_path).open(request("binary"))
    table.write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"clinic\.arff\.gz: Error -3"):
        source(tmp_path).open(request("binary"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "Sparse_ARFF"}, "the openml set clinic is in sparse ARFF, which is not read"),
        ({"url": "https://www.openml.org/../../../secret"}, "the table of clinic has the place '../../../secret'"),
        ({"text": ARFF + "1,2\n"}, "Bad @DATA instance format"),
        ({"text": ARFF}, "no rows"),
    ],
)
def test_tables_that_cannot_be_read_are_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    write_openml(tmp_path, **changes)
    with pytest.raises(DataError) as error:
        source(tmp_path).open(request("binary"))
    assert words in str(error.value)


def test_faults_of_columns_are_found_by_the_description_of_the_set(tmp_path: Path) -> None:
    write_openml(tmp_path, columns=tuple((name, kind, "", mark) for name, kind, _, mark in CLINIC))
    assert list(source(tmp_path).faults()) == [
        ("target", "OpenML names no target of the set; it has id, age, home town, ward, class")
    ]
    assert list(source(tmp_path, target="clas", drop=["agee"]).faults()) == [
        ("drop", "the set has no column `agee`; did you mean `age`?"),
        ("target", "the set has no column `clas`; did you mean `class`?"),
    ]
    with pytest.raises(DataError, match=r"column `ward` has more than 3 different values .* list it in `data\.source\.drop`"):
        source(tmp_path, target="class", max_categories=3).open(request("binary"))
