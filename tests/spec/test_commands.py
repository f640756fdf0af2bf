"""The commands about specs, as a user runs them: check, list, schema, init."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dlcli.cli.app import app
from dlcli.spec.load import load
from spec.test_light import HEAVY
from spec.test_wrong_specs import CASES, GOOD, folder  # noqa: F401  (a fixture)

SOURCE = Path(__file__).parents[2] / "src"


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dlcli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), **environment},
    )


def _invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), prog_name="dlcli")


def test_check_tells_every_wrong_spec_in_one_process_without_traceback_or_tensorflow(folder: Path) -> None:  # noqa: F811
    for name, (text, _) in CASES.items():
        (folder / f"{name}.yaml").write_text(text)
    done = _run("check", ".", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    loaded = {
        line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if line.startswith("import time:")
    }
    assert "dlcli" in loaded
    assert not HEAVY & loaded
    assert lines[0].startswith(f"{len(CASES)} of {len(CASES)} specs are invalid, ")
    told = "\n".join(lines).replace(str(folder), "<folder>")
    for name, (_, expected) in CASES.items():
        assert expected.replace("spec.yaml:", f"{name}.yaml:") in told, name


def test_check_of_good_specs_prints_results_alone(folder: Path) -> None:  # noqa: F811
    (folder / "a.yaml").write_text(GOOD)
    (folder / "deeper").mkdir()
    (folder / "deeper" / "b.yml").write_text(GOOD)
    done = _run("check", ".")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "a.yaml: valid (classification, cnn)",
        "deeper/b.yml: valid (classification, cnn)",
        "all 2 specs are valid",
    ]


def test_check_as_json_gives_every_fault_with_its_place(folder: Path) -> None:  # noqa: F811
    (folder / "a.yaml").write_text(GOOD)
    (folder / "b.yaml").write_text(GOOD.replace("seed: 1", "sed: 1"))
    result = _invoke("check", ".", "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert found["specs"] == [{"file": "a.yaml", "name": "tiny", "task": "classification", "model": "cnn", "notes": []}]
    (fault,) = found["faults"]
    assert (fault["file"], fault["line"], fault["column"], fault["key"]) == ("b.yaml", 4, 1, "sed")


def test_check_with_a_wrong_override_tells_it_once(folder: Path) -> None:  # noqa: F811
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text(GOOD)
    result = _invoke("check", "a.yaml", "b.yaml", "--set", "training.epochs=x")
    assert result.exit_code == 2
    assert result.stderr.count("expected an integer") == 1


def test_check_of_an_empty_folder_says_so(tmp_path: Path) -> None:
    result = _invoke("check", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr.strip() == f"{tmp_path}: there is no .yaml or .yml file in this folder"


def test_list_names_every_topic_and_every_kind() -> None:
    for topic in [line.split()[0] for line in _invoke("list").stdout.splitlines() if not line.startswith(" ")]:
        rows = json.loads(_invoke("list", topic, "--json").stdout)["entries"]
        assert rows
        assert all(row["name"] and row["meaning"] for row in rows)
        printed = _invoke("list", topic).stdout
        assert all(row["name"] in printed for row in rows)


def test_list_of_an_unknown_topic_suggests_the_nearest() -> None:
    result = _invoke("list", "layer")
    assert result.exit_code == 2
    assert "did you mean `layers`?" in result.stderr


def test_schema_prints_json_or_markdown() -> None:
    assert json.loads(_invoke("schema").stdout)["$defs"]["Dense"]
    assert "### `dense`" in _invoke("schema", "--markdown").stdout


DATA = ["digits", "iris", "breast_cancer", "diabetes", "library_messages", "spiral", "plane", "mnist"]


@pytest.mark.parametrize("data", DATA)
def test_init_writes_a_spec_that_check_accepts(folder: Path, data: str) -> None:  # noqa: F811
    (folder / "specs").mkdir()
    result = _invoke("init", "specs/mine.yaml", "--data", data)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "specs/mine.yaml\n"
    assert load("specs/mine.yaml").experiment.name == "mine"
    assert (folder / "specs" / "mine.yaml").read_text().startswith("# mine:")


@pytest.mark.parametrize("data", [data for data in DATA if data not in ("diabetes", "plane", "library_messages")])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_init_takes_task_model_and_name(folder: Path, data: str, model: str) -> None:  # noqa: F811
    images = data in ("digits", "mnist")
    result = _invoke("init", "--data", data, "--task", "classification", "--model", model, "--name", "own")
    assert result.exit_code == (0 if images or model == "mlp" else 2), result.stderr
    if result.exit_code == 0:
        experiment = load("own.yaml").experiment
        assert (experiment.name, experiment.task.name, experiment.model.kind) == ("own", "classification", model)
    else:
        assert "needs images" in result.stderr


def test_init_never_overwrites(folder: Path) -> None:  # noqa: F811
    (folder / "mine.yaml").write_text("precious")
    for options in (("--data", "digits"), ("--from", "digits_cnn")):
        result = _invoke("init", "mine.yaml", *options)
        assert result.exit_code == 2
        assert result.stderr.strip() == "mine.yaml exists; give another file name"
    assert (folder / "mine.yaml").read_text() == "precious"


def test_init_refuses_answers_that_do_not_go_together_and_writes_nothing(folder: Path) -> None:  # noqa: F811
    result = _invoke("init", "mine.yaml", "--data", "diabetes", "--task", "binary")
    assert result.exit_code == 2
    assert "--task: binary does not fit diabetes: regression does" in result.stderr
    assert not (folder / "mine.yaml").exists()


def test_init_copies_a_shipped_spec_under_another_name(folder: Path) -> None:  # noqa: F811
    result = _invoke("init", "--from", "digits_cnn", "--name", "mine")
    assert result.exit_code == 0, result.stderr
    assert load("mine.yaml").experiment.name == "mine"
    assert "did you mean `digits_cnn`?" in _invoke("init", "--from", "digit_cnn").stderr


def test_init_without_a_terminal_says_what_to_give(folder: Path) -> None:  # noqa: F811
    done = _run("init")
    assert done.returncode == 2
    assert done.stderr.strip() == "set --data, e.g. --data digits, or run this in a terminal to be asked"


def test_init_asks_in_a_terminal(folder: Path) -> None:  # noqa: F811
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", "dlcli", "init"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        os.write(ours, b"spiral\n\n\nmy_spiral\n")
        stdout, stderr = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, stdout) == (0, "my_spiral.yaml\n"), stderr
    assert load("my_spiral.yaml").experiment.task.name == "binary"


def test_names_complete_in_the_shell() -> None:
    from dlcli.cli import specs

    assert specs._complete_topic("lo") == ["losses"]
    assert specs._complete_shipped("digits_c") == ["digits_cnn"]
    assert specs._complete_task("bi") == ["binary"]


def test_the_wheel_holds_the_shipped_specs(tmp_path: Path) -> None:
    """`pip install .` copies what `src/dlcli/shipped` links to."""
    import shutil
    import zipfile

    repository = SOURCE.parent
    copy = tmp_path / "checkout"
    shutil.copytree(repository / "src", copy / "src", symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(repository / "configs", copy / "configs")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (repository / name).exists():
            shutil.copy(repository / name, copy)
        else:
            (copy / name).write_text("")
    build = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = {name.rsplit("/", 1)[-1] for name in zipfile.ZipFile(wheel).namelist() if name.startswith("dlcli/shipped/")}
    assert held == {path.name for path in (repository / "configs").glob("*.yaml")}
