"""Planted faults in a set of real photos are found by name; the clean set has no error and no warning."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from data.doctor.image_folders import folder_subject, issues_of, subject_of
from dlcli.data.doctor.checks import IMAGE_CHECKS
from dlcli.data.doctor.issue import Issue

Array = np.ndarray[Any, Any]
Plant = Callable[[Path, int], None]
"""Changes the file of a photo; the number counts the files with the same fault."""
COPIES = 5
CLEAN_NOTES = {"channel statistics", "images not compared", "grey images among colour images", "image outliers"}


@pytest.fixture(scope="module")
def ants_bees() -> Path:
    folder = os.environ.get("DLCLI_TEST_DATA")
    if not folder:
        pytest.skip("DLCLI_TEST_DATA names no folder of test data")
    return Path(folder) / "images" / "ants_bees"


def _resaved(change: Callable[[Image.Image], Image.Image], **settings: Any) -> Plant:
    def plant(path: Path, _: int) -> None:
        change(Image.open(path)).save(path, **({"quality": 92} | settings))

    return plant


def _truncated(path: Path, number: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * (number + 2) // 8])


def _with_orientation(value: int) -> Plant:
    def plant(path: Path, _: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = value
        Image.open(path).save(path, exif=exif)

    return plant


def _animated(path: Path, _: int) -> None:
    photo = Image.open(path).convert("RGB")
    photo.save(path.with_suffix(".gif"), save_all=True, append_images=[ImageOps.mirror(photo)])
    path.unlink()


def _deep(path: Path, _: int) -> None:
    Image.fromarray(np.asarray(Image.open(path).convert("L")).astype("uint16") * 257).save(path.with_suffix(".png"))
    path.unlink()


def _see_through(path: Path, _: int) -> None:
    photo = Image.open(path).convert("RGBA")
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    photo.save(path.with_suffix(".png"))
    path.unlink()


def _strip(photo: Image.Image) -> Image.Image:
    return photo.crop((0, 0, photo.width, photo.width // 7))


def _unusual(path: Path, number: int) -> None:
    """Replaces a photo by noise, a page of text, a gradient, a chessboard or a nearly black image."""
    random = np.random.default_rng(number)
    page = Image.new("RGB", (300, 225), "white")
    draw = ImageDraw.Draw(page)
    for top in range(5, 220, 11):
        draw.text((5, top), "the data doctor reads a line of text"[: int(random.integers(10, 36))], fill="black")
    pictures = [
        Image.fromarray(random.integers(0, 256, (225, 300, 3)).astype("uint8")),
        page,
        Image.fromarray(np.tile(np.linspace(100, 130, 300), (225, 1)).astype("uint8")).convert("RGB"),
        Image.fromarray((np.indices((225, 300)).sum(axis=0) // 8 % 2 * 255).astype("uint8")).convert("RGB"),
        ImageEnhance.Brightness(Image.open(path)).enhance(0.08),
    ]
    pictures[number].save(path, quality=92)


FAULTS: dict[str, tuple[Plant, str]] = {
    "empty": (lambda path, _: path.write_bytes(b"") and None, "empty files"),
    "truncated": (_truncated, "truncated images"),
    "text": (lambda path, _: path.write_text("no image", encoding="utf-8") and None, "files that are no images"),
    "extension": (_resaved(lambda photo: photo, format="PNG"), "files of another type than their extension"),
    "animated": (_animated, "files with several frames"),
    "cmyk": (_resaved(lambda photo: photo.convert("CMYK")), "CMYK images"),
    "deep": (_deep, "16-bit images"),
    "transparent": (_see_through, "transparent images"),
    "turned": (_with_orientation(6), "EXIF orientation"),
    "odd exif": (_with_orientation(42), "unreadable EXIF orientation"),
    "small": (_resaved(lambda photo: photo.resize((48, 36))), "very small images"),
    "large": (_resaved(lambda photo: photo.resize((1600, 1200))), "very large images"),
    "aspect": (_resaved(_strip), "extreme aspect ratios"),
    "flat": (_resaved(lambda photo: Image.new("RGB", photo.size, photo.getpixel((0, 0)))), "single-colour images"),
    "blank": (
        _resaved(lambda photo: Image.fromarray((np.asarray(photo) // 64 + 120).astype("uint8"))),
        "blank images",
    ),
    "outlier": (_unusual, "image outliers"),
}
COPY_CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "equal": lambda photo: photo,
    "mirrored": ImageOps.mirror,
    "cropped": lambda photo: photo.crop((4, 3, photo.width - 4, photo.height - 3)),
    "brighter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.25),
    "half": lambda photo: photo.resize((photo.width // 2, photo.height // 2)),
}


def _copies(source: Path, folder: Path, paths: Iterator[Path]) -> dict[str, list[str]]:
    """Writes copies of training photos: equal ones, changed ones, and equal and changed ones with the other label."""
    names: dict[str, list[str]] = {}
    for name, change in COPY_CHANGES.items():
        for number in range(COPIES):
            path = next(paths)
            copy = path.parent / f"{name}_{number}.{'png' if name == 'equal' else 'jpg'}"
            change(Image.open(path)).save(copy, quality=92)
            names.setdefault(f"{'duplicates' if name == 'equal' else 'near duplicates'}", []).append(
                str(copy.relative_to(folder))
            )
    for name, kind in (("equal", "duplicates"), ("mirrored", "near duplicates")):
        for number in range(COPIES):
            path = next(paths)
            other = {"ants": "bees", "bees": "ants"}[path.parent.name]
            copy = path.parent.parent / other / f"conflict_{name}_{number}.png"
            COPY_CHANGES[name](Image.open(path)).save(copy)
            names.setdefault(f"{kind} with conflicting labels", []).append(str(copy.relative_to(folder)))
    return names


def _planted(ants_bees: Path, folder: Path) -> dict[str, list[str]]:
    """Copies the training photos with five of each fault, and returns the names of the faulty files by the kind of issue."""
    for label in ("ants", "bees"):
        (folder / label).mkdir(parents=True)
        for path in sorted((ants_bees / "train" / label).glob("*.jpg")):
            shutil.copyfile(path, folder / label / path.name)
    order = np.random.default_rng(5).permutation(244)
    paths = iter(np.array(sorted(folder.glob("*/*.jpg")), object)[order].tolist())
    names: dict[str, list[str]] = {}
    for plant, kind in FAULTS.values():
        for number in range(COPIES):
            path = next(paths)
            plant(path, number)
            changed = next(path.parent.glob(f"{path.stem}.*"))
            names.setdefault(kind, []).append(f"{path.parent.name}/{changed.name}")
    return names | _copies(ants_bees, folder, paths)


@pytest.mark.slow
def test_planted_faults_are_found_by_name(ants_bees: Path, tmp_path: Path) -> None:
    names = _planted(ants_bees, tmp_path / "photos")
    subject = folder_subject(tmp_path / "photos", data="image: {size: [64, 64]}, split: {validation: 0, test: 0}")
    issues = issues_of(subject, *IMAGE_CHECKS)
    found = {kind: {*issues[kind].examples} if kind in issues else set() for kind in names}
    missed = {kind: [name for name in planted if name not in found[kind]] for kind, planted in names.items()}
    total = sum(map(len, names.values()))
    assert total == COPIES * (len(FAULTS) + len(COPY_CHANGES) + 2)
    assert sum(map(len, missed.values())) <= 0.05 * total, missed
    extra = {kind: found[kind] - {*planted} for kind, planted in names.items() if "duplicates" not in kind}
    assert sum(map(len, extra.values())) <= 3, extra


def _problems(issues: dict[str, Issue]) -> list[str]:
    return [kind for kind, issue in issues.items() if issue.severity != "note"]


@pytest.mark.slow
def test_clean_photos_have_notes_only(ants_bees: Path) -> None:
    issues = issues_of(folder_subject(ants_bees, data="image: {size: [64, 64]}"), *IMAGE_CHECKS)
    assert _problems(issues) == []
    assert issues.keys() <= CLEAN_NOTES


@pytest.mark.slow
def test_clean_digits_have_notes_only() -> None:
    issues = issues_of(subject_of("{kind: builtin, name: digits}", data="batch_size: 8"), *IMAGE_CHECKS)
    assert _problems(issues) == []
    assert len(issues["image outliers"].examples) < 10
