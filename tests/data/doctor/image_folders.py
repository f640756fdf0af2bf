"""Folders of images with planted faults, and the subject that the checks take."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dlcli.data.doctor.check import Check, Subject, no_progress
from dlcli.data.doctor.doctor import open_subject
from dlcli.data.doctor.issue import Issue
from dlcli.spec.load import load_text

CLASSES = ("ants", "bees")


def photos(count: int, seed: int = 0, size: tuple[int, int] = (96, 72)) -> list[Image.Image]:
    """Returns independent images of smooth colours with fine noise."""
    random = np.random.default_rng(seed)
    width, height = size
    pictures = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (7, 7, 3)).astype("uint8")).resize(size, Image.Resampling.BICUBIC)
        noisy = np.asarray(coarse) * 0.8 + random.normal(0, 8, (height, width, 3))
        pictures.append(Image.fromarray(np.clip(noisy, 0, 255).astype("uint8")))
    return pictures


def write_photos(folder: Path, count: int, *, part: str = "train", seed: int = 0, stem: str = "photo") -> list[Path]:
    """Writes photos as `part/class/stem_NNN.jpg`, alternating between two classes, and returns their paths."""
    paths = []
    for number, photo in enumerate(photos(count, seed)):
        path = folder / part / CLASSES[number % 2] / f"{stem}_{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo.save(path, quality=92)
        paths.append(path)
    return paths


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Returns an image as it looks after it was saved as JPEG."""
    data = BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def subject_of(source: str, *, data: str = "image: {size: [32, 32]}", task: str = "classification") -> Subject:
    """Returns the subject of a source, given as flow YAML; unreadable files are collected."""
    text = f"name: data\ntask: {task}\ndata: {{source: {source}, {data}}}\nmodel: {{kind: mlp, units: [4]}}\n"
    return open_subject(load_text(text, "data.yaml").experiment, offline=True)


def folder_subject(folder: Path, **settings: Any) -> Subject:
    """Returns the subject of a folder of images."""
    return subject_of(f"{{kind: folder, path: {folder}}}", **settings)


def issues_of(subject: Subject, *checks: Check) -> dict[str, Issue]:
    """Returns the issues of checks that apply, by kind; every kind occurs once."""
    issues = list(_issues(subject, checks))
    by_kind = {issue.kind: issue for issue in issues}
    assert len(by_kind) == len(issues)
    return by_kind


def _issues(subject: Subject, checks: tuple[Check, ...]) -> Iterator[Issue]:
    for check in checks:
        if not check.reason_against(subject):
            yield from check.issues(subject, no_progress)
