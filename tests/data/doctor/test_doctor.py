"""The doctor opens what it can, sorts its issues, and says which checks it could not make."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trainings import CIRCLES, IRIS, PLANE, SMALL_CNN, write_spec

from dlcli.data.doctor.checks import CHECKS
from dlcli.data.doctor.checks.label_errors import LabelErrors
from dlcli.data.doctor.doctor import Examination, examine, open_subject, ordered
from dlcli.data.doctor.issue import Issue, Severity
from dlcli.errors import DataError
from dlcli.runtime.image_reader import Picture, Settings, read_picture
from dlcli.spec.load import load


def _issue(kind: str, severity: Severity) -> Issue:
    return Issue(kind=kind, severity=severity, summary="", advice="")


def _photos(folder: Path, count: int = 6) -> Path:
    for name in ("dark", "light"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 255, (12, 12, 3)).astype("uint8")
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    return write_spec(folder, "{kind: folder, path: photos}", model=SMALL_CNN, data="image: {size: [8, 8]}")


def test_issues_across_splits_come_first_then_errors_then_warnings_then_notes() -> None:
    issues = [
        _issue("missing values", "note"),
        _issue("repeated rows across splits", "note"),
        _issue("constant column", "warning"),
        _issue("single class", "error"),
        _issue("conflicting labels of equal rows", "warning"),
    ]
    assert [issue.kind for issue in ordered(issues)] == [
        *("conflicting labels of equal rows", "single class", "constant column"),
        *("repeated rows across splits", "missing values"),
    ]


def test_images_that_cannot_be_read_are_collected_and_no_error(tmp_path: Path) -> None:
    spec = _photos(tmp_path)
    (tmp_path / "photos" / "dark" / "2.png").write_bytes(b"")
    (tmp_path / "photos" / "light" / "5.png").write_text("no image")
    subject = open_subject(load(spec).experiment, offline=True)
    assert subject.unreadable.keys() == {"dark/2.png", "light/5.png"}
    assert sum(map(len, subject.splits.distinct.values())) == 10
    assert examine(subject).unreadable == 2


def test_each_image_file_is_decoded_once_for_all_checks_but_label_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = list[str]()

    def counted(path: str, settings: Settings) -> Picture:
        paths.append(path)
        return read_picture(path, settings)

    for module in ("dlcli.data.doctor.image_record", "dlcli.runtime.images"):
        monkeypatch.setattr(f"{module}.read_picture", counted)
    spec = _photos(tmp_path)
    monkeypatch.setattr(LabelErrors, "reason_against", lambda *_: "it reads the files again, in the size of the model's inputs")
    examination = examine(open_subject(load(spec).experiment, offline=True))
    assert "channel statistics" in {issue.kind for issue in examination.issues}
    assert sorted(paths) == sorted(set(paths))
    assert len(paths) == 12


def test_a_source_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    spec = _photos(tmp_path, count=2)
    for path in (tmp_path / "photos").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="the train split of the source has no readable examples"):
        open_subject(load(spec).experiment)


def test_a_source_that_is_missing_is_refused_as_in_a_training(tmp_path: Path) -> None:
    spec = _photos(tmp_path)
    experiment = load(spec).experiment
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(DataError, match="photos"):
        open_subject(experiment)


@pytest.mark.parametrize(("source", "task"), [(PLANE, "regression"), (CIRCLES, "binary"), (IRIS, "classification")])
def test_clean_data_of_every_task_has_no_serious_issue(tmp_path: Path, source: str, task: str) -> None:
    examination = examine(open_subject(load(write_spec(tmp_path, source, task=task)).experiment))
    assert examination.is_clean
    assert sum(examination.examples.values()) in (120, 150)


def test_only_fast_checks_are_made_on_request(tmp_path: Path) -> None:
    examination = examine(open_subject(load(write_spec(tmp_path)).experiment, thorough=False), fast=True)
    fast = {check.name for check in CHECKS if check.is_fast}
    assert examination.seconds.keys() == {"opening the source", *fast}


def test_names_of_checks_are_unique() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_without_cleanlab_a_note_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec

    def without(name: str, *rest: Any) -> Any:
        return None if name == "cleanlab" else find_spec(name, *rest)

    monkeypatch.setattr("dlcli.data.doctor.checks.label_errors.find_spec", without)
    subject = open_subject(load(write_spec(tmp_path)).experiment, offline=True)
    reason = LabelErrors().reason_against(subject)
    assert reason.startswith("cleanlab is not installed; ")
    assert "pip install" in reason
    assert "[data]" in reason


def test_excluded_examples_are_not_examined(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("id\ntrain/101\n")
    spec = write_spec(tmp_path, data="exclude: bad.csv")

    def repeated(examination: Examination) -> int:
        return sum("repeated rows" in issue.kind for issue in examination.issues)

    assert repeated(examine(open_subject(load(write_spec(tmp_path, name="whole")).experiment))) == 1
    assert repeated(examine(open_subject(load(spec).experiment))) == 0


def test_a_training_leaves_checks_of_a_very_large_table_to_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlcli.data.doctor.doctor.MOST_FAST_CELLS", 500)
    experiment = load(write_spec(tmp_path)).experiment
    subject = open_subject(experiment, offline=True, thorough=False)
    notes = examine(subject, fast=True).notes
    assert "missing values: not checked: the table has more than 500 cells" in notes
    assert not any("balance of classes" in note for note in notes)
    assert not any("cells" in note for note in examine(subject).notes)
