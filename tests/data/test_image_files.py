"""Opening a folder of image files: the range of their values, notes, and errors."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from spec.sources.odd_images import half_jpeg, jpeg, png16, useless_exif

from dlcli.data.leaks import leak_facts
from dlcli.data.splits import Splits, open_splits
from dlcli.errors import DataError
from dlcli.runtime.images import ImageFiles
from dlcli.spec.load import load, load_resolved

NOISE = np.random.default_rng(0)


def photos(folder: Path, each: int = 4, bits: int = 8, most: int = 255, side: int = 8) -> Path:
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            pixels = NOISE.integers(0, most + 1, (side, side)).astype("uint16" if bits == 16 else "uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def opened(folder: Path, tmp_path: Path, **image: Any) -> Splits:
    settings = "".join(f", {name}: {value}" for name, value in image.items())
    (tmp_path / "spec.yaml").write_text(
        f"version: 1\nname: p\ntask: classification\ndata:\n  source: {{kind: folder, path: {folder}}}\n"
        f"  image: {{size: [8, 8]{settings}}}\n  on_error: stop\nmodel: {{kind: mlp, units: [2]}}\n"
    )
    return open_splits(load(str(tmp_path / "spec.yaml")).experiment)


def all_pixels(splits: Splits) -> np.ndarray:
    parts = (examples.inputs for examples in splits.by_name.values())
    return np.concatenate([inputs.read(np.arange(len(inputs))) for inputs in parts])


def test_images_of_twelve_bits_in_sixteen_are_scaled_to_the_whole_range(tmp_path: Path) -> None:
    splits = opened(photos(tmp_path / "x", bits=16, most=4095), tmp_path)
    pixels = all_pixels(splits)
    assert pixels.dtype == np.float32
    assert len(np.unique(pixels)) > 256
    train = splits.train.inputs.read(np.arange(len(splits.train)))
    assert (train.min(), train.max()) == pytest.approx((0, 255))
    assert splits.image is not None
    assert splits.is_image
    low, high = splits.image.value_range
    assert 0 <= low < 60 < 4000 < high <= 4095
    (note,) = splits.notes
    assert note == f"images have more than 8 bits: values from {low:,g} to {high:,g} become 0 to 255 (data.image.value_range)"


def test_a_few_extreme_values_are_noted_with_a_better_range(tmp_path: Path) -> None:
    folder = photos(tmp_path / "x", bits=16, most=200, side=64)
    hot = NOISE.integers(0, 200, (64, 64)).astype("uint16")
    hot[0, 0] = 65_535
    for name, number in ((name, number) for name in "ab" for number in range(4)):
        Image.fromarray(hot + np.uint16(hot < 200) * number).save(folder / name / f"hot{number}.png")
    (note,) = opened(folder, tmp_path).notes
    assert note.startswith(
        "images have more than 8 bits: values from 0 to 65,535 become 0 to 255 (data.image.value_range); 99.9 %"
    )
    assert re.search(r"99.9 % of them are below 20\d, so data.image.value_range: \[0, 20\d\] may fit better", note)


def test_a_value_range_in_the_spec_applies_to_deep_files_only(tmp_path: Path) -> None:
    folder = photos(tmp_path / "x", bits=16, most=4095)
    Image.fromarray(np.full((8, 8), 77, "uint8")).save(folder / "a" / "eight.png")
    pixels = all_pixels(opened(folder, tmp_path, value_range=[0, 4095]))
    assert pixels.dtype == np.float32
    assert pixels.max() <= 255
    assert (pixels == 77).all(axis=(1, 2, 3)).sum() == 1


def test_files_of_sixteen_bits_among_eight_are_read_as_eight_with_a_note(tmp_path: Path) -> None:
    folder = photos(tmp_path / "x")
    (folder / "a" / "deep.png").write_bytes(png16(NOISE.integers(0, 65_536, (8, 8, 3))))
    splits = opened(folder, tmp_path)
    assert all_pixels(splits).dtype == np.uint8
    assert splits.image is not None
    assert splits.image.value_range == "uint8"
    (note,) = splits.notes
    path = folder / "a" / "deep.png"
    assert note == (
        f"1 of 9 image files have more than 8 bits, such as {path}; the upper 8 of 16 bits are used, since the other files"
        " have 8"
    )


def test_files_of_twelve_bits_among_eight_are_refused_with_a_remedy(tmp_path: Path) -> None:
    folder = photos(tmp_path / "x")
    Image.fromarray(np.full((8, 8), 4000, "uint16")).save(folder / "a" / "deep.png")
    with pytest.raises(DataError) as caught:
        opened(folder, tmp_path)
    message = str(caught.value)
    assert message.startswith(
        f"1 of 9 image files have more than 8 bits, such as {folder / 'a' / 'deep.png'}, with values from 4,000"
    )
    assert "others have 8 bits, such as " in message
    assert "set data.image.value_range, such as [0, 4095]" in message


def test_flat_images_frames_and_unreadable_orientations_are_counted_and_named(tmp_path: Path) -> None:
    folder = photos(tmp_path / "x")
    for number in range(3):
        alpha = NOISE.integers(0, 255, (8, 8, 1), dtype="uint8")
        Image.fromarray(np.concatenate([np.full((8, 8, 3), 255, "uint8"), alpha], 2)).save(folder / "b" / f"icon{number}.png")
    frames = [Image.fromarray(NOISE.integers(0, 255, (8, 8), dtype="uint8")) for _ in range(2)]
    frames[0].save(folder / "b" / "film.gif", save_all=True, append_images=frames[1:])
    (folder / "b" / "odd.jpg").write_bytes(
        jpeg(NOISE.integers(0, 255, (8, 8), dtype="uint8"), useless_exif()["an orientation 9"])
    )
    notes = opened(folder, tmp_path).notes
    assert len(notes) == 3
    assert notes[0].startswith(f"3 images have a single colour once decoded, such as {folder / 'b' / 'icon'}")
    assert "3 have transparent pixels, whose background is set by data.image.background" in notes[0]
    assert notes[1].endswith(
        f"file has several frames or pages, of which the first is used, such as {folder / 'b' / 'film.gif'}"
    )
    assert notes[2] == f"the EXIF orientation of 1 image cannot be read and was ignored, such as {folder / 'b' / 'odd.jpg'}"
    assert list(opened(folder, tmp_path, background="black").notes) == list(notes[1:])


def test_blank_images_in_arrays_are_counted(tmp_path: Path) -> None:
    x = NOISE.integers(0, 255, (40, 8, 8, 3), dtype="uint8")
    x[::4] = 7
    np.savez(tmp_path / "images.npz", x=x, y=np.arange(40) % 2)
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "version: 1\nname: x\ntask: classification\ndata: {source: {kind: npz, path: images.npz, features: x, target: y}}\n"
        "model: {kind: cnn, layers: [flatten]}\n"
    )
    splits = open_splits(load(spec).experiment)
    assert splits.notes[0].startswith("10 images have a single colour once decoded, such as train/")
    assert splits.describe()["flat_images"] | {"some": []} == {"images": 10, "of": 40, "some": [], "background": ""}


def test_blank_images_are_neither_copies_nor_contradictions(tmp_path: Path) -> None:
    folder = photos(tmp_path / "x")
    for name in ("a", "b"):
        for number in range(6):
            Image.new("RGB", (8, 8), "white").save(folder / name / f"blank{number}.png")
    facts = leak_facts(opened(folder, tmp_path))
    assert facts["contradictions"]["examples"] == 0
    assert [part["examples"] for part in facts["duplicates"].values()] == [0, 0]


def test_truncated_jpegs_stop_a_training_or_are_skipped(tmp_path: Path) -> None:
    folder = photos(tmp_path / "x")
    half_jpeg(folder / "a" / "half.jpg")
    with pytest.raises(DataError) as caught:
        opened(folder, tmp_path)
    assert "1 of 9 images cannot be read" in str(caught.value)
    assert f"{folder / 'a' / 'half.jpg'}: truncated JPEG" in str(caught.value)
    spec = tmp_path / "spec.yaml"
    spec.write_text(spec.read_text().replace("on_error: stop", "on_error: skip\n  skip_budget: 0.5"))
    splits = open_splits(load(str(spec)).experiment)
    assert [message.split(": ")[0] for message in splits.skipped] == [str(folder / "a" / "half.jpg")]


def test_runs_of_earlier_versions_read_sixteen_bits_as_before(tmp_path: Path) -> None:
    splits = opened(photos(tmp_path / "x", bits=16, most=4095), tmp_path)
    experiment = load_resolved(tmp_path / "spec.yaml")
    assert experiment.data.image.value_range == "uint8"
    again = open_splits(experiment, split={name: split for split, examples in splits.by_name.items() for name in examples.ids})
    assert set(np.unique(all_pixels(again))) <= set(range(17))


@pytest.mark.parametrize(("bits", "most", "kind"), [(8, 255, np.uint8), (16, 4095, np.float32)])
def test_images_read_from_files_equal_images_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, most: int, kind: Any
) -> None:
    folder = photos(tmp_path / "x", bits=bits, most=most)
    in_memory = opened(folder, tmp_path)
    monkeypatch.setattr("dlcli.data.memory_limit.MEMORY_SHARE", 0)
    streamed = opened(folder, tmp_path)
    assert isinstance(streamed.train.inputs, ImageFiles)
    assert all_pixels(streamed).dtype == kind
    assert np.array_equal(all_pixels(streamed), all_pixels(in_memory))
    assert streamed.notes == in_memory.notes
    assert streamed.fingerprint == in_memory.fingerprint
