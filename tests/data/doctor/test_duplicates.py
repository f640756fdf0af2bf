"""Images with equal pixels are found, whatever their files are, and the copy in the training split is excluded."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from data.doctor.image_folders import folder_subject, issues_of, photos, subject_of, write_photos
from dlcli.data.doctor.checks.duplicates import Duplicates
from dlcli.data.doctor.issue import Issue

WHOLE = "image: {size: [32, 32]}, split: {validation: 0, test: 0}"
"""Settings by which all images are in the training split."""


def _issues(folder: Path, data: str = WHOLE) -> dict[str, Issue]:
    return issues_of(folder_subject(folder, data=data), Duplicates())


def test_different_photos_are_no_duplicates(tmp_path: Path) -> None:
    write_photos(tmp_path, 20)
    assert _issues(tmp_path) == {}


def test_files_of_different_bytes_with_equal_pixels_are_duplicates(tmp_path: Path) -> None:
    path = write_photos(tmp_path, 20)[4]
    Image.open(path).save(path.with_name("copy.png"))
    issue = _issues(tmp_path)["duplicates"]
    assert issue.severity == "warning"
    assert issue.examples == ("train/ants/copy.png", "train/ants/photo_004.jpg")
    assert issue.exclude == ("train/ants/photo_004.jpg",)  # the first name of two equal images is kept
    assert issue.summary == "1 group of images with the same pixels contains 1 copy (4.8 % of all images)"


def test_large_photos_that_are_reduced_while_decoding_are_compared_whole(tmp_path: Path) -> None:
    for number, photo in enumerate(photos(4, size=(1400, 1000))):
        path = tmp_path / "train" / ("ants", "bees")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo.save(path, quality=60)
    Image.open(path).save(path.with_name("equal.bmp"))
    changed = np.asarray(Image.open(path)).copy()
    changed[500, 700] ^= 1
    Image.fromarray(changed).save(path.with_name("other.bmp"))
    assert _issues(tmp_path)["duplicates"].examples == ("train/bees/3.jpg", "train/bees/equal.bmp")


def test_duplicates_across_splits_are_an_error_and_the_test_image_is_kept(tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 20)
    write_photos(tmp_path, 10, part="test", seed=1)
    shutil.copy(paths[2], tmp_path / "test" / "ants" / "again.jpg")
    issue = _issues(tmp_path, "image: {size: [32, 32]}, split: {validation: 0}")["duplicates across splits"]
    assert issue.severity == "error"
    assert issue.exclude == ("train/ants/photo_002.jpg",)
    assert issue.summary.startswith("1 of 11 test images have the same pixels as a training image")
    assert issue.evidence == ("test/ants/again.jpg (test, ants): train/ants/photo_002.jpg (train, ants)",)


def test_duplicates_with_conflicting_labels_are_all_excluded(tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 20)
    shutil.copy(paths[2], tmp_path / "train" / "bees" / "twin.jpg")
    issue = _issues(tmp_path)["duplicates with conflicting labels"]
    assert (issue.severity, issue.exclude) == ("error", ("train/ants/photo_002.jpg", "train/bees/twin.jpg"))


def test_single_colour_images_are_no_duplicates(tmp_path: Path) -> None:
    folder = write_photos(tmp_path, 20)[0].parent
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 40), "white").save(folder / name)
    assert _issues(tmp_path) == {}


def test_repeated_images_of_an_array_are_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 10, 10, 3)).astype("uint8")
    images[50] = images[3]
    np.savez(tmp_path / "images.npz", x=images, y=np.arange(60) % 2)
    subject = subject_of(f"{{kind: npz, path: {tmp_path / 'images.npz'}, features: x, target: y}}", data="split: {test: 0.3}")
    names = {name for issue in issues_of(subject, Duplicates()).values() for name in issue.examples}
    assert len(names) == 2
