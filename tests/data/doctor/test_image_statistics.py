"""Statistics of channels, sizes, blank images and outliers are reported by name; usual images are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.doctor.image_folders import folder_subject, issues_of, photos, subject_of, write_photos
from dlcli.data.doctor.checks.image_outliers import ImageOutliers
from dlcli.data.doctor.checks.image_shapes import ImageShapes
from dlcli.data.doctor.checks.image_statistics import ImageStatistics

WHOLE = "image: {size: [32, 32]}, split: {validation: 0, test: 0}"


def test_images_of_one_size_have_no_issue_of_their_size(tmp_path: Path) -> None:
    write_photos(tmp_path, 12)
    assert issues_of(folder_subject(tmp_path), ImageShapes()) == {}


def test_extreme_sizes_and_aspects_are_compared_with_the_median(tmp_path: Path) -> None:
    folder = write_photos(tmp_path, 24)[0].parent
    photo = photos(1, seed=1)[0]
    photo.resize((20, 15)).save(folder / "small.png")
    photo.resize((480, 360)).save(folder / "large.png")
    photo.resize((300, 24)).save(folder / "wide.png")
    photo.resize((32, 200)).save(folder / "high.png")
    issues = issues_of(folder_subject(tmp_path, data=WHOLE), ImageShapes())
    assert {kind: (issue.severity, issue.examples) for kind, issue in issues.items()} == {
        "very small images": ("warning", ("train/ants/small.png",)),
        "very large images": ("note", ("train/ants/large.png",)),
        "extreme aspect ratios": ("warning", ("train/ants/high.png", "train/ants/wide.png")),
    }
    assert issues["very small images"].summary == (
        "1 of 28 images is at least 4 times smaller than usual: the median is 96 x 72 pixels"
    )


def test_the_size_of_a_photo_is_that_after_it_is_turned_upright(tmp_path: Path) -> None:
    folder = write_photos(tmp_path, 12)[0].parent
    exif = Image.Exif()
    exif[0x0112] = 6
    photos(1, size=(100, 40))[0].save(folder / "turned.jpg", exif=exif)
    issue = issues_of(folder_subject(tmp_path, data=WHOLE), ImageShapes())["extreme aspect ratios"]
    assert issue.evidence == ("train/ants/turned.jpg: 40 x 100 pixels",)


def test_single_colour_and_blank_images_are_excluded(tmp_path: Path) -> None:
    folder = write_photos(tmp_path, 12)[0].parent
    Image.new("RGB", (96, 72), (9, 8, 7)).save(folder / "flat.png")
    noise = np.random.default_rng(0).integers(126, 130, (72, 96, 3)).astype("uint8")
    Image.fromarray(noise).save(folder / "blank.png")
    issues = issues_of(folder_subject(tmp_path, data=WHOLE), ImageShapes())
    assert issues["single-colour images"].evidence == ("train/ants/flat.png: colour [9, 8, 7]",)
    assert issues["single-colour images"].exclude == ("train/ants/flat.png",)
    assert issues["blank images"].exclude == ("train/ants/blank.png",)


def test_statistics_are_those_of_the_pixels(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 200, (80, 20, 24, 3)).astype("uint8")
    images[..., 2] = 77
    np.savez(tmp_path / "images.npz", x=images, y=np.arange(80) % 2)
    source = f"{{kind: npz, path: {tmp_path / 'images.npz'}, features: x, target: y}}"
    subject = subject_of(source, data="split: {validation: 0, test: 0}")
    issues = issues_of(subject, ImageStatistics())
    red = images[..., 0].astype("float64")
    assert issues["channel statistics"].evidence[0] == (
        f"train, red: mean {red.mean():.1f}, deviation {red.std():.1f}, range 0 to 199"
    )
    assert issues["constant channels"].summary == "the blue channel has the value 77 in all images"


def test_grey_photos_that_are_read_in_colour_are_noted(tmp_path: Path) -> None:
    for path in write_photos(tmp_path, 12):
        Image.open(path).convert("L").save(path)
    assert "grey images with three channels" in issues_of(folder_subject(tmp_path), ImageStatistics())
    grey = folder_subject(tmp_path, data="image: {size: [32, 32], channels: 1}")
    assert "grey images with three channels" not in issues_of(grey, ImageStatistics())


def test_a_grey_photo_among_colour_photos_is_named(tmp_path: Path) -> None:
    path = write_photos(tmp_path, 30)[3]
    Image.open(path).convert("L").save(path)
    issue = issues_of(folder_subject(tmp_path), ImageStatistics())["grey images among colour images"]
    assert issue.examples == ("train/bees/photo_003.jpg",)


@pytest.mark.parametrize(("factor", "is_reported"), [(1.0, False), (0.4, True)])
def test_a_darker_test_split_is_a_warning(tmp_path: Path, factor: float, is_reported: bool) -> None:
    write_photos(tmp_path, 60)
    for path in write_photos(tmp_path, 40, part="test", seed=1):
        Image.open(path).point(lambda value: value * factor).save(path)
    issues = issues_of(folder_subject(tmp_path, data="image: {size: [32, 32]}, split: {validation: 0}"), ImageStatistics())
    assert ("brightness differs between splits" in issues) is is_reported


def test_outliers_are_named_with_what_is_unusual(tmp_path: Path) -> None:
    folder = write_photos(tmp_path, 80)[0].parent
    assert issues_of(folder_subject(tmp_path, data=WHOLE), ImageOutliers()) == {}
    noise = np.random.default_rng(0).integers(0, 256, (72, 96, 3)).astype("uint8")
    Image.fromarray(noise).save(folder / "noise.png")
    issue = issues_of(folder_subject(tmp_path, data=WHOLE), ImageOutliers())["image outliers"]
    assert (issue.severity, issue.examples, issue.exclude) == ("note", ("train/ants/noise.png",), ())
    assert "many edges" in issue.evidence[0]
