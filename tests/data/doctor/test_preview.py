"""Contact sheets show examples, augmented variants and ways of resizing; they overwrite nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from data.doctor.image_folders import folder_subject, photos, subject_of, write_photos
from dlcli.charts.contact_sheet import SIDE
from dlcli.cli.app import app
from dlcli.data.doctor.preview import AUGMENTATIONS, EXAMPLES, FILES, RESIZING, write_previews
from dlcli.errors import UsageError

Array = np.ndarray[Any, Any]
FLIP = "image: {size: [32, 32]}, augment: [{kind: random_flip, mode: horizontal}, {kind: random_brightness, factor: 0.2}]"


def _pixels(path: Path) -> Array:
    with Image.open(path) as picture:
        return np.asarray(picture).astype("int16")


def test_every_sheet_is_written_and_the_shares_of_lost_pixels_are_those_of_the_aspect_ratios(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 12)
    photos(1, seed=1, size=(100, 50))[0].save(tmp_path / "photos" / "train" / "ants" / "wide.png")
    whole = FLIP.replace("augment:", "split: {validation: 0, test: 0}, augment:")
    preview = write_previews(folder_subject(tmp_path / "photos", data=whole), tmp_path / "sheets")
    assert [path.name for path in preview.files] == list(FILES)
    ants, bees = 100 * (6 * 0.25 + 0.5) / 7, 25.0  # 96 x 72 loses a quarter, 100 x 50 a half
    assert preview.lines[2].endswith(f"crop: of the pixels, {ants:.1f} % (ants), {bees:.1f} % (bees) are lost")
    assert _pixels(tmp_path / "sheets" / AUGMENTATIONS).shape[0] > 3 * SIDE
    assert _pixels(tmp_path / "sheets" / RESIZING).shape[1] > 8 * SIDE


def test_the_variants_of_an_example_are_its_augmentations(tmp_path: Path) -> None:
    """Of eight flips some are mirrored and the others are the image itself."""
    write_photos(tmp_path / "photos", 12)
    data = "image: {size: [32, 32]}, augment: [{kind: random_flip, mode: horizontal}]"
    write_previews(folder_subject(tmp_path / "photos", data=data), tmp_path / "sheets")
    sheet = _pixels(tmp_path / "sheets" / AUGMENTATIONS)
    original = sheet[35 : 35 + SIDE, 12 : 12 + SIDE]
    variants = sheet[-12 - SIDE : -12]
    tiles = [variants[:, start : start + SIDE] for start in range(12, 12 + 8 * (SIDE + 8), SIDE + 8)]
    equal = [np.abs(tile - original).max() == 0 for tile in tiles]
    mirrored = [np.abs(tile - original[:, ::-1]).max() == 0 for tile in tiles]
    assert all(a != b for a, b in zip(equal, mirrored, strict=True))
    assert 0 < sum(mirrored) < 8


def test_existing_sheets_are_not_overwritten(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 12)
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets" / EXAMPLES).write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"sheets/examples.png exists; name another folder, or remove it"):
        write_previews(folder_subject(tmp_path / "photos"), tmp_path / "sheets")
    assert (tmp_path / "sheets" / EXAMPLES).read_bytes() == b"mine"
    with pytest.raises(UsageError, match="is a file; name a folder"):
        write_previews(folder_subject(tmp_path / "photos"), tmp_path / "sheets" / EXAMPLES)


def test_images_of_one_size_and_no_augmentations_have_the_examples_only(tmp_path: Path) -> None:
    preview = write_previews(subject_of("{kind: builtin, name: digits}", data="batch_size: 8"), tmp_path / "sheets")
    assert [path.name for path in preview.files] == [EXAMPLES]
    assert preview.lines == (
        "examples.png: training examples of each class",
        "no augmentations: data.augment is empty",
        "no ways of resizing: the images are no files, or data.image.size is not set",
    )


def test_tables_have_no_preview(tmp_path: Path) -> None:
    preview = write_previews(subject_of("{kind: builtin, name: iris}", data="batch_size: 8"), tmp_path / "sheets")
    assert preview.files == ()
    assert not (tmp_path / "sheets").exists()


def test_the_command_writes_sheets_and_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = "name: digits\ntask: classification\ndata: {source: {kind: builtin, name: digits}}\nmodel: {kind: mlp, units: [4]}\n"
    (tmp_path / "digits.yaml").write_text(spec, encoding="utf-8")
    arguments = ["data", "digits.yaml", "--fast", "--preview", "sheets"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "preview: sheets\n  examples.png: training examples of each class\n" in done.stdout
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "sheets/examples.png exists" in again.output
    listed = CliRunner().invoke(app, [*arguments[:-1], "others", "--json"])
    assert json.loads(listed.stdout)["preview"] == [str(tmp_path / "others" / EXAMPLES)]
