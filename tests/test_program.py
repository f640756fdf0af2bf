"""What dlcli calls itself: the command as it was typed, and the line that installs an extra of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import REPOSITORY, environment

from dlcli import program


@pytest.mark.parametrize(
    ("script", "words", "expected"),
    [
        ("/x/dlcli/__main__.py", ["python", "-m", "dlcli", "train", "-m"], "python -m dlcli"),
        ("/x/dlcli/__main__.py", ["/my env/python3", "-P", "-m", "dlcli"], "'/my env/python3' -P -m dlcli"),
        ("/x/dlcli/__main__.py", ["python", "-Pmdlcli", "check"], "python -Pmdlcli"),
        ("/x/pytest/__main__.py", ["python", "-m", "pytest"], "dlcli"),
        ("my env/bin/dlcli", ["python", "my env/bin/dlcli"], "'my env/bin/dlcli'"),
        ("/usr/bin/pytest", ["python", "/usr/bin/pytest"], "dlcli"),
    ],
)
def test_the_command_is_the_one_that_was_typed(script: str, words: list[str], expected: str) -> None:
    assert program._typed(script, words) == expected


def test_a_command_on_the_path_is_its_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "dlcli"
    script.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program._typed(str(script), ["python", str(script)]) == "dlcli"


def test_messages_of_a_process_name_the_command(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "dlcli", "init", "--data", "iris"]
    variables = {name: value for name, value in environment().items() if name != "DLCLI_COMMAND"}
    done = subprocess.run(line, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True)
    assert f"next: {sys.executable} -m dlcli check iris_mlp.yaml" in done.stderr
    done = subprocess.run(
        [*line[:3], "chekc"], env=variables | {"DLCLI_COMMAND": "scripts/dlcli"}, capture_output=True, text=True
    )
    assert "Usage: scripts/dlcli" in done.stderr


def test_an_extra_is_installed_from_where_dlcli_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pip = f"{sys.executable} -m pip install"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert program.install_command("export") == f"{pip} -e '{REPOSITORY}[export]'"
    assert program.install_package_command("tensorflow[and-cuda]") == f"{pip} 'tensorflow[and-cuda]'"
    monkeypatch.setattr(program, "checkout", lambda: None)
    record: dict[str, Any] = {}
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: SimpleNamespace(read_text=lambda _: json.dumps(record)))
    assert program.install_command("export") == f"{pip} 'dlcli-keras[export]'"
    record["url"] = tmp_path.as_uri()
    assert program.install_command("export") == f"{pip} 'dlcli-keras[export] @ {tmp_path.as_uri()}'"
    record["url"] = "file:///no/such/folder"
    assert program.install_command() == f"{pip} dlcli-keras"
    record |= {"url": "https://host/dlcli.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    assert program.install_command("gpu") == f"{pip} 'dlcli-keras[gpu] @ git+https://host/dlcli.git@abc'"


def test_without_pip_an_extra_is_installed_by_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/uv")
    assert program.install_command("ray") == f"uv pip install --python {sys.executable} -e '{REPOSITORY}[ray]'"


def test_no_message_or_page_installs_by_the_name_of_another_project() -> None:
    places = [*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.md"]
    wrong = [path.name for path in places if "pip install 'dlcli[" in path.read_text(encoding="utf-8")]
    assert wrong == []
