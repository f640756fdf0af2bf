import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from dlcli.export.readme import write_image_reader
from dlcli.runtime import image_reader
from dlcli.runtime.image_reader import Settings, UnreadableImage, read_image, read_picture
from dlcli.runtime.images import ImageFiles, incomplete_words
from dlcli.runtime.jpeg_data import missing_part
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources import image_types
from spec.sources.odd_images import RAMP, broken_exif, exif, half_jpeg, jpeg, png16, useless_exif

TWELVE_BITS = (RAMP.astype("uint16") * 16) + 7


def test_the_reader_that_exports_carry_needs_no_dlcli_and_reads_the_same_pixels(tmp_path: Path) -> None:
    write_image_reader(tmp_path)
    packages = {line.split()[1].split(".")[0] for line in _imports(tmp_path / "image_reader.py")}
    assert {"numpy", "PIL"} <= packages <= {"numpy", "PIL", *sys.stdlib_module_names}
    (tmp_path / "turned.jpg").write_bytes(jpeg(RAMP, exif((0x112, 3, 1, b"\x06\0\0\0"))))
    program = (
        "import sys, image_reader\n"
        "print(image_reader.read_image('turned.jpg', image_reader.Settings(channels=1)).tolist())\n"
        "assert not any(name.startswith('dlcli') for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    pixels = read_image(str(tmp_path / "turned.jpg"), Settings(channels=1))
    assert pixels.shape == (RAMP.shape[1], RAMP.shape[0], 1)
    assert json.loads(done.stdout) == pixels.tolist()


def test_the_reader_knows_the_image_types_of_sources() -> None:
    assert image_reader.FORMATS == image_types.FORMATS


def _imports(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith(("import ", "from "))]


@pytest.mark.parametrize("what", list(broken_exif()))
def test_damage_in_exif_data_leaves_the_picture_and_its_orientation(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(jpeg(RAMP, broken_exif()[what]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's; the command line drops them
        picture = read_picture(str(path), Settings(channels=1))
    turned = np.rot90(RAMP, -1)
    assert picture.pixels.shape == (24, 16, 1)
    assert np.abs(picture.pixels[..., 0].astype(int) - turned).max() < 12
    assert not picture.ignored


@pytest.mark.parametrize("what", list(useless_exif()))
def test_an_orientation_that_cannot_be_used_is_ignored_and_reported(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(jpeg(RAMP, useless_exif()[what]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = read_picture(str(path), Settings(channels=1))
    assert picture.pixels.shape == (16, 24, 1)
    assert picture.ignored


def test_orientations_are_those_of_pillow(tmp_path: Path) -> None:
    from PIL import ImageOps

    for value in range(1, 9):
        path = tmp_path / f"{value}.jpg"
        path.write_bytes(jpeg(RAMP, exif((0x112, 3, 1, value.to_bytes(2, "little") + b"\0\0"))))
        with Image.open(path) as file:
            upright = np.asarray(ImageOps.exif_transpose(file))
        assert np.array_equal(read_image(str(path), Settings(channels=1))[..., 0], upright)


def deep(path: Path, **settings: Any) -> np.ndarray:
    return read_image(str(path), Settings(**({"value_range": (7, 4087), "channels": 1} | settings)))


@pytest.mark.parametrize("name", ["x.png", "x.tif", "big-endian.tif", "x.pgm", "int32.tif", "float32.tif"])
def test_the_depth_of_grey_files_is_kept(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.pgm":
        path.write_bytes(b"P5 24 16 65535\n" + TWELVE_BITS.astype(">u2").tobytes())
    elif name == "big-endian.tif":
        Image.frombytes("I;16B", (24, 16), TWELVE_BITS.astype(">u2").tobytes()).save(path)
    else:
        kind = {"int32.tif": "int32", "float32.tif": "float32"}.get(name, "uint16")
        Image.fromarray(TWELVE_BITS.astype(kind)).save(path)
    pixels = deep(path)
    assert pixels.dtype == np.float32
    assert pixels[..., 0] == pytest.approx(RAMP, abs=1e-3)
    assert deep(path, channels=3).shape == (16, 24, 3)
    assert read_picture(str(path), Settings(value_range=(0, 255))).limits == pytest.approx((7, 4087, 4081), abs=1)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_the_depth_of_colours_and_of_grey_with_alpha_is_kept(tmp_path: Path, channels: int) -> None:
    values = np.stack([TWELVE_BITS, TWELVE_BITS[::-1], TWELVE_BITS[:, ::-1], TWELVE_BITS], axis=2)[..., :channels].copy()
    if channels in (2, 4):
        values[..., -1] = 65_535
        values[0, 0, -1] = 0
    path = tmp_path / "x.png"
    path.write_bytes(png16(values))
    pixels = deep(path, channels=3, background=(255, 0, 128))
    expected = np.stack([RAMP] * 3 if channels == 2 else [RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2).astype("float32")
    if channels in (2, 4):
        expected[0, 0] = 255 * 0.299 + 128 * 0.114 if channels == 2 else (255, 0, 128)
    assert pixels == pytest.approx(expected, abs=2e-3)


def test_a_sixteen_bit_tiff_of_colours_keeps_its_depth(tmp_path: Path) -> None:
    values = np.stack([TWELVE_BITS, TWELVE_BITS[::-1], TWELVE_BITS[:, ::-1]], axis=2)
    path = tmp_path / "x.tif"
    data = values.astype("<u2").tobytes()
    tags = [(256, 3, 1, 24), (257, 3, 1, 16), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 14)]
    tags += [(277, 3, 1, 3), (278, 3, 1, 16), (279, 4, 1, len(data))]
    entries = b"".join(
        a.to_bytes(2, "little") + b.to_bytes(2, "little") + c.to_bytes(4, "little") + d.to_bytes(4, "little")
        for a, b, c, d in tags
    )
    head = b"II*\0" + (14 + len(data)).to_bytes(4, "little") + b"\x10\0\x10\0\x10\0"
    path.write_bytes(head + data + len(tags).to_bytes(2, "little") + entries + bytes(4))
    assert deep(path, channels=3)[..., 1] == pytest.approx(RAMP[::-1], abs=1e-3)


@pytest.mark.parametrize("background", ["white", "black", [10, 20, 30]])
def test_one_value_stands_for_transparent_pixels_in_sixteen_bits(tmp_path: Path, background: Any) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png16(TWELVE_BITS, transparent=(7,)))
    colour = ImageSettings(background=background).background_colour
    grey = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    pixels = deep(path, background=colour)[..., 0]
    assert pixels[0, 0] == pytest.approx(grey, abs=1e-3)
    assert pixels[1:] == pytest.approx(RAMP[1:], abs=1e-3)
    shallow = read_image(str(path), Settings(channels=1, background=colour))[..., 0]
    assert shallow[0, 0] == round(grey)
    assert np.array_equal(shallow[1:], np.round(TWELVE_BITS[1:] / 257))


def test_eight_bits_beside_deep_values_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(RAMP).save(path)
    pixels = deep(path)
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels[..., 0], RAMP)


def test_deep_values_are_resized_padded_and_turned_like_others(tmp_path: Path) -> None:
    wide = np.full((10, 30), 7, "uint16")
    wide[:, 10:20] = 4087
    path = tmp_path / "x.png"
    Image.fromarray(wide).save(path)
    padded, cropped = (deep(path, size=(10, 10), resize=way)[..., 0] for way in ("pad", "crop"))
    assert padded[0].max() == padded[-1].max() == 0
    assert padded[5, 5] > 200
    assert cropped.min() == 255
    exif_data = Image.Exif()
    exif_data[0x0112] = 6
    Image.fromarray(TWELVE_BITS).save(path, exif=exif_data)
    assert deep(path)[..., 0] == pytest.approx(np.rot90(RAMP, -1), abs=1e-3)


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.full((4, 4), np.nan, "float32")).save(path)
    with pytest.raises(UnreadableImage, match="NaN"):
        deep(path)


def test_transparent_pixels_get_the_background(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGBA", (4, 4), (255, 255, 255, 0)).save(path)
    picture = read_picture(str(path), Settings(background=(0, 128, 255)))
    assert picture.pixels[0, 0].tolist() == [0, 128, 255]
    assert picture.see_through
    Image.new("RGBA", (4, 4), (255, 255, 255, 255)).save(path)
    assert not read_picture(str(path), Settings()).see_through


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "P"])
def test_colours_of_every_space_are_right(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGB", (8, 8), (200, 40, 90))
    if mode == "LAB":
        picture = ImageCms.profileToProfile(
            picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    else:
        picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    names = {"CMYK": ("x.tif", "x.jpg"), "YCbCr": ("x.tif", "x.jpg"), "LAB": ("x.tif",), "P": ("x.png", "x.gif", "x.tif")}
    for name in names[mode]:
        picture.save(tmp_path / name)
        pixels = read_image(str(tmp_path / name), Settings())
        assert np.abs(pixels.astype(int) - (200, 40, 90)).max() <= 4, (mode, name)


def test_large_pictures_are_measured_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("1", (30_000, 20_000)).save(path)
    with pytest.raises(UnreadableImage) as caught:
        read_image(str(path), Settings(size=(8, 8)))
    assert str(caught.value) == (
        "its 30,000 x 20,000 pixels take 5,400 MB once decoded, more than `data.image.decoded_mb: 1000` allows; raise it, or"
        " make the image smaller"
    )
    Image.new("L", (2000, 1000)).save(path)
    with pytest.raises(UnreadableImage, match=r"take 2 MB once decoded, more than `data\.image\.decoded_mb: 1` allows"):
        read_image(str(path), Settings(decoded_mb=1))
    assert read_image(str(path), Settings(size=(8, 8), decoded_mb=3)).shape == (8, 8, 3)


def test_a_slide_of_200_megapixels_is_read_at_a_fraction_of_its_size(tmp_path: Path) -> None:
    path = tmp_path / "slide.jpg"
    Image.new("L", (20_000, 10_000), 128).save(path, quality=30)
    assert read_image(str(path), Settings(size=(32, 32)))[0, 0].tolist() == [128] * 3


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"optimize": True}])
def test_jpegs_that_end_early_are_found(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "x.jpg"
    half_jpeg(path, **options)
    assert 0.1 < missing_part(str(path)) < 1
    assert "truncated JPEG" in incomplete_words(str(path))
    assert list(ImageFiles((str(path),), ImageSettings(size=(8, 8))).unreadable(thorough=True)) == [0]
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype="uint8")
    for pixels in (noise, np.full((96, 96, 3), 128, "uint8"), RAMP):
        path.write_bytes(jpeg(pixels, **options))
        assert missing_part(str(path)) == 0


def test_the_grey_of_missing_data_is_noticed_by_every_reading(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    half_jpeg(path)
    assert read_picture(str(path), Settings(size=(8, 8))).ends_grey
    path.write_bytes(jpeg(RAMP))
    assert not read_picture(str(path), Settings(size=(8, 8))).ends_grey


def test_more_frames_and_pages_are_noticed(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (10, 200)]
    for name in ("x.gif", "x.tif", "x.webp", "x.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert read_picture(str(tmp_path / name), Settings()).frames
        frames[0].save(tmp_path / name)
        assert not read_picture(str(tmp_path / name), Settings()).frames


def test_a_range_of_values_is_two_numbers() -> None:
    from pydantic import ValidationError

    assert ImageSettings(value_range=[0, 4095]).is_deep
    for wrong in ([5, 5], [1], "float", [0, True]):
        with pytest.raises(ValidationError, match="two numbers, the smaller first"):
            ImageSettings(value_range=wrong)


def test_libtiff_writes_nothing_by_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), "uint8")).save(path, compression="tiff_adobe_deflate")
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    files = ImageFiles((str(path),), ImageSettings(size=(8, 8)))
    assert "decoder error" in files.unreadable(thorough=True)[0]
    assert capfd.readouterr().err == ""
