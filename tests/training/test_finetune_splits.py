"""The split settings of a run that is fine-tuned again and again, on its own data and on other data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from data.splitting import split_of, write_rows

from dlcli.data.splits import open_splits
from dlcli.errors import SpecError
from dlcli.runs import RunFolder
from dlcli.runs.reporter import Reporter
from dlcli.spec.load import LoadedSpec, load_text
from dlcli.training.finetune import continued
from dlcli.training.train import train

SAID: list[str] = []
"""What fine-tunings said before they began."""


def rows(count: int, first: int = 0) -> list[list[Any]]:
    return [[row % 7, 1000 + row, "ab"[row % 2]] for row in range(first, first + count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    write_rows(folder / "rows.csv", ("x", "day", "label"), rows(60))
    write_rows(folder / "other.csv", ("x", "day", "label"), rows(40, 500))
    write_rows(folder / "undated.csv", ("x", "label"), [[x, label] for x, _, label in rows(40)])
    return folder


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[RunFolder]:
    """A run that was split by time, and one that was fine-tuned from it."""
    split = "{time: day, validation: 0.1, test: 0.25}"
    data = f"{{source: {{kind: csv, path: rows.csv, target: label}}, split: {split}}}"
    text = f"name: t\ntask: binary\ndata: {data}\nmodel: {{kind: mlp, units: [4]}}\ntraining: {{epochs: 1}}\n"
    first = train(load_text(text, folder / "spec.yaml", []), folder / "runs", Reporter(), write_up=False)
    return [first, train(tuned(first), folder / "runs", Reporter(), write_up=False)]


@pytest.fixture(scope="module")
def repeating(folder: Path) -> RunFolder:
    """A run whose spec repeats the split of a run that was split by groups, and says nothing else of it."""
    write_rows(folder / "grouped.csv", ("x", "patient", "label"), grouped_rows(60))
    split = "{group: patient, validation: 0, test: 0.4, stratify: false}"
    first = train(grouped(folder, split), folder / "runs", Reporter(), write_up=False)
    return train(grouped(folder, f"{{file: {first.split_path}}}"), folder / "runs", Reporter(), write_up=False)


def grouped_rows(count: int) -> list[list[Any]]:
    """Returns rows of patients, five rows for each."""
    return [[row % 7, f"p{row // 5}", "ab"[row % 2]] for row in range(count)]


def grouped(folder: Path, split: str) -> LoadedSpec:
    data = f"{{source: {{kind: csv, path: grouped.csv, target: label, drop: [patient]}}, split: {split}}}"
    text = f"name: g\ntask: binary\ndata: {data}\nmodel: {{kind: mlp, units: [4]}}\ntraining: {{epochs: 1}}\n"
    return load_text(text, folder / "spec.yaml", [])


def tuned(run: RunFolder, *overrides: str) -> LoadedSpec:
    SAID.clear()
    return continued(run, SAID.append, train="all", learning_rate=None, epochs=1, overrides=[*overrides])


def by_split(loaded: LoadedSpec) -> dict[str, set[str]]:
    """Returns the ids of each split's examples."""
    splits = open_splits(loaded.experiment)
    return {name: set(examples.ids) for name, examples in splits.distinct.items()}


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("place", [0, 1])
def test_other_data_is_split_by_the_settings_of_the_first_run(runs: list[RunFolder], folder: Path, place: int) -> None:
    assert runs[1].split() == runs[0].split()
    loaded = tuned(runs[place], f"data.source.path={folder / 'other.csv'}")
    split = loaded.experiment.data.split
    assert split.time is not None
    assert (split.time.column, split.validation, split.test, split.file) == ("day", "auto", 0.25, None)
    assert {row for row, name in split_of(open_splits(loaded.experiment)).items() if name == "test"} == {
        f"train/{row}" for row in range(30, 40)
    }
    assert [f"note: the data is not that of {runs[place].id}, so it is split again"] == SAID


@pytest.mark.usefixtures("without_pictures")
def test_groups_and_shares_are_those_of_the_run_whose_split_is_repeated(repeating: RunFolder, folder: Path) -> None:
    write_rows(folder / "new_patients.csv", ("x", "patient", "label"), grouped_rows(50))
    loaded = tuned(repeating, f"data.source.path={folder / 'new_patients.csv'}")
    split = loaded.experiment.data.split
    assert split.group is not None
    assert (split.group.column, split.validation, split.test, split.stratify, split.file) == ("patient", 0, 0.4, False, None)
    patients = {name: {int(row.removeprefix("train/")) // 5 for row in rows_of} for name, rows_of in by_split(loaded).items()}
    assert patients.keys() == {"train", "test"}
    assert len(patients["test"]) == 4
    assert not patients["train"] & patients["test"]


@pytest.mark.usefixtures("without_pictures")
def test_other_data_without_the_column_is_refused_by_its_name(runs: list[RunFolder], folder: Path) -> None:
    other = f"data.source.path={folder / 'undated.csv'}"
    with pytest.raises(SpecError, match=r"data\.split\.time.*: the source has no column `day`"):
        tuned(runs[1], other, "data.source.drop=[]")
    assert tuned(runs[1], other, "data.source.drop=[]", "data.split.time=null").experiment.data.split.time is None


@pytest.mark.usefixtures("without_pictures")
def test_a_note_says_that_the_settings_of_a_split_are_not_known(runs: list[RunFolder], folder: Path) -> None:
    file = str(runs[0].split_path)
    shutil.move(runs[0].path, folder / "moved")
    try:
        split = tuned(runs[1], f"data.source.path={folder / 'other.csv'}").experiment.data.split
    finally:
        shutil.move(folder / "moved", runs[0].path)
    assert (split.time, split.file) == (None, None)
    note = f"note: the split of {runs[1].id} repeats {file}, whose settings are not known: the data is split by shares"
    assert SAID[1:] == [note]
