"""`dlcli predict` and `dlcli export` as a user calls them: the two streams, exit codes, what is refused before TensorFlow."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from conftest import Dlcli, command, run_process
from runs.making import make_run
from trainings import SMALL_CNN, trained, write_pngs, write_spec
from typer.testing import CliRunner, Result

from dlcli.cli import serving
from dlcli.cli.app import app
from dlcli.program import install_command
from dlcli.runs import RunFolder
from dlcli.runs.files import read_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="module")
def run(folder: Path, without_pictures: None) -> RunFolder:
    """A run on images of 8 x 8, with a class and a file of odd names."""
    names = ("a", "b [red]", "c\x1b[31m", "d")
    write_pngs(folder / "photos", each=8, names=names)
    data = "image: {size: [8, 8]}"
    return trained(write_spec(folder, "{kind: folder, path: photos}", model=SMALL_CNN, data=data, name="photos"))


def call(*arguments: str | Path, given: str = "") -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], input=given)


def test_one_json_object_a_line_and_skips_on_stderr(run: RunFolder, folder: Path) -> None:
    pictures = sorted((folder / "photos" / "c\x1b[31m").iterdir())
    (folder / "no\x1bimage.png").write_text("x")
    names = [*pictures[:2], folder / "no\x1bimage.png", "gone.png"]
    done = run_process(command("predict", run.path, "-", "--json", "--top", "2"), input="\n".join(map(str, names)))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["id"] for line in lines] == [str(path) for path in pictures[:2]]
    assert all(list(line) == ["id", "predicted", "probability", "top"] and len(line["top"]) == 2 for line in lines)
    assert "\x1b" not in done.stdout + done.stderr
    said = done.stderr.splitlines()
    assert said[0].startswith("run: ")
    assert said[1].startswith("skipped ")
    types = "JPEG, PNG, BMP, GIF, WEBP, TIFF, PPM, JPEG2000, AVIF"
    assert said[1].endswith(f"no\\x1bimage.png: not an image of a supported type ({types})")
    assert said[2:] == ["skipped gone.png: no such file", "skipped: 2"]


def test_a_table_for_people(run: RunFolder, folder: Path) -> None:
    done = call("predict", run.path, folder / "photos" / "b [red]", "--top", "2")
    assert done.exit_code == 0
    assert done.stdout.count(".png") == 8
    assert "b [red]" in done.stdout
    assert "\x1b" not in done.stdout


def test_csv_to_a_file_and_to_stdout_is_the_same(run: RunFolder, folder: Path, tmp_path: Path) -> None:
    photos = folder / "photos" / "a"
    shown = call("predict", run.path, photos, "--csv", "-")
    written = call("predict", run.path, photos, "--csv", tmp_path / "out.csv")
    assert (shown.exit_code, written.exit_code) == (0, 0)
    assert written.stdout == ""
    assert shown.stdout == (tmp_path / "out.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert rows == read_table(tmp_path / "out.csv")
    assert list(rows[0]) == ["id", "predicted", "probability", "p_a", "p_b [red]", "p_c\x1b[31m", "p_d"]


def test_nothing_that_can_be_predicted_is_a_failure_without_a_file(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    done = call("predict", run.path, tmp_path / "empty.png", "--csv", tmp_path / "out.csv")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-2:] == [
        f"skipped {tmp_path / 'empty.png'}: an empty file",
        "error: no predictions: no example could be read",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["empty.png"]


def test_wrong_command_lines_are_told_and_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "runs").id
    (tmp_path / "rows.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    wrong = {
        ("predict", run, "*.gif"): "*.gif: matches no file",
        ("predict", run, "gone.png"): "gone.png: no such file or folder",
        ("predict", run, "rows.csv", "--csv", "rows.csv"): "--csv rows.csv: the file exists and is not overwritten",
        ("predict", run, "rows.csv", "--csv", "gone/out.csv"): "--csv gone/out.csv: there is no folder gone",
        ("predict", run, "rows.csv", "--csv", "-", "--json"): "--json and --csv cannot be combined",
        ("export", run, "--format", "onnx", "--quantize", "int8"): "--quantize needs --format tflite",
        ("export", run, "--format", "onnx", "--to", "runs"): "--to runs: this folder exists",
    }
    for arguments, words in wrong.items():
        done = call(*arguments)
        assert (done.exit_code, done.stdout, done.stderr.splitlines()[-1]) == (2, "", words)
    assert (tmp_path / "rows.csv").read_text() == "a\n1\n"


def test_a_pattern_that_fits_nothing_is_told_before_tensorflow_starts(tmp_path: Path, dlcli: Dlcli) -> None:
    run = make_run(tmp_path / "runs").id
    done = dlcli("predict", run, "*.gif", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 2
    assert "| dlcli" in done.stderr.replace("|   ", "| ").replace("|  ", "| ")
    assert "tensorflow" not in done.stderr


def test_missing_packages_are_named_with_the_extra(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    for form, names in (("tflite", "ai_edge_litert"), ("onnx", "onnx, tf2onnx, onnxruntime")):
        done = call("export", run.path, "--format", form)
        assert done.exit_code == 2
        assert done.stderr.splitlines()[-1] == f"--format {form} needs {names}: {install_command('export')}"


def test_an_export_prints_how_it_agrees_and_where_it_is(run: RunFolder, folder: Path, dlcli: Dlcli) -> None:
    done = dlcli("export", "photos", "--format", "onnx", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"run: {run.path}\n"
    words, where = done.stdout.splitlines()
    assert words.startswith("accuracy ")
    assert "the run's" in words
    assert "largest difference of an output" in words
    assert where == f"written to {run.path / 'exports' / 'onnx'}"
    again = call("export", run.path, "--format", "onnx", "--json")
    figures = json.loads(again.stdout)
    assert figures["path"] == str(run.path / "exports" / "onnx")
    assert figures["agreement"]["agrees"] is True
