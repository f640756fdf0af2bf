"""The set-up scripts, run for real in a small checkout whose package builds itself without the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

BACKEND = """
import os, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    if os.path.exists("broken"):
        raise SystemExit("broken on purpose")
    name, info = "dlcli_keras-0-py3-none-any.whl", "dlcli_keras-0.dist-info/"
    files = {
        "dlcli.pth": os.path.join(os.getcwd(), "src"),
        "installed_beside.py": "",
        info + "METADATA": "Metadata-Version: 2.1\\nName: dlcli-keras\\nVersion: 0\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "entry_points.txt": "[console_scripts]\\ndlcli = dlcli:main\\n",
    }
    files[info + "RECORD"] = "".join(f"{path},,\\n" for path in [*files, info + "RECORD"])
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "dlcli-keras"
version = "0"
"""
PACKAGE = """
import sys

def main():
    print(*sys.argv[1:])
"""


def small_checkout(folder: Path) -> Path:
    """Makes a checkout with the real scripts, locks without packages, and a `dlcli` that prints its arguments."""
    (folder / "src" / "dlcli").mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "src" / "dlcli" / "__init__.py").write_text(PACKAGE)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    for name in ("requirements.lock", "requirements-gpu.lock", "requirements-dev.lock"):
        (folder / name).write_text("# nothing\n")
    return folder


def calling_environment() -> dict[str, str]:
    """Returns an environment that says nothing of another dlcli."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PIP_NO_INDEX": "1"}
    environment.pop("PYTHONPATH", None)
    return environment


def start(checkout: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [str(checkout / "scripts" / "dlcli"), *arguments]
    return subprocess.Popen(command, env=calling_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def call(checkout: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(checkout, *arguments)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def first_calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, str, str]]]:
    """A small checkout after two first calls at the same time, and what they gave."""
    checkout = small_checkout(tmp_path_factory.mktemp("scripts") / "a checkout")
    processes = [start(checkout, "first"), start(checkout, "second")]
    outputs = [process.communicate(timeout=120) for process in processes]
    return checkout, [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def test_two_first_calls_at_once_set_up_once_and_both_run(first_calls) -> None:
    _, (first, second) = first_calls
    assert first[:2] == (0, "first\n"), first[2]
    assert second[:2] == (0, "second\n"), second[2]
    assert (first[2] + second[2]).count("making .venv") == 1


def test_a_later_call_says_nothing_and_passes_arguments_as_they_are(first_calls) -> None:
    checkout, _ = first_calls
    assert call(checkout, "a b", "*") == (0, "a b *\n", "")


def test_set_up_compiles_bytecode_even_where_python_is_told_not_to(first_calls) -> None:
    checkout, _ = first_calls
    assert list((checkout / "src" / "dlcli" / "__pycache__").glob("__init__.*.pyc"))
    assert list((checkout / ".venv").glob("lib/*/site-packages/__pycache__/installed_beside.*.pyc"))


def test_a_script_is_found_through_a_link(first_calls, tmp_path: Path) -> None:
    checkout, _ = first_calls
    link = tmp_path / "dlcli"
    link.symlink_to(checkout / "scripts" / "dlcli")
    done = subprocess.run([link, "linked"], env=calling_environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "linked\n"


def test_a_set_up_that_failed_is_not_taken_for_done(first_calls) -> None:
    checkout, _ = first_calls
    (checkout / "requirements.lock").write_text("# changed\n")
    (checkout / "requirements-gpu.lock").write_text("# changed\n")
    (checkout / "broken").touch()
    code, output, errors = call(checkout, "hello")
    assert (code, output) == (1, "")
    assert errors.endswith("The packages could not be installed. The reason stands above; the next call tries again.\n")
    (checkout / "broken").unlink()
    code, output, errors = call(checkout, "hello")
    assert (code, output) == (0, "hello\n")
    assert errors.endswith("ready\n")


def test_a_copied_checkout_does_not_run_the_original(first_calls) -> None:
    checkout, _ = first_calls
    copied = checkout.parent / "copied"
    shutil.copytree(checkout, copied, symlinks=True)
    package = copied / "src" / "dlcli" / "__init__.py"
    package.write_text(PACKAGE.replace("*sys.argv[1:]", "'the copy'"))
    code, output, errors = call(copied, "hello")
    assert (code, output) == (0, "the copy\n"), errors
    assert "making .venv" in errors


def bash(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Runs the functions of environment.sh with nothing on PATH but one folder and the system's tools."""
    for tool in ("readlink", "bash", "env"):
        (path / tool).symlink_to(str(shutil.which(tool)))
    source = f'source "{ROOT}/scripts/environment.sh"; {code}'
    return subprocess.run([path / "bash", "-c", source], env={"PATH": str(path)}, capture_output=True, text=True)


def test_a_python_that_is_only_a_name_is_passed_over(tmp_path: Path) -> None:
    shim = tmp_path / "python3"
    shim.write_text("#!/usr/bin/env bash\nexit 127\n")
    shim.chmod(0o755)
    (tmp_path / "python3.12").symlink_to(sys.executable)
    assert bash("find_python", tmp_path).stdout.strip() == str(tmp_path / "python3.12")


def test_no_python_in_range_is_said_in_words(tmp_path: Path) -> None:
    done = bash("find_python", tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "dlcli needs Python 3.11, 3.12 or 3.13, and none of python3, python3.13, python3.12 and python3.11 is one.\n"
        "Install one from your system's packages or from python.org, then call this again.\n"
    )


@pytest.mark.parametrize("name", ["scripts/dlcli", "scripts/test", "scripts/check", "scripts/bench", "scripts/lock", ".ci/run"])
def test_scripts_are_executable_and_parse(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    assert subprocess.run(["bash", "-n", ROOT / name]).returncode == 0
