"""Run folders that were changed, damaged or made by someone else: words and an exit code, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from random import Random

import pytest
from runs.making import make_run
from trainings import save_rows, trained, write_spec

from hostile.calling import DEADLINE, Called, call, refuse_crash, told
from hostile.mutations import spoil

pytestmark = pytest.mark.usefixtures("without_pictures")

QUICK, ALL = 25, 200
READERS = {
    "status.json": ("show",),
    "data.json": ("show", "compare", "describe", "evaluate", "finetune"),
    "environment.json": ("show",),
    "stages.json": ("show", "describe"),
    "spec.yaml": ("compare", "describe", "evaluate", "finetune"),
    "split.csv": ("evaluate", "finetune"),
    "model.keras": ("describe", "evaluate", "finetune"),
    "evaluation/test/metrics.json": ("show", "compare"),
    "evaluation/test/confusion_matrix.csv": ("show",),
}
"""The commands that need what a file holds."""
TRAINING = 20.0
"""Seconds for a call that trains an epoch, or scores and draws one, where the machine is busy with other tests."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and two runs on it, `tiny` and `other`."""
    folder = tmp_path_factory.mktemp("sound")
    save_rows(folder / "rows.npz", examples=60)
    for name in ("tiny", "other"):
        source, data = "{kind: npz, path: rows.npz, target: kinds}", "batch_size: 30"
        trained(write_spec(folder, source, data=data, training="epochs: 1", name=name))
    return folder


def _tree(folder: Path) -> dict[str, bytes | str]:
    """Returns every file below a folder with its content, links with their targets."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def _commands(runs: Path, random: Random, *, finetune: bool, resume: bool) -> dict[str, Called]:
    """Calls every command that reads a run on the run `tiny`; `finetune` and `resume`, which train, where wanted."""
    where = ("--runs", runs)
    split = random.choice(["", "train", "validation", "test"])
    calls = {
        "list": ("runs", "list", *where),
        "sort": ("runs", "list", "--sort", "test.accuracy", *where),
        "show": ("runs", "show", "tiny", *where),
        "compare": ("runs", "compare", "tiny", "other", *where),
        "describe": ("describe", "tiny", *where),
        "evaluate": ("evaluate", "tiny", "--split", split, *where),
    }
    if finetune:
        calls["finetune"] = ("finetune", "tiny", "--epochs", "1", "--quiet", *where)
    if resume:  # last: it writes the run anew
        run = next((runs / "tiny").iterdir())
        calls["resume"] = ("train", "--resume", str(run), "--set", "training.epochs=2", *where)
    if random.random() < 0.5:
        calls = {name: (*words, "--json") for name, words in calls.items()}
    return {name: call(*words) for name, words in calls.items()}


def _attack(number: int, sound: Path, folder: Path) -> None:
    """Spoils a copy of the runs, calls every command, and looks at what they said and did."""
    chance = Random(number)
    runs, outside = folder / "runs", folder / "outside"
    shutil.copytree(sound / "runs", runs)
    (outside / "folder").mkdir(parents=True)
    (outside / "secret").write_text("secret words")
    run = next((runs / "tiny").iterdir())
    file, way, unreadable = spoil(run, chance, outside)
    before = _tree(outside), _tree(runs / "other"), _tree(sound)
    finetune = "finetune" in READERS.get(file, ()) or number % 5 == 0
    for name, called in _commands(runs, chance, finetune=finetune, resume=number % 5 == 2).items():
        what = f"mutation {number}: {file}: {way}\n{called}"
        try:
            refuse_crash(called, deadline=TRAINING if name in ("finetune", "resume", "evaluate") else DEADLINE)
        except AssertionError as error:
            raise AssertionError(f"{what}\n{error}") from error.__cause__
        assert "secret words" not in called.out + called.err, what
        if name in ("list", "sort"):
            assert called.code == 0, what
            assert "other/" in called.out, what
        elif called.code == 2 and name != "resume":
            told_so = "no run" in called.err or "this run has no" in called.err
            assert file == "spec.yaml" or told_so or way in ("gone", "linked folders"), what
        if unreadable and name in READERS.get(file, ()) and not (file.endswith("matrix.csv") and "--json" in called.arguments):
            assert called.code == (2 if file == "spec.yaml" else 1), what
            assert file in told(called), what
    assert (_tree(outside), _tree(runs / "other"), _tree(sound)) == before, f"mutation {number}: {file}: {way}"


@pytest.mark.parametrize("number", range(QUICK))
def test_a_spoiled_run_folder_is_told_in_words(number: int, sound: Path, tmp_path: Path) -> None:
    _attack(number, sound, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(QUICK, ALL))
def test_many_spoiled_run_folders_are_told_in_words(number: int, sound: Path, tmp_path: Path) -> None:
    _attack(number, sound, tmp_path)


def test_a_damaged_run_is_listed_as_such_and_hides_no_other(tmp_path: Path) -> None:
    poor, best, damaged = (make_run(tmp_path, accuracy=accuracy) for accuracy in (0.5, 0.9, 0.99))
    (damaged.path / "status.json").write_text("[red]")
    rows = {row["id"]: row for row in json.loads(call("runs", "list", "--json", "--runs", tmp_path).out)["runs"]}
    assert [rows[run.id]["state"] for run in (poor, best, damaged)] == ["completed", "completed", "damaged"]
    assert rows[damaged.id]["error"].startswith(f"{damaged.path}/status.json: not JSON: ")
    assert str(best.path) in call("runs", "show", "iris@best", "--runs", tmp_path).err


def test_a_damaged_run_can_be_removed_and_a_folder_that_is_none_cannot(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    (run.path / "status.json").write_text("{}")
    home = tmp_path / "home"
    home.mkdir()
    (home / "status.json").write_text("{}")
    refused = call("runs", "rm", home, "--yes")
    refuse_crash(refused, codes=(2,))
    assert "is not a run folder of dlcli" in refused.err
    assert home.exists()
    refuse_crash(call("runs", "rm", run.path, "--yes"), codes=(0,))
    assert not run.path.exists()


def test_a_split_is_one_of_three_and_no_path(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    for words in (("evaluate", run.path), ("runs", "compare", run.path, run.path)):
        (run.path / "model.keras").touch()
        refuse_crash(call(*words, "--split", "../../../outside"), codes=(2,))
