"""`data.cache`: where decoded pixels are kept, what is refused, and that it changes no result."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from cli.killing import assert_same_bits
from training.test_resume import Stopping, gone_on, stopped
from trainings import trained, write_pngs, write_spec

from dlcli.data.size_plan import size_plan
from dlcli.data.splits import Splits, open_splits
from dlcli.errors import DataError
from dlcli.runtime.images import ImageFiles
from dlcli.runtime.inputs import Arrays
from dlcli.runtime.pixel_cache import PixelCache
from dlcli.runtime.pixel_file import PixelFile
from dlcli.runtime.stored_files import KEPT_DAYS
from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sizes import size_in_words
from dlcli.spec.load import load

CNN = "{kind: cnn, layers: [{kind: conv2d, filters: 2, kernel_size: 3}, flatten]}"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    folder = write_pngs(tmp_path / "photos", each=6)
    data = "image: {size: [8, 8]}, split: {test: 0.25, validation: 0.25}"
    return write_spec(tmp_path, f"{{kind: folder, path: {folder}}}", data=data, model=CNN)


def with_cache(spec: Path, cache: str, lines: list[str] | None = None) -> Splits:
    log = (lambda line: None) if lines is None else lines.append
    return open_splits(load(spec, [f"data.cache={cache}"]).experiment, pixels=spec.parent / ".pixels", log=log)


def test_pixels_are_the_same_wherever_they_are_kept(spec: Path) -> None:
    places = np.array([5, 0, 3])
    read = {cache: with_cache(spec, cache).train.inputs.read(places) for cache in ("auto", "memory", "disk", "none")}
    for pixels in read.values():
        np.testing.assert_array_equal(pixels, read["auto"])


def test_each_setting_keeps_the_pixels_where_it_says(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {}
    for cache in ("disk", "none"):
        inputs = with_cache(spec, cache).train.inputs
        assert isinstance(inputs, ImageFiles)
        kept[cache] = type(inputs.cache)
    assert kept == {"disk": PixelFile, "none": type(None)}
    monkeypatch.setattr("dlcli.data.memory_limit.free_memory", lambda: 3000)
    streamed = with_cache(spec, "auto").train.inputs
    assert isinstance(streamed, ImageFiles)
    assert isinstance(streamed.cache, PixelCache)


def test_splits_that_fit_one_by_one_but_not_together_are_kept_as_the_plan_says(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlcli.data.memory_limit.free_memory", lambda: 4 * 3000)  # 24 images take 4,608 bytes, 12 of them 2,304
    lines: list[str] = []
    splits = with_cache(spec, "auto", lines)
    assert "of them are kept in memory, the others are decoded" in lines[0]
    assert all(isinstance(examples.inputs, ImageFiles) for examples in splits.by_name.values())


@pytest.mark.usefixtures("without_pictures")
def test_a_killed_training_with_pixels_on_the_disk_ends_with_the_bits_of_a_whole_one_in_memory(spec: Path) -> None:
    changes = ["data.augment=[{kind: random_flip, mode: horizontal}]", "data.batch_size=4"]
    whole = trained(spec, changes)
    killed = stopped(spec, Stopping(step=5), [*changes, "data.cache=disk"])  # in the second of two epochs of 4 steps
    pixels = list((spec.parent / "runs" / ".pixels").glob("*.raw"))
    assert len(pixels) == 3
    for path in pixels:
        path.unlink()  # as after a month: they are written again
    gone_on(killed)
    assert len(list((spec.parent / "runs" / ".pixels").glob("*.raw"))) == 3
    assert_same_bits(killed, whole)


def test_a_second_training_reads_the_stored_pixels_and_changed_images_are_decoded_again(spec: Path) -> None:
    with_cache(spec, "disk")
    stored = sorted((spec.parent / ".pixels").iterdir())
    times = [path.stat().st_ino for path in stored]
    with_cache(spec, "disk")
    assert [path.stat().st_ino for path in sorted((spec.parent / ".pixels").iterdir())] == times
    image = next((spec.parent / "photos").rglob("*.png"))
    os.utime(image, ns=(0, 1))
    with_cache(spec, "disk")
    assert len(list((spec.parent / ".pixels").iterdir())) == len(stored) + 1


def test_stored_pixels_that_no_training_used_for_a_month_are_deleted(spec: Path) -> None:
    with_cache(spec, "disk")
    stored = list((spec.parent / ".pixels").iterdir())
    old = stored[0].stat().st_mtime - (KEPT_DAYS + 1) * 86_400
    for path in stored:
        os.utime(path, (old, old))
    with_cache(spec, "disk", [])
    assert set((spec.parent / ".pixels").iterdir()) == set(stored)  # used again
    for path in stored:
        os.utime(path, (old, old))
    open_splits(load(spec, ["data.cache=disk", "data.image.size=[6, 6]"]).experiment, pixels=spec.parent / ".pixels")
    assert not set(stored) & set((spec.parent / ".pixels").iterdir())


def test_memory_that_does_not_suffice_is_refused_with_numbers(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlcli.data.memory_limit.free_memory", lambda: 4000)
    with pytest.raises(DataError) as caught:
        with_cache(spec, "memory")
    assert str(caught.value) == (
        "data.cache: memory: 24 images of 8x8x3: 4.6 KB as uint8, but 4.0 KB of memory are free, of which 3.0 KB may be used;"
        " a smaller `data.image.size` takes less; `disk` keeps the pixels in a file, and `auto` as many in memory as fit"
    )
    recorded = {name: split for split, examples in with_cache(spec, "none").by_name.items() for name in examples.ids}
    experiment = load(spec, ["data.cache=memory"]).experiment
    assert len(open_splits(experiment, split=recorded).train)  # a run that was trained elsewhere is still scored


def test_a_full_disk_is_refused_with_numbers_and_leaves_no_file(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlcli.data.stored_files.free_disk", lambda _: 2000)
    with pytest.raises(DataError, match=r"the pixels of 12 images need 2\.3 KB, but on the disk of .*\.pixels only 2\.0 KB"):
        with_cache(spec, "disk")
    assert not (spec.parent / ".pixels").exists()


def test_the_plan_says_size_and_place_before_a_pixel_is_read(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a pixel is read")

    monkeypatch.setattr("dlcli.runtime.images.read_picture", refuse)
    for cache, words in (("auto", "in memory"), ("none", "decoded from their files in each epoch by")):
        lines: list[str] = []
        with pytest.raises(AssertionError, match="a pixel is read"):
            with_cache(spec, cache, lines)
        assert lines[0].startswith(f"data: 24 images of 8x8x3: 4.6 KB as uint8{'' if cache == 'auto' else ','} {words}")


def test_the_plan_names_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlcli.data.memory_limit.free_memory", lambda: 6_200_000_000)
    files = ImageFiles(("x.jpg",) * 50_000, ImageSettings(size=(224, 224)))
    plan = size_plan({"train": files})
    assert plan is not None
    assert plan.line().startswith(
        "data: 50,000 images of 224x224x3: 7.5 GB as uint8; 6.2 GB of memory are free, of which 1.6 GB may be used: about"
        " 10,297 of them are kept in memory, the others are decoded from their files in each epoch by "
    )
    assert plan.line().endswith("; images of 96 x 96 would fit")
    rows = size_plan({"train": Arrays(np.zeros((2, 3), "float32"))})
    assert rows is not None
    assert rows.line() == "data: 2 rows of 3 numbers: 24 bytes as float32 in memory"


def test_sizes_are_rounded_to_two_digits_below_ten() -> None:
    assert [size_in_words(size) for size in (999, 1000, 115_008, 9_960_000, 7_526_400_000)] == [
        "999 bytes", "1.0 KB", "115 KB", "10 MB", "7.5 GB",
    ]  # fmt: skip
