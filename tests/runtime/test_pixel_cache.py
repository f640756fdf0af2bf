"""Image files of a set that does not fit into memory: the pixels are those of Pillow, and kept files are not opened again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from dlcli.arrays import Array
from dlcli.errors import DataError
from dlcli.runtime import pixel_cache
from dlcli.runtime.engine import tf
from dlcli.runtime.free_memory import MemoryShare
from dlcli.runtime.image_reader import FORMATS
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.pixel_cache import PixelCache
from dlcli.runtime.stream import TrainingStream
from dlcli.spec.data.data import ImageSettings

SIZE = (20, 30)
_RNG = np.random.default_rng(0)
COLOURS = Image.fromarray(_RNG.integers(0, 256, (90, 120, 3), dtype="uint8")).resize((240, 180), Image.Resampling.BICUBIC)


def write_turned(path: Path) -> None:
    """Writes a photo of a camera that was held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    COLOURS.save(path, exif=exif)


def write_cut(path: Path) -> None:
    """Writes a JPEG without its second half, but with its end marker."""
    COLOURS.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].rstrip(b"\xff") + b"\xff\xd9")


WRITERS = {
    "colours.jpg": COLOURS.save,
    "fine colours.jpg": lambda path: COLOURS.save(path, quality=95, subsampling=0),
    "progressive.jpg": lambda path: COLOURS.save(path, progressive=True),
    "grey.jpg": COLOURS.convert("L").save,
    "cmyk.jpg": COLOURS.convert("CMYK").save,
    "large.jpg": COLOURS.resize((960, 720)).save,  # decoded at a fraction of its size
    "turned.jpg": write_turned,
    "cut.jpg": write_cut,
    "palette.png": COLOURS.quantize(16).save,
    "black and white.png": COLOURS.convert("1").save,
    "sixteen bits.png": Image.fromarray(_RNG.integers(0, 2**16, (50, 60), dtype="uint16")).save,
    "colours.webp": COLOURS.save,
    "colours.tif": COLOURS.save,
}


def pixels_of_pillow(path: Path) -> Array:
    """Returns the pixels of a file as Pillow alone reads them, in 8 bits and one size."""
    with Image.open(path) as file:
        file.draft(None, (2 * max(SIZE), 2 * max(SIZE)))
        picture = file if file.format == "TIFF" else ImageOps.exif_transpose(file)
        if picture.mode.startswith("I"):
            picture = Image.fromarray(np.round(np.asarray(picture) / 257).astype("uint8"))
        return np.asarray(picture.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))


class Grants(MemoryShare):
    """Grants a fixed number of blocks."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks

    def grant(self, size: int) -> bool:
        """Returns whether a block is left."""
        self.blocks -= 1
        return self.blocks >= 0


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts how often dlcli opens each file, by its name; it names the formats, unlike `pixels_of_pillow`."""
    counts: Counter[str] = Counter()
    pillow = Image.open

    def counting(path: str, formats: tuple[str, ...] | None = None) -> Image.Image:
        if formats == FORMATS:
            counts[Path(path).name] += 1
        return pillow(path, formats=formats)

    monkeypatch.setattr("dlcli.runtime.image_reader.Image.open", counting)
    return counts


def files_with_cache(folder: Path, memory: MemoryShare, monkeypatch: pytest.MonkeyPatch, block: int = 1) -> ImageFiles:
    """Returns a file of each kind, with a cache that allocates memory for `block` images at once."""
    monkeypatch.setattr(pixel_cache, "BLOCK_BYTES", block * SIZE[0] * SIZE[1] * 3)
    for name, write in WRITERS.items():
        write(folder / name)
    files = ImageFiles(tuple(str(folder / name) for name in WRITERS), ImageSettings(size=SIZE))
    return ImageFiles(files.paths, files.image, cache=PixelCache(len(files), files.shape, files.dtype, memory))


@pytest.mark.parametrize("blocks", [0, 2, 99])
def test_every_kind_of_file_has_the_pixels_of_pillow_whether_or_not_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    files = files_with_cache(tmp_path, Grants(blocks), monkeypatch, block=2)
    expected = np.stack([pixels_of_pillow(tmp_path / name) for name in WRITERS])
    files.expect_repeats()
    backwards = np.arange(len(files))[::-1]
    for _ in range(3):
        assert np.array_equal(files.read(backwards), expected[::-1])
    assert files.cache is not None
    assert files.cache.kept_files == min(2 * blocks, len(files))


def test_a_file_is_opened_once_in_each_epoch_until_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Counter[str]
) -> None:
    files = files_with_cache(tmp_path, Grants(5), monkeypatch)
    examples = len(files)
    expected = np.stack([pixels_of_pillow(tmp_path / name) for name in WRITERS])
    stream = TrainingStream(files, tf.identity, examples=examples, batch_size=4, seed=0)

    def epoch(number: int) -> int:
        opened.clear()
        batches = list(stream.batches(number))
        images, places = (np.concatenate([batch[part] for batch in batches]) for part in (0, 1))
        assert np.array_equal(images[np.argsort(places)], expected)
        assert set(opened.values()) == {1}
        return len(opened)

    assert [epoch(0), epoch(1)] == [examples] * 2  # as in commands that read every file once
    files.expect_repeats()
    assert [epoch(2), epoch(3), epoch(4)] == [examples, examples - 5, examples - 5]


def test_a_damaged_file_is_named_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_with_cache(tmp_path, Grants(99), monkeypatch)
    files.expect_repeats()
    path = tmp_path / "colours.webp"
    path.write_bytes(path.read_bytes()[:40])
    for _ in range(2):
        with pytest.raises(DataError, match=r"colours\.webp: "):
            files.read(np.arange(len(files)))


def test_deep_values_are_kept_as_they_are(tmp_path: Path) -> None:
    values = _RNG.integers(0, 2**16, (20, 30), dtype="uint16")
    Image.fromarray(values).save(tmp_path / "x.png")
    image = ImageSettings(size=SIZE, channels=1, value_range=(0, 1000))
    plain = ImageFiles((str(tmp_path / "x.png"),), image)
    files = ImageFiles(plain.paths, image, cache=PixelCache(1, plain.shape, plain.dtype, Grants(1)))
    files.expect_repeats()
    first, second = (files.read(np.array([0])) for _ in range(2))
    assert files.cache is not None
    assert files.cache.kept_files == 1
    assert second.dtype == np.float32
    assert np.array_equal(first, second)
    assert np.array_equal(first, plain.read(np.array([0])))


def test_other_files_and_another_range_share_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_with_cache(tmp_path, Grants(99), monkeypatch)
    assert files.take(np.array([1, 0])).cache is None
    assert files.with_range((0.0, 255.0)).cache is None
