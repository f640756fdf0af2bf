"""Image files that cannot be read, or that are changed when they are read, are reported by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.doctor.image_folders import folder_subject, issues_of, photos, write_photos
from dlcli.data.doctor.check import NOT_APPLICABLE
from dlcli.data.doctor.checks.image_files import ImageFileCheck
from dlcli.data.doctor.issue import Issue


def _issues(folder: Path, **settings: str) -> dict[str, Issue]:
    return issues_of(folder_subject(folder, **settings), ImageFileCheck())


def test_intact_files_have_no_issue(tmp_path: Path) -> None:
    write_photos(tmp_path, 12)
    assert _issues(tmp_path) == {}


def test_empty_truncated_and_other_files_are_errors_by_name(tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 12)
    paths[0].write_bytes(b"")
    data = paths[2].read_bytes()
    paths[2].write_bytes(data[: len(data) // 2])
    paths[4].write_text("<html>not found</html>", encoding="utf-8")
    issues = _issues(tmp_path)
    assert {kind: (issue.severity, issue.examples, issue.exclude) for kind, issue in issues.items()} == {
        "empty files": ("error", ("train/ants/photo_000.jpg",), ("train/ants/photo_000.jpg",)),
        "truncated images": ("error", ("train/ants/photo_002.jpg",), ("train/ants/photo_002.jpg",)),
        "files that are no images": ("error", ("train/ants/photo_004.jpg",), ("train/ants/photo_004.jpg",)),
    }
    assert "image file is truncated" in issues["truncated images"].evidence[0]
    assert issues["empty files"].summary == "1 empty file: a training stops before its first step"


def test_unreadable_files_that_a_training_skips_are_warnings(tmp_path: Path) -> None:
    write_photos(tmp_path, 12)[0].write_bytes(b"")
    issue = _issues(tmp_path, data="image: {size: [32, 32]}, on_error: skip")["empty files"]
    assert issue.severity == "warning"
    assert "leaves them out" in issue.summary


def test_a_file_of_another_type_than_its_extension_is_named_with_its_type(tmp_path: Path) -> None:
    path = write_photos(tmp_path, 12)[3]
    Image.open(path).save(path, "PNG")
    issue = _issues(tmp_path)["files of another type than their extension"]
    assert issue.evidence == ("train/bees/photo_003.jpg: PNG data",)
    assert issue.summary == "1 of 12 images has another type than the extension says; dlcli reads a file by its content"


def test_animations_cmyk_transparency_and_orientation_are_named(tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 12)
    folder = paths[0].parent
    frames = photos(3, seed=1)
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    frames[1].convert("CMYK").save(folder / "print.jpg")
    see_through = frames[2].convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(see_through.size))
    see_through.save(folder / "glass.png")
    for name, value in (("turned.jpg", 6), ("odd.jpg", 77)):
        exif = Image.Exif()
        exif[0x0112] = value
        frames[0].save(folder / name, exif=exif)
    issues = _issues(tmp_path)
    assert {kind: issue.examples for kind, issue in issues.items()} == {
        "files with several frames": ("train/ants/animated.gif",),
        "CMYK images": ("train/ants/print.jpg",),
        "transparent images": ("train/ants/glass.png",),
        "EXIF orientation": ("train/ants/turned.jpg",),
        "unreadable EXIF orientation": ("train/ants/odd.jpg",),
    }


@pytest.mark.parametrize(("deep", "severity"), [(12, "note"), (3, "warning")])
def test_images_of_16_bits_are_a_warning_among_images_of_8_bits(tmp_path: Path, deep: int, severity: str) -> None:
    random = np.random.default_rng(0)
    for number in range(12):
        values = random.integers(0, 65_536, (40, 40)).astype("uint16")
        path = tmp_path / "train" / ("ants", "bees")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values if number < deep else (values // 257).astype("uint8")).save(path)
    issue = _issues(tmp_path)["16-bit images"]
    assert (issue.severity, len(issue.examples)) == (severity, deep)


def test_images_of_an_array_have_no_files_to_check() -> None:
    from data.doctor.image_folders import subject_of

    assert ImageFileCheck().reason_against(subject_of("{kind: builtin, name: digits}", data="batch_size: 8")) == NOT_APPLICABLE
