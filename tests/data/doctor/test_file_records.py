"""Image files are decoded by helper processes too: without TensorFlow, in order, and also if a helper process ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trainings import SMALL_CNN, write_spec

from dlcli.data.doctor import file_records as module
from dlcli.data.doctor.doctor import examine, open_subject
from dlcli.data.doctor.file_records import file_records
from dlcli.data.doctor.image_record import ImageRecord, records_of
from dlcli.data.source_examples import open_examples
from dlcli.runtime.helper_process import HelperFailed, HelperProcess
from dlcli.runtime.images import ImageFiles
from dlcli.spec.experiment import Experiment
from dlcli.spec.load import load


class ObservedHelper(HelperProcess):
    """A helper process whose calls are kept; all of them are in `started`."""

    started: list[ObservedHelper]

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Future[Any]] = []
        self.started.append(self)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Submits a call and keeps it."""
        self.calls.append(super().submit(function, *arguments))
        return self.calls[-1]


class KilledHelper(ObservedHelper):
    """A helper process that is killed before it answers."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Kills the process and submits a call."""
        self._process.kill()
        self._process.wait()
        return super().submit(function, *arguments)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """The experiment of 16 images in two folders, one of which cannot be read."""
    for name in ("dark", "light"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "light" / "5.png").write_text("no image")
    spec = write_spec(tmp_path, "{kind: folder, path: photos}", model=SMALL_CNN, data="image: {size: [8, 8]}")
    return load(spec).experiment


@pytest.fixture
def files(experiment: Experiment) -> ImageFiles:
    inputs = open_examples(experiment, offline=True, split=None, revision=2).parts["train"].inputs
    assert isinstance(inputs, ImageFiles)
    return inputs


def _use(helper: type[ObservedHelper], monkeypatch: pytest.MonkeyPatch) -> list[ObservedHelper]:
    """Has chunks of two files decoded by this process and a helper process of a class; returns those that are started."""
    monkeypatch.setattr(ObservedHelper, "started", [], raising=False)
    monkeypatch.setattr(module, "HelperProcess", helper)
    monkeypatch.setattr(module, "_MANY_FILES", 2)
    monkeypatch.setattr(module, "_CHUNK", 2)
    monkeypatch.setattr(module, "affinity", lambda: [0, 1])
    return ObservedHelper.started


def _assert_same(records: list[ImageRecord], expected: list[ImageRecord]) -> None:
    assert [record.digest for record in records] == [record.digest for record in expected]
    assert [record.fault for record in records] == [record.fault for record in expected]
    assert sum(bool(record.fault) for record in records) == 1
    for record, same in zip(records, expected, strict=True):
        np.testing.assert_array_equal(record.hashes, same.hashes)


def test_helper_processes_give_the_records_of_one_process_in_order(files: ImageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, notes = records_of(files), list[str]()
    started = _use(ObservedHelper, monkeypatch)
    records = list(file_records(files, notes.append))
    (helper,) = started
    answers = [call.result(timeout=0) for call in helper.calls]
    assert answers
    assert all(isinstance(record, ImageRecord) for answer in answers for record in answer)
    assert notes == []
    _assert_same(records, expected)


def test_a_helper_process_that_is_killed_gets_no_further_files_and_is_reported(
    files: ImageFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, notes = records_of(files), list[str]()
    started = _use(KilledHelper, monkeypatch)
    records = list(file_records(files, notes.append))
    (helper,) = started
    (call,) = helper.calls
    assert isinstance(call.exception(timeout=0), HelperFailed)
    (note,) = notes
    assert note.startswith("images: a helper process failed (")
    assert note.endswith("); it decodes no further files, which may take longer")
    _assert_same(records, expected)


def test_an_examination_has_the_note_of_a_helper_process_that_failed(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(KilledHelper, monkeypatch)
    examination = examine(open_subject(experiment, offline=True))
    assert examination.unreadable == 1
    assert sum("a helper process failed" in note for note in examination.notes) == 1


def test_helper_processes_decode_images_without_tensorflow(files: ImageFiles) -> None:
    helper = HelperProcess()
    try:
        (record,) = helper.submit(records_of, files.take(np.arange(1))).result()
        assert record.size == (40, 40)
        assert not helper.submit(eval, "{'tensorflow', 'keras'} & {*sys.modules}").result()
    finally:
        helper.close()


def test_records_are_imported_without_tensorflow() -> None:
    script = "import sys, dlcli.data.doctor.image_record; print({'tensorflow', 'keras'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
