"""Relative paths of `--set` begin in the working folder, whichever folder the spec is in."""

from pathlib import Path

import pytest

from dlcli.errors import SpecError
from dlcli.fleet.batch.plan import planned
from dlcli.spec.load import load

SPEC = "version: 1\nname: x\ntask: binary\ndata:\n  source: {kind: csv, path: rows.csv, target: label}\nmodel: mlp\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a table; the spec and another table are in `specs`."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "x.yaml").write_text(SPEC)
    for path in (tmp_path / "specs" / "rows.csv", tmp_path / "rows.csv", tmp_path / "test.csv"):
        path.write_text("a,label\n1,yes\n2,no\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_of_the_spec_and_of_set(folder: Path) -> None:
    loaded = load("specs/x.yaml", ["data.source.test=test.csv", "name=rows.csv", "training.epochs=2"])
    assert loaded.experiment.data.source.files == {"train": f"{folder}/specs/rows.csv", "test": f"{folder}/test.csv"}  # type: ignore[union-attr]
    assert loaded.experiment.name == "rows.csv"
    assert loaded.overrides == (f"data.source.test={folder}/test.csv", "name=rows.csv", "training.epochs=2")


def test_paths_inside_a_mapping(folder: Path) -> None:
    loaded = load("specs/x.yaml", ["data.source={kind: csv, path: rows.csv, target: label}"])
    assert loaded.experiment.data.source.files == {"train": f"{folder}/rows.csv"}  # type: ignore[union-attr]
    assert str(folder / "rows.csv") in loaded.overrides[0]


def test_a_missing_file_is_looked_for_in_the_working_folder(folder: Path) -> None:
    with pytest.raises(SpecError, match=f"data.source.path: no file {folder}/gone.csv"):
        load("specs/x.yaml", ["data.source.path=gone.csv"])


def test_the_jobs_of_a_batch_hold_absolute_paths(folder: Path) -> None:
    jobs = planned(["specs/x.yaml"], [], ["data.source.path=rows.csv,test.csv"])
    assert [job.overrides for job in jobs] == [
        [f"data.source.path={folder}/rows.csv"],
        [f"data.source.path={folder}/test.csv"],
    ]
