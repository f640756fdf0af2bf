"""What is installed: the wheel, the locks, the container's steps."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import dlcli

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["requirements.lock", "requirements-gpu.lock", "requirements-dev.lock"]
PYTHONS = ["3.11", "3.12", "3.13"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel, built from a copy of the checkout without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    copied = folder / "checkout"
    copied.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copied)
    for name in ("src", "configs"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, copied / name, symlinks=True, ignore=ignored)
    code = "import sys, setuptools.build_meta as backend; backend.build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=copied, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "installed")
    return folder / "installed"


def run_installed(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs dlcli from the wheel's content alone, in a folder where no checkout is near."""
    code = f"import dlcli, sys; assert dlcli.__file__.startswith({str(installed)!r}); from dlcli.__main__ import main; main()"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=installed.parent, env=environment, capture_output=True, text=True)


def test_the_wheel_holds_every_module_and_every_shipped_spec(installed: Path) -> None:
    modules = {path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*.py")}
    specs = {Path("dlcli/shipped") / path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml")}
    assert specs
    held = {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
    assert modules | specs | {Path("dlcli/py.typed")} <= held
    assert {path.parts[0] for path in held} == {"dlcli", f"dlcli_keras-{dlcli.__version__}.dist-info"}


def test_the_wheel_gives_the_command_and_carries_the_licence(installed: Path) -> None:
    info = installed / f"dlcli_keras-{dlcli.__version__}.dist-info"
    assert "dlcli = dlcli.__main__:main" in (info / "entry_points.txt").read_text()
    assert (info / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_installed_dlcli_starts(installed: Path) -> None:
    assert run_installed(installed, "--version").stdout == f"dlcli {dlcli.__version__}\n"


def test_installed_dlcli_lists_and_copies_the_shipped_specs(installed: Path) -> None:
    listed = run_installed(installed, "list", "specs")
    assert "digits_cnn" in listed.stdout, listed.stderr
    copied = run_installed(installed, "init", "--from", "digits_cnn", "mine.yaml")
    assert copied.returncode == 0, copied.stderr
    assert run_installed(installed, "check", "mine.yaml").returncode == 0


def test_the_versions_of_project_and_package_agree() -> None:
    assert PROJECT["project"]["version"] == dlcli.__version__


def test_python_versions_agree_everywhere() -> None:
    from dlcli.runtime.machine import PYTHONS as SUPPORTED

    (low, high) = SUPPORTED
    assert PROJECT["project"]["requires-python"] == f">={low[0]}.{low[1]},<{high[0]}.{high[1]}"
    for name in ("environment.sh", "set_up.py"):
        assert f"{low} <= sys.version_info[:2] < {high}" in (ROOT / "scripts" / name).read_text()


def pins(lock: str) -> dict[str, list[tuple[str, Marker | None]]]:
    """Returns the versions of every package of a lock, each with the condition under which it counts."""
    found: dict[str, list[tuple[str, Marker | None]]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if line and line[0] not in " #":
            requirement = Requirement(line.removesuffix(" \\"))
            (version,) = requirement.specifier
            found.setdefault(requirement.name, []).append((version.version, requirement.marker))
    return found


def wanted(lock: str) -> list[Requirement]:
    lines = list(PROJECT["project"]["dependencies"])
    lines += PROJECT["project"]["optional-dependencies"]["gpu"] if "gpu" in lock else []
    lines += PROJECT["dependency-groups"]["dev"] if "dev" in lock else []
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_every_requirement_once_and_in_range(lock: str, python: str) -> None:
    pinned = pins(lock)
    place = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    for requirement in wanted(lock):
        found = [version for version, marker in pinned.get(requirement.name, []) if not marker or marker.evaluate(place)]
        assert len(found) == 1, f"{requirement.name} on Python {python}: {found}; scripts/lock"
        assert found[0] in SpecifierSet(str(requirement.specifier), prereleases=True), f"{requirement}; scripts/lock"


@pytest.mark.parametrize("lock", LOCKS[1:])
def test_lock_agrees_with_the_first(lock: str) -> None:
    first, other = pins(LOCKS[0]), pins(lock)
    assert {name: other.get(name) for name in first} == first


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_a_hash_for_every_package_and_names_no_server(lock: str) -> None:
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text.strip(), flags=re.IGNORECASE)
    assert len(entries) > 50
    assert [entry.split("\n")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text


def test_every_installed_package_takes_this_python() -> None:
    """uv installs a package whose Requires-Python ends below this Python; pip, which others set up with, refuses it."""
    bounds = {found.name: found.metadata.get("Requires-Python") or "" for found in importlib.metadata.distributions()}
    assert len(bounds) > 50
    assert [name for name, bound in bounds.items() if platform.python_version() not in SpecifierSet(bound)] == []


def docker_steps() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docker_steps", ROOT / "scripts" / "docker_steps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docker_steps"] = module
    spec.loader.exec_module(module)
    return module


def test_every_file_the_container_copies_is_in_its_context() -> None:
    module = docker_steps()
    steps = module.steps((ROOT / "Dockerfile").read_text())
    sources = [path for name, arguments in steps if name == "COPY" for path in module.copies(arguments)[0]]
    assert {path.name for path in sources} >= {"requirements.lock", "requirements-gpu.lock", "pyproject.toml", "src", "configs"}


def test_the_containers_commands_are_valid_shell_and_run_as_no_root() -> None:
    steps = docker_steps().steps((ROOT / "Dockerfile").read_text())
    for name, arguments in steps:
        if name == "RUN":
            assert subprocess.run(["sh", "-n"], input=arguments, text=True).returncode == 0, arguments
    assert ("USER", "dlcli") in steps
    assert ("ENTRYPOINT", '["dlcli"]') in steps


def test_the_container_refuses_an_unknown_variant() -> None:
    steps = docker_steps().steps((ROOT / "Dockerfile").read_text())
    (install,) = [arguments for name, arguments in steps if name == "RUN" and "VARIANT" in arguments]
    done = subprocess.run(["sh", "-ec", install], env=os.environ | {"VARIANT": "tpu"}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "VARIANT must be gpu or cpu, not 'tpu'\n")
