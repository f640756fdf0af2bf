"""Folders of batches and sweeps that are links are refused with their path, and their targets are not changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dlcli.errors import DamagedFile
from dlcli.runs.batches import Batch, Job, Settings, find_batch
from dlcli.runs.sweeps import SweepFolder, find_sweep

JOB = Job(1, "digits", "digits", "digits.yaml", "version: 1", [], 0)
FOLDERS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    ".batches": (lambda runs: Batch.create(runs, [JOB], Settings()).path, lambda runs: find_batch("latest", runs)),
    ".sweeps": (lambda runs: SweepFolder.make(runs, "").path, lambda runs: find_sweep("latest", runs)),
}


@pytest.fixture(params=FOLDERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def elsewhere(tmp_path: Path) -> Path:
    """Creates a folder of the user that must not change."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    return folder


def refuse(path: Path, action: Callable[[], object], folder: Path) -> None:
    with pytest.raises(DamagedFile) as caught:
        action()
    assert str(caught.value).startswith(f"{path}: dlcli does not write here, since this is a link")
    assert [entry.name for entry in folder.iterdir()] == ["mine.txt"]
    assert (folder / "mine.txt").read_text() == "mine"


def test_a_folder_that_is_a_link_is_neither_written_nor_read(tmp_path: Path, kind: str) -> None:
    make, find = FOLDERS[kind]
    folder, runs = elsewhere(tmp_path), tmp_path / "runs"
    runs.mkdir()
    (runs / kind).symlink_to(folder)
    refuse(runs / kind, lambda: make(runs), folder)
    refuse(runs / kind, lambda: find(runs), folder)


@pytest.mark.parametrize("place", ["", "jobs", "jobs/0001.log", "jobs/0001.json"])
def test_a_link_inside_a_folder_is_refused_before_any_writing(tmp_path: Path, kind: str, place: str) -> None:
    make, find = FOLDERS[kind]
    folder, runs = elsewhere(tmp_path), tmp_path / "runs"
    created = make(runs)
    link = created / place if place else created
    if link.is_dir():
        link.rename(tmp_path / "before")
    link.symlink_to(folder if "." not in link.name else folder / "mine.txt")
    refuse(link, lambda: find(runs), folder)


def test_folders_without_links_are_found(tmp_path: Path, kind: str) -> None:
    make, find = FOLDERS[kind]
    created = make(tmp_path)
    assert find(tmp_path).path == created  # type: ignore[attr-defined]
