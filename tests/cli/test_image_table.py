"""A table of images from `init` to `evaluate`, as a user works with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from trainings import bright_quarters, trained
from typer.testing import CliRunner

from dlcli.cli.app import app
from dlcli.runs import RunFolder


def dlcli(*arguments: str) -> str:
    """Returns what a command that succeeds prints."""
    done = CliRunner().invoke(app, list(arguments), prog_name="dlcli")
    assert done.exit_code == 0, done.output
    return str(done.output)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with 48 images, and tables that list them."""
    folder = tmp_path_factory.mktemp("image_table")
    (folder / "images").mkdir()
    images, quarters = bright_quarters(48, channels=3)
    lines = []
    for number, (image, quarter) in enumerate(zip(images, quarters, strict=True)):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        lines.append(
            f"{number}.png,{'top' if quarter < 2 else 'bottom'};{'left' if quarter % 2 == 0 else 'right'},{number % 3}"
        )
    (folder / "labels.csv").write_text("\n".join(["file,where,camera", *lines[:40]]) + "\n")
    (folder / "more").mkdir()
    (folder / "more" / "new.csv").write_text("\n".join(["file,where,camera", *lines[40:]]) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> RunFolder:
    """Returns a run whose spec `init` wrote."""
    spec = folder / "quarters.yaml"
    dlcli("init", str(spec), "--data", str(folder), "--target", "where", "--model", "cnn")
    layers = "model.layers=[{kind: conv2d, filters: 4, kernel_size: 3}, flatten]"
    return trained(spec, ["data.image.size=[8, 8]", "data.augment=[]", "training.epochs=2", layers])


@pytest.mark.usefixtures("without_pictures")
def test_init_finds_the_table_the_folder_and_the_separator(folder: Path, run: RunFolder) -> None:
    source = yaml.safe_load((folder / "quarters.yaml").read_text())["data"]["source"]
    expected = {"kind": "image_table", "target": "where", "image": "file", "separator": ";"}
    assert source == expected | {"path": str(folder / "labels.csv"), "folder": str(folder / "images")}
    assert run.data()["classes"] == ["bottom", "left", "right", "top"]
    assert set(run.split()) == {f"{number}.png" for number in range(40)}


@pytest.mark.usefixtures("without_pictures")
def test_evaluate_takes_another_table_and_slices_by_a_column(folder: Path, run: RunFolder) -> None:
    text = dlcli("evaluate", str(run.path), "--data", str(folder / "more" / "new.csv"), "--slice", "camera")
    assert "camera = 0" in text
    predictions = next(run.path.glob("evaluation/data-new-*/predictions.csv")).read_text()
    assert "46.png" in predictions
    assert "12.png" not in predictions


@pytest.mark.usefixtures("without_pictures")
def test_evaluate_refuses_data_whose_labels_do_not_fit_the_task(folder: Path, run: RunFolder) -> None:
    for name in ("cats", "dogs"):
        (folder / "classes" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), "uint8")).save(folder / "classes" / name / "1.png")
    done = CliRunner().invoke(app, ["evaluate", str(run.path), "--data", str(folder / "classes")], prog_name="dlcli")
    assert done.exit_code != 0
    assert "its labels do not fit `task: multilabel`" in done.output + str(done.exception)
