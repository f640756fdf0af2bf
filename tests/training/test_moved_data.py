"""The data of a run at another place: a copy is the run's data, other data is split anew or refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from trainings import SMALL_CNN, Heard, trained, write_pngs, write_spec

from dlcli.errors import DataError, UsageError
from dlcli.runs import RunFolder
from dlcli.score.evaluate import evaluate
from dlcli.spec.load import LoadedSpec
from dlcli.training.finetune import continued
from dlcli.training.resume import resume
from dlcli.training.train import train

pytestmark = pytest.mark.usefixtures("without_pictures")
SAID: list[str] = []
"""What fine-tunings said before they began."""
DATA = "image: {size: 8}, batch_size: 8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos of two classes, a copy of them, and others of two and of three classes."""
    folder = tmp_path_factory.mktemp("moved")
    write_pngs(folder / "photos", each=10, names=("a", "b"))
    shutil.copytree(folder / "photos", folder / "elsewhere" / "copy")
    write_pngs(folder / "more", each=12, names=("a", "b"))
    write_pngs(folder / "three", each=10, names=("b", "c", "d"))
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> RunFolder:
    return trained(write_spec(folder, "{kind: folder, path: photos}", model=SMALL_CNN, data=DATA, training="epochs: 1"))


def begun(run: RunFolder, path: Path | str, *more: str) -> LoadedSpec:
    overrides = [f"data.source.path={path}", *more]
    return continued(run, SAID.append, train="all", learning_rate=None, epochs=1, overrides=overrides)


def test_a_copy_is_split_as_before_and_other_data_anew(run: RunFolder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SAID.clear()
    monkeypatch.chdir(folder / "elsewhere")  # relative paths of `--set` begin where the user is
    copied, other = begun(run, "copy").experiment.data, begun(run, "../more").experiment.data
    assert copied.source.path == str(folder / "elsewhere" / "copy")
    assert copied.split.file == str(run.path / "split.csv")
    assert other.source.path == str(folder / "more")
    assert (other.split.file, other.split.validation, other.split.test) == (None, "auto", "auto")
    assert [
        f"note: the data is not that of {run.id}, so it is split again",
        f"note: 14 of its images have the same names as training images of {run.id}; if they are the same images, scores"
        " of the new test split are too high",
    ] == SAID


def test_finetuning_on_other_classes_begins_with_another_output_layer(run: RunFolder, folder: Path) -> None:
    heard = Heard()
    new = train(begun(run, folder / "three"), folder / "runs", heard, write_up=False)
    assert new.data()["classes"] == ["b", "c", "d"]
    assert sum(new.data()["examples"].values()) == 30
    assert any("the classes differ, so the output layer is initialised again" in line for line in heard.lines)


def test_a_run_for_two_classes_is_not_one_for_three(folder: Path) -> None:
    spec = write_spec(folder, "{kind: folder, path: photos}", task="binary", model=SMALL_CNN, data=DATA, name="two")
    two = trained(spec, ["training.epochs=1"])
    with pytest.raises(UsageError, match="one output for two classes, and binary needs two classes, but the source has 3"):
        begun(two, folder / "three")


def test_a_run_is_resumed_on_a_copy_of_its_data_and_on_nothing_else(run: RunFolder, folder: Path, tmp_path: Path) -> None:
    moved = RunFolder(Path(shutil.copytree(run.path, tmp_path / "run")))
    changed: dict[str, Any] = {"schedule": None, "offline": True}
    spec = moved.path / "spec.yaml"
    before = spec.read_bytes()
    with pytest.raises(DataError, match="the data is not what"):
        resume(moved, Heard(), overrides=[f"data.source.path={folder / 'three'}", "training.epochs=2"], **changed)
    assert spec.read_bytes() == before
    resume(moved, Heard(), overrides=[f"data.source.path={folder / 'elsewhere' / 'copy'}"], **changed)
    assert moved.experiment().data.source.path == str(folder / "elsewhere" / "copy")
    assert evaluate(moved, "test").metrics == {name: value["value"] for name, value in run.metrics()["metrics"].items()}
    resume(moved, Heard(), overrides=[f"data.source.path={folder / 'photos'}", "training.epochs=2"], **changed)
    assert moved.experiment().data.source.path == str(folder / "photos")
    assert len(moved.history()) == 2
