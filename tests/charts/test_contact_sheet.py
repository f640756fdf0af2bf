"""Contact sheets hold every image, enlarged by whole factors, with captions that fit; files are never replaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcli.charts.contact_sheet import SIDE, contact_sheet


def test_small_images_are_enlarged_with_their_pixels_and_keep_their_aspect(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 200, (8, 4, 3)).astype("uint8")
    contact_sheet([("", [image], [""])], tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (sheet[12 : 12 + SIDE : SIDE // 8, 12 : 12 + SIDE // 2 : SIDE // 8] == image).all()


def test_a_row_is_as_wide_as_its_caption_and_captions_of_images_are_cut(tmp_path: Path) -> None:
    image = np.zeros((200, 300), "uint8")
    contact_sheet([("a caption " * 30, [image], ["a/very/long/path/" * 9])], tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.width > 10 * SIDE
    below = np.asarray(sheet.convert("L"))[-26:, 24 + SIDE :]
    assert (below == 255).all()


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        contact_sheet([("", [np.zeros((8, 8, 3), "uint8")], [""])], path)
    assert path.read_bytes() == b"mine"


def test_images_without_captions_and_empty_sheets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every image needs a caption"):
        contact_sheet([("", [np.zeros((8, 8, 3), "uint8")], [])], tmp_path / "sheet.png")
    with pytest.raises(ValueError, match="needs images"):
        contact_sheet([("empty", [], [])], tmp_path / "sheet.png")
