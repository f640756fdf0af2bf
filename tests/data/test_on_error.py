"""Unreadable images stop a run before its first step or are skipped within a budget, in memory and streamed alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli.killing import assert_same_bits
from PIL import Image
from trainings import SMALL_CNN, Heard, trained, write_spec

from dlcli.data import memory_limit
from dlcli.errors import DataError
from dlcli.runs import all_runs
from dlcli.score.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec of 80 photos, of which one is truncated and one is a text file."""
    draw = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(40):
            pixels = draw.integers(level - 50, level + 50, (64, 64, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number:02}.{'png' if number % 2 else 'jpg'}")
    truncated, text_file = tmp_path / "photos" / "dark" / "04.jpg", tmp_path / "photos" / "light" / "07.png"
    truncated.write_bytes(truncated.read_bytes()[:700])
    text_file.write_text("this is no image")
    source = "{kind: folder, path: photos}"
    return write_spec(tmp_path, source, model=SMALL_CNN, data="image: {size: [12, 12]}", training="epochs: 2")


def _break_the_middle(spec: Path) -> None:
    path = spec.parent / "photos" / "light" / "11.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("share", [0.25, 0.0], ids=["in memory", "streamed"])
def test_unreadable_files_stop_the_run_before_its_first_step(spec: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setattr(memory_limit, "MEMORY_SHARE", share)
    with pytest.raises(DataError, match="2 of 80 images cannot be read") as caught:
        trained(spec)
    assert "dark/04.jpg: not readable as an image" in str(caught.value)
    assert "light/07.png: not an image of a supported type" in str(caught.value)
    assert "data.on_error: skip" in str(caught.value)
    (run,) = all_runs(spec.parent / "runs")
    assert run.status().first_step == ""


def test_skipped_files_are_counted_and_named_and_in_no_split(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _break_the_middle(spec)
    heard = Heard()
    chosen = ["data.on_error=skip", "data.skip_budget=0.05"]
    run = trained(spec, chosen, heard)
    assert any("3 of 80 images cannot be read and are skipped" in line for line in heard.lines)
    content = json.loads((run.path / "data.json").read_text())
    assert content["skipped"]["count"] == 3
    assert [fault.split(":")[0].split("photos/")[1] for fault in content["skipped"]["files"]] == [
        "dark/04.jpg",
        "light/07.png",
        "light/11.png",
    ]
    assert len(run.split()) == 77
    assert not {"dark/04.jpg", "light/07.png", "light/11.png"} & set(run.split())
    assert evaluate(run, "test").metrics["accuracy"] == run.metrics()["metrics"]["accuracy"]["value"]
    monkeypatch.setattr(memory_limit, "MEMORY_SHARE", 0.0)
    assert_same_bits(run, trained(spec, chosen))


def test_more_unreadable_files_than_the_budget_are_an_error(spec: Path) -> None:
    with pytest.raises(DataError, match=r"more than the fraction 0\.01 that data.skip_budget allows"):
        trained(spec, ["data.on_error=skip"])


def test_an_intact_file_with_bytes_after_its_end_is_read(tmp_path: Path, spec: Path) -> None:
    for name in ("dark/04.jpg", "light/07.png"):
        (tmp_path / "photos" / name).unlink()
    path = tmp_path / "photos" / "dark" / "06.jpg"
    path.write_bytes(path.read_bytes() + b"a camera's own notes")
    assert len(trained(spec).split()) == 78
