"""The example program of an export reads every file like `predict`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from spec.sources.odd_images import exif, jpeg, png16
from trainings import save_images, trained, write_pngs, write_spec

from dlcli.export.export import export
from dlcli.predict.predict import prepare
from dlcli.runs import RunFolder

pytestmark = pytest.mark.usefixtures("without_pictures")
RANDOM = np.random.default_rng(5)


def write_unusual_files(folder: Path) -> list[str]:
    """Writes files with transparency, 16 bits, an orientation and unusual colours, and returns their paths."""
    folder.mkdir()
    colours = RANDOM.integers(0, 256, (12, 20, 4), dtype="uint8")
    Image.fromarray(colours).save(folder / "alpha.png")
    Image.fromarray(colours[..., :2]).save(folder / "grey and alpha.png")
    Image.fromarray(colours[..., :3]).quantize(8).save(folder / "palette.png", transparency=3)
    Image.fromarray(colours[..., :3]).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(colours[..., 0]).save(folder / "grey.gif")
    Image.fromarray(RANDOM.integers(0, 4096, (12, 20)).astype("uint16")).save(folder / "deep.png")
    Image.fromarray(RANDOM.integers(0, 65_536, (12, 20)).astype("uint16")).save(folder / "deep.tif")
    (folder / "deep transparent.png").write_bytes(png16(RANDOM.integers(0, 9, (12, 20)), transparent=(4,)))
    (folder / "deep colours.png").write_bytes(png16(RANDOM.integers(0, 4096, (12, 20, 4))))
    (folder / "turned.jpg").write_bytes(jpeg(colours[..., :3], exif((0x112, 3, 1, b"\x06\0\0\0"))))
    (folder / "large.jpg").write_bytes(jpeg(np.kron(colours[..., :3], np.ones((9, 9, 1), "uint8"))))
    return sorted(map(str, folder.iterdir()))


def run_example(
    example: Path, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, float]:
    """Runs an export's program on a file and returns each label with its score."""
    monkeypatch.setattr(sys, "argv", [str(example), file])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "image_reader", raising=False)
    capsys.readouterr()
    runpy.run_path(str(example), run_name="__main__")
    pairs = (line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines())
    return {label: float(score) for label, score in pairs}


def assert_example_agrees(
    run: RunFolder, files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export_folder = export(run, "onnx").path
    scores: dict[str, Any] = {}
    for answers in prepare(run, files).answers(pytest.fail):
        scores |= dict(zip(answers.ids, answers.scores, strict=True))
    assert len(scores) == len(files)
    for file in files:
        expected = dict(zip(run.data()["classes"], map(float, scores[file]), strict=True))
        assert run_example(export_folder / "example.py", file, monkeypatch, capsys) == pytest.approx(expected, abs=1e-5), file
    spread = np.array(list(scores.values())).std(axis=0).max()
    assert spread > 1e-4  # the answers differ between the files


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_the_example_program_agrees_on_unusual_images(
    tmp_path: Path, resize: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pngs(tmp_path / "photos", each=8, names=("a", "b", "c"))
    channels = 1 if resize == "crop" else 3
    data = f"image: {{size: [8, 10], channels: {channels}, resize: {resize}, background: [10, 200, 30]}}"
    model = "{kind: cnn, layers: [flatten]}"
    run = trained(write_spec(tmp_path, "{kind: folder, path: photos}", model=model, data=data, training="epochs: 1"))
    assert_example_agrees(run, write_unusual_files(tmp_path / "odd"), monkeypatch, capsys)


def test_the_example_program_reads_deep_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, number in ((name, number) for name in ("a", "b", "c") for number in range(8)):
        (tmp_path / "scans" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(RANDOM.integers(0, 4096, (8, 8)).astype("uint16")).save(tmp_path / "scans" / name / f"{number}.png")
    data = "image: {size: [8, 8], channels: 1}"
    source, model = "{kind: folder, path: scans}", "{kind: cnn, layers: [flatten]}"
    run = trained(write_spec(tmp_path, source, model=model, data=data, training="epochs: 1"))
    image = run.experiment().data.image
    assert image.is_deep
    assert any("more than 8 bits" in note for note in run.data()["notes"])
    assert_example_agrees(run, write_unusual_files(tmp_path / "odd"), monkeypatch, capsys)
    saved = export(run, "saved_model")
    assert saved.agreement.agrees
    assert "`image`: float32" in (saved.path / "README.md").read_text()


def test_arrays_of_images_with_a_range_are_exported_as_deep_images(tmp_path: Path) -> None:
    save_images(tmp_path / "images.npz")
    data, model = "image: {value_range: [0, 4095]}", "{kind: cnn, layers: [flatten]}"
    run = trained(write_spec(tmp_path, "{kind: npz, path: images.npz}", model=model, data=data, training="epochs: 1"))
    saved = export(run, "saved_model")
    assert saved.agreement.agrees
    assert "`image`: float32" in (saved.path / "README.md").read_text()


def test_the_example_program_for_arrays_takes_the_files_of_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x = RANDOM.normal(size=(60, 3))
    np.savez(tmp_path / "rows.npz", x=x, y=np.arange(60) % 3)
    run = trained(write_spec(tmp_path, "{kind: npz, path: rows.npz}", training="epochs: 1"))
    example = export(run, "onnx").path / "example.py"
    np.save(tmp_path / "rows.npy", x)
    answers = next(prepare(run, [str(tmp_path / "rows.npy")]).answers(pytest.fail))
    expected = dict(zip(run.data()["classes"], map(float, answers.scores[0]), strict=True))
    for name in ("rows.npy", "rows.npz"):
        assert run_example(example, str(tmp_path / name), monkeypatch, capsys) == pytest.approx(expected, abs=1e-5)


def test_files_of_a_different_depth_than_in_training_are_noted(tmp_path: Path) -> None:
    write_pngs(tmp_path / "photos", each=4, names=("a", "b"))
    data, model = "image: {size: [8, 8], channels: 1}", "{kind: cnn, layers: [flatten]}"
    run = trained(write_spec(tmp_path, "{kind: folder, path: photos}", model=model, data=data, training="epochs: 1"))
    files = write_unusual_files(tmp_path / "odd")
    (note,) = prepare(run, files).notes
    assert note.startswith(
        f"4 of 11 image files have more than 8 bits, such as {tmp_path / 'odd' / 'deep colours.png'}: of 16 bits"
    )
    assert prepare(run, [str(tmp_path / "photos")]).notes == ()
