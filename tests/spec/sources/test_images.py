from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlcli.errors import DataError
from dlcli.runtime.image_arrays import fit_arrays
from dlcli.runtime.images import ImageFiles, read_image
from dlcli.spec.data.data import ImageSettings

RAMP = np.linspace(0, 255, 24 * 16, dtype="uint8").reshape(16, 24)


def read(path: Path, **image: Any) -> np.ndarray:
    return read_image(str(path), ImageSettings(**({"size": (16, 24), "channels": 3} | image)))


def saved(path: Path, picture: Image.Image, **options: Any) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.gif", "x.tif", "x.tiff", "x.ppm", "x.pgm", "x.pnm", "x.apng"])
def test_lossless_kinds_come_back_exactly(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, Image.fromarray(RAMP))
    assert np.array_equal(read(path, channels=1)[..., 0], RAMP)
    assert np.array_equal(read(path)[..., 2], RAMP)


def test_jpeg_comes_back_nearly(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.jpg", Image.fromarray(RAMP), quality=95)
    assert np.abs(read(path, channels=1)[..., 0].astype(int) - RAMP).max() < 12


@pytest.mark.parametrize("name", ["x.webp", "x.jfif", "x.jpe", "x.jp2", "x.avif"])
def test_other_types_with_loss_come_back_nearly(tmp_path: Path, name: str) -> None:
    options = {".jfif": {"format": "JPEG"}, ".jpe": {"format": "JPEG"}}.get(Path(name).suffix, {})
    path = saved(tmp_path / name, Image.fromarray(RAMP), quality=95, **options)
    assert np.abs(read(path, channels=1)[..., 0].astype(int) - RAMP).max() < 16


def test_a_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", Image.fromarray(RAMP)).rename(tmp_path / "x.jpg")
    assert np.array_equal(read(path, channels=1)[..., 0], RAMP)


def test_a_gif_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (10, 200)]
    path = saved(tmp_path / "x.gif", frames[0], save_all=True, append_images=frames[1:])
    assert set(read(path).ravel()) == {10}


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned: to be rotated by 90 degrees clockwise
    path = saved(tmp_path / "x.png", Image.fromarray(RAMP), exif=exif)
    assert np.array_equal(read(path, channels=1, size=(24, 16))[..., 0], np.rot90(RAMP, -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "CMYK", "L", "RGB"])
def test_every_mode_becomes_colours_or_grey(tmp_path: Path, mode: str) -> None:
    name = "x.jpg" if mode == "CMYK" else "x.png"
    path = saved(tmp_path / name, Image.new("RGB", (24, 16), "white").convert(mode))
    for channels in (1, 3):
        image = read(path, channels=channels)
        assert image.shape == (16, 24, channels)
        assert image.min() >= 250


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white(tmp_path: Path, mode: str) -> None:
    if mode == "P":
        path = saved(tmp_path / "x.png", Image.new("P", (24, 16), 0), transparency=0)
    else:
        path = saved(tmp_path / "x.png", Image.new(mode, (24, 16), (0, 0) if mode == "LA" else (0, 0, 0, 0)))
    assert read(path).min() == 255


def test_sixteen_bits_are_scaled_alike_in_every_image(tmp_path: Path) -> None:
    for value in (65_535, 12_850, 257):
        path = saved(tmp_path / "x.png", Image.fromarray(np.full((16, 24), value, "uint16")))
        assert set(read(path).ravel()) == {value // 257}


def test_size_is_reached_by_stretching_padding_or_cropping(tmp_path: Path) -> None:
    wide = np.zeros((10, 30), "uint8")
    wide[:, 10:20] = 255
    path = saved(tmp_path / "x.png", Image.fromarray(wide))
    stretched, padded, cropped = (
        read(path, size=(10, 10), resize=way, channels=1)[..., 0] for way in ("stretch", "pad", "crop")
    )
    assert stretched.shape == padded.shape == cropped.shape == (10, 10)
    assert 60 < stretched.mean() < 110
    assert padded[0].max() == padded[-1].max() == 0
    assert padded[5, 5] > 200
    assert cropped.min() == 255


def test_a_large_jpeg_is_decoded_small_without_looking_different(tmp_path: Path) -> None:
    smooth = np.add.outer(np.linspace(0, 120, 1200), np.linspace(0, 130, 1600)).astype("uint8")
    small = read(saved(tmp_path / "x.jpg", Image.fromarray(smooth), quality=95), size=(30, 40), channels=1)
    exact = read(saved(tmp_path / "x.png", Image.fromarray(smooth)), size=(30, 40), channels=1)
    assert np.abs(small.astype(int) - exact).max() <= 3


def test_bad_files_are_named(tmp_path: Path) -> None:
    whole = saved(
        tmp_path / "whole.jpg", Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), "uint8"))
    ).read_bytes()
    png = saved(tmp_path / "whole.png", Image.fromarray(RAMP)).read_bytes()
    bad = {
        "empty.jpg": (b"", "an empty file"),
        "text.jpg": (b"hello", "not an image"),
        "cut.jpg": (whole[:700], "truncated"),
        "cut.png": (png[:-40], "not readable as an image"),
        "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    }
    for name, (content, message) in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as caught:
            read(tmp_path / name)
        assert message in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(DataError, match=r"gone.jpg: No such file"):
        read(tmp_path / "gone.jpg")


def test_files_are_read_by_position_in_any_order(tmp_path: Path) -> None:
    paths = [str(saved(tmp_path / f"{value}.png", Image.new("L", (3, 3), value))) for value in range(40)]
    files = ImageFiles(tuple(paths), ImageSettings(size=(2, 2), channels=1))
    order = np.random.default_rng(0).permutation(40)
    assert len(files) == 40
    assert files.read(order)[:, 0, 0, 0].tolist() == order.tolist()
    assert files.take(order[:3]).read(np.array([2]))[0, 0, 0, 0] == order[2]


def test_arrays_in_the_wanted_form_are_passed_on_untouched() -> None:
    images = np.zeros((2, 8, 8, 1), "uint8")
    assert fit_arrays(images, ImageSettings()) is images
    assert fit_arrays(images, ImageSettings(size=(8, 8), channels=1)) is images
    assert fit_arrays(images, ImageSettings(size=(4, 4))).shape == (2, 4, 4, 1)
    assert fit_arrays(np.zeros((2, 8, 8, 4), "uint8"), ImageSettings(channels=3)).shape == (2, 8, 8, 3)
