"""Contact sheets: many images with captions in one PNG file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcli.charts.contact_sheet import save_contact_sheet


def test_a_sheet_shows_every_image_in_its_place(tmp_path: Path) -> None:
    images = np.stack([np.full((8, 4, 3), level, "uint8") for level in (0, 60, 120, 180, 240)])
    save_contact_sheet(images, ["a", "b", "c", "d", ""], tmp_path / "sheet.png", columns=3, side=32)
    with Image.open(tmp_path / "sheet.png") as opened:
        sheet = np.asarray(opened.convert("L"))
    width, height = 16 + 6, 32 + 6 + 14  # of an image that is four times as large, with margin and caption
    assert sheet.shape == (2 * height + 6, 3 * width + 6)
    for place, level in enumerate((0, 60, 120, 180, 240)):
        top, left = 6 + place // 3 * height, 6 + place % 3 * width
        assert (sheet[top : top + 32, left : left + 16] == level).all()
    assert (sheet[height + 6 :, 2 * width + 6 :] == 255).all()


def test_large_and_grey_images_fit_and_captions_are_made_harmless(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 90, 300, 1)).astype("uint8")
    save_contact_sheet(images, ["\x1b[31mred\n" * 30, "żółć", "c"], tmp_path / "sheet.png", side=100)
    with Image.open(tmp_path / "sheet.png") as opened:
        assert opened.size == (3 * 106 + 6, 30 + 6 + 14 + 6)
        assert opened.mode == "P"


def test_a_sheet_needs_a_caption_for_each_image_and_a_size_that_can_be_read(tmp_path: Path) -> None:
    images = np.zeros((4, 8, 8, 3), "uint8")
    with pytest.raises(ValueError, match="4 images and 1 captions"):
        save_contact_sheet(images, ["a"], tmp_path / "sheet.png")
    with pytest.raises(ValueError, match="is larger than 20,000 pixels"):
        save_contact_sheet(images, ["a"] * 4, tmp_path / "sheet.png", columns=1, side=8_000)
    assert not list(tmp_path.iterdir())
