"""A working folder that holds files called like modules: none is imported, by dlcli or by a process that it starts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, Dlcli, environment

from dlcli.runtime.python import python_command, python_environment

NAMES = ("json", "random", "keras", "tensorflow", "numpy", "socket", "selectors", "mlflow", "typing_extensions")
SPEC = """\
version: 1
name: small
task: classification
data: {source: {kind: builtin, name: iris}}
model: {kind: mlp, units: [4]}
training: {epochs: 1, optimizer: adam}
"""
FORKS = """
import sys
from dlcli.runtime.python import fork_server_context

def modules(told):
    import json, random, socket
    told.send([module.__file__ for module in (json, random, socket)])

def main():
    context = fork_server_context()
    context.set_forkserver_preload(["random"])
    ours, theirs = context.Pipe()
    process = context.Process(target=modules, args=(theirs,))
    process.start()
    print(ours.recv())
    process.join()

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A working folder whose modules leave a file `imported_...` when they are imported."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / f'imported_{name}')!r}, 'w').close()\n")
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


def sprung(trap: Path) -> list[str]:
    return sorted(path.name for path in trap.glob("imported_*"))


def test_the_trap_works(trap: Path) -> None:
    subprocess.run([sys.executable, "-c", "import random"], cwd=trap, env=environment(), check=True)
    assert sprung(trap) == ["imported_random"]


@pytest.mark.parametrize("paths", ["{src}", ":{src}", "{src}:"])
def test_dlcli_imports_nothing_of_the_working_folder(trap: Path, dlcli: Dlcli, paths: str) -> None:
    done = dlcli("check", "spec.yaml", PYTHONPATH=paths.format(src=REPOSITORY / "src"))
    assert (done.returncode, sprung(trap)) == (0, []), done.stderr


def test_a_python_process_and_its_own_import_nothing_of_the_working_folder(trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f":{REPOSITORY / 'src'}:.")
    own = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import json, random, keras, dlcli'], check=True)"
    for code in ("import json, random, dlcli", own):
        subprocess.run(python_command("-c", code), cwd=trap, env=python_environment(), check=True)
    assert sprung(trap) == []


def test_a_forked_process_imports_nothing_of_the_working_folder(trap: Path) -> None:
    script = trap / "below" / "forks.py"
    script.parent.mkdir()
    script.write_text(FORKS)
    done = subprocess.run([sys.executable, script], cwd=trap, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, sprung(trap)) == (0, []), done.stderr
    assert str(trap) not in done.stdout


def test_python_is_started_by_one_helper_alone() -> None:
    starts = re.compile(r"sys\.executable|get_context\(|multiprocessing\.Process\(")
    places = {
        path.relative_to(REPOSITORY / "src/dlcli").as_posix()
        for path in (REPOSITORY / "src").rglob("*.py")
        if starts.search(path.read_text(encoding="utf-8"))
    }
    words_only = {"program.py", "runtime/machine.py"}  # they print commands
    assert places == {"runtime/python.py", *words_only}


@pytest.mark.slow
def test_each_kind_of_process_imports_nothing_of_the_working_folder(trap: Path, dlcli: Dlcli) -> None:
    """A tracker and an export's reader, a batch's runs, sizes that are tried, and local workers."""
    pytest.importorskip("mlflow")
    tracked = ["--set", "training.callbacks=[mlflow]"]
    commands = [
        ["train", "spec.yaml", *tracked],
        ["export", "small", "--format", "keras"],
        ["batch", "spec.yaml", "--seeds", "2"],
        ["batch-find", "spec.yaml", "--seconds", "0.1"],
        ["train", "spec.yaml", "--local-workers", "2", "--set", "hardware.strategy=multi_worker"],
    ]
    for arguments in commands:
        done = dlcli(*arguments, timeout=300)
        assert (done.returncode, sprung(trap)) == (0, []), f"{arguments}: {done.stdout}{done.stderr}"
