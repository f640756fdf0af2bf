"""Changed copies of photos are found across splits and labels; images that are alike by nature or by chance are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from data.doctor.image_folders import as_jpeg, folder_subject, issues_of, photos, subject_of, write_photos
from dlcli.data.doctor.check import NOT_APPLICABLE, no_progress
from dlcli.data.doctor.checks import near_duplicates
from dlcli.data.doctor.checks.near_duplicates import NearDuplicates
from dlcli.data.doctor.copies_of_images import near_pairs
from dlcli.data.doctor.image_facts import image_facts
from dlcli.data.doctor.issue import Issue
from dlcli.program import install_command

WHOLE = "image: {size: [32, 32]}, split: {validation: 0, test: 0}"
PARTS = "image: {size: [32, 32]}, split: {validation: 0}"


def _captioned(photo: Image.Image) -> Image.Image:
    photo = photo.copy()
    top = photo.height * 9 // 10
    ImageDraw.Draw(photo).rectangle((0, top, photo.width, photo.height), fill="white")
    return photo


def _cropped(photo: Image.Image) -> Image.Image:
    across, down = photo.width * 0.02, photo.height * 0.02
    return photo.crop((round(across), round(down), round(photo.width - across), round(photo.height - down)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": lambda photo: as_jpeg(photo, 30),
    "half": lambda photo: photo.resize((photo.width // 2, photo.height // 2)),
    "brighter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.3),
    "contrast": lambda photo: ImageEnhance.Contrast(photo).enhance(1.4),
    "cropped": _cropped,
    "mirrored": ImageOps.mirror,
    "turned": lambda photo: photo.transpose(Image.Transpose.ROTATE_90),
    "captioned": _captioned,
    "grey": lambda photo: photo.convert("L"),
}
"""Changes that leave a picture recognisable; the crop takes 2 % at each side, and the caption covers a tenth."""


def _issues(folder: Path, data: str = WHOLE) -> dict[str, Issue]:
    return issues_of(folder_subject(folder, data=data), NearDuplicates())


def test_different_photos_are_no_near_duplicates(tmp_path: Path) -> None:
    write_photos(tmp_path, 60)
    assert _issues(tmp_path) == {}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_changed_copy_is_found(tmp_path: Path, change: str) -> None:
    paths = write_photos(tmp_path, 24)
    names = set()
    for path in paths[:6]:
        copy = path.with_name(f"{path.stem}_copy.jpg")
        CHANGES[change](Image.open(path)).save(copy, quality=90)
        names |= {f"train/{path.parent.name}/{path.name}", f"train/{path.parent.name}/{copy.name}"}
    issue = _issues(tmp_path)["near duplicates"]
    assert set(issue.examples) == names
    assert len(issue.exclude) == 6
    assert len(issue.evidence) == 6


def test_near_duplicates_across_splits_name_both_files_and_how_they_differ(tmp_path: Path) -> None:
    path = write_photos(tmp_path, 24)[0]
    write_photos(tmp_path, 12, part="test", seed=1)
    ImageOps.mirror(Image.open(path)).save(tmp_path / "test" / "ants" / "copy.jpg", quality=90)
    issue = _issues(tmp_path, PARTS)["near duplicates across splits"]
    assert (issue.severity, issue.exclude) == ("error", ("train/ants/photo_000.jpg",))
    assert issue.evidence == ("test/ants/copy.jpg (test, ants): train/ants/photo_000.jpg (train, ants) mirrored",)
    assert "the test score is honest" in issue.advice


def test_near_duplicates_with_two_labels_are_all_excluded(tmp_path: Path) -> None:
    path = write_photos(tmp_path, 24)[0]
    Image.open(path).resize((48, 36)).save(path.parent.parent / "bees" / "small.png")
    issue = _issues(tmp_path)["near duplicates with conflicting labels"]
    assert (issue.severity, issue.exclude) == ("warning", ("train/ants/photo_000.jpg", "train/bees/small.png"))


def test_the_largest_of_several_copies_is_kept_and_a_group_joins_equal_and_changed_ones(tmp_path: Path) -> None:
    path = write_photos(tmp_path, 24)[0]
    photo = Image.open(path)
    photo.resize((48, 36)).save(path.with_name("a_small.png"))
    photo.save(path.with_name("b_equal.png"))
    photo.resize((192, 144)).save(path.with_name("z_large.png"))
    issue = _issues(tmp_path)["near duplicates"]
    assert issue.summary.startswith("1 group of images that show the same picture contains 3 copies")
    assert set(issue.examples) - set(issue.exclude) == {"train/ants/z_large.png"}


def test_digits_are_skipped_with_a_note_and_larger_ones_are_alike_by_nature() -> None:
    source = "{kind: builtin, name: digits}"
    tiny = issues_of(subject_of(source, data="classes: ['0', '1']"), NearDuplicates())
    assert list(tiny) == ["images not compared"]
    assert tiny["images not compared"].summary.startswith("360 images with a side below 32 pixels are not compared")
    large = issues_of(subject_of(source, data="image: {size: [64, 64]}, classes: ['0', '1']"), NearDuplicates())
    assert list(large) == ["images not compared"]
    assert "alike by nature" in large["images not compared"].summary


def test_drawings_of_two_values_are_not_compared(tmp_path: Path) -> None:
    folder = write_photos(tmp_path, 24)[0].parent
    for number in range(5):
        page = Image.new("L", (96, 72), 255)
        ImageDraw.Draw(page).line((5 + number, 5, 80, 60), fill=0, width=2)
        page.save(folder / f"drawing_{number}.png")
    issues = _issues(tmp_path)
    assert list(issues) == ["images not compared"]
    assert issues["images not compared"].summary.startswith("5 images with nearly two values are not compared")


def test_tables_have_no_near_duplicates() -> None:
    assert NearDuplicates().reason_against(subject_of("{kind: builtin, name: iris}", data="batch_size: 8")) == NOT_APPLICABLE


def test_the_copies_of_sixty_photos_are_found(tmp_path: Path) -> None:
    """Four altered copies each: every image is in the group of its photo, and one image of a group is kept."""
    alterations = [CHANGES[name] for name in ("mirrored", "brighter", "recompressed", "half")]
    for number, photo in enumerate(photos(60)):
        folder = tmp_path / "train" / ("ants", "bees")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        for version, change in enumerate([lambda image: image, *alterations]):
            change(photo).save(folder / f"{number:02}_{version}.jpg", quality=92)
    issues = _issues(tmp_path, "image: {size: [32, 32]}")
    assert issues["near duplicates across splits"].severity == "error"
    assert len(issues["near duplicates across splits"].examples) > 200
    found, excluded = (
        {name for issue in issues.values() for name in getattr(issue, names)} for names in ("examples", "exclude")
    )
    assert (len(found), len(excluded)) == (300, 240)
    assert len({name.partition("_")[0] for name in found - excluded}) == 60


def test_without_the_library_the_reason_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "can_hash", lambda: False)
    reason = NearDuplicates().reason_against(subject_of("{kind: builtin, name: digits}", data="batch_size: 8"))
    assert reason.startswith("near duplicates are found by ImageHash, which is not installed: ")
    assert reason.endswith(install_command("data"))


@pytest.mark.slow
def test_changed_copies_of_real_photos_are_found_without_a_false_pair(tmp_path: Path) -> None:
    folder = os.environ.get("DLCLI_TEST_DATA")
    if not folder:
        pytest.skip("DLCLI_TEST_DATA names no folder of test data")
    source = Path(folder) / "images" / "ants_bees"
    paths = sorted(source.glob("*/*/*.jpg"))
    for label in ("ants", "bees"):
        (tmp_path / "train" / label).mkdir(parents=True)
    for place, path in enumerate(paths):
        for name, image in (("", Image.open(path)), ("_copy", None)):
            changed = image or list(CHANGES.values())[place % len(CHANGES)](Image.open(path))
            changed.save(tmp_path / "train" / path.parent.name / f"{path.stem}{name}.jpg", quality=90)
    facts = image_facts(folder_subject(tmp_path, data=WHOLE), no_progress)
    pairs = near_pairs(facts, no_progress).orientations
    stems = [{facts.ids[place].removesuffix(".jpg").removesuffix("_copy") for place in pair} for pair in pairs]
    assert all(len(names) == 1 for names in stems)
    assert len(pairs) >= 0.985 * len(paths)


def test_smooth_gradients_are_no_near_duplicates(tmp_path: Path) -> None:
    folder = write_photos(tmp_path, 24)[0].parent
    ramp = Image.linear_gradient("L").resize((96, 72))
    for number, (dark, bright) in enumerate((("#203020", "#a0b0a0"), ("#302828", "#c0b8b8"), ("#303030", "#c0c0b8"))):
        ImageOps.colorize(ramp, dark, bright).save(folder / f"gradient_{number}.png")
    assert _issues(tmp_path) == {}
