"""The examples of docs/python.md run, and importing `dlcli` loads nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, environment

import dlcli

PAGE = REPOSITORY / "docs" / "python.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.usefixtures("without_pictures")
def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLES) >= 9
    names: dict[str, object] = {"__name__": "page"}
    for example in EXAMPLES:
        exec(compile(example, str(PAGE), "exec"), names)
        for printed in re.findall(r"print\(.*\)  # (.+)", example):
            assert capsys.readouterr().out == f"{printed}\n"


def test_importing_it_loads_no_other_package() -> None:
    code = (
        "import sys; before = set(sys.modules); import dlcli; dir(dlcli);"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dlcli"]


def test_every_public_name_exists() -> None:
    assert all(hasattr(dlcli, name) for name in dlcli.__all__)
    with pytest.raises(AttributeError, match="module 'dlcli' has no attribute 'trian'"):
        dlcli.trian  # noqa: B018


def test_loading_a_spec_starts_no_tensorflow() -> None:
    code = "import sys, dlcli; dlcli.load('configs/digits_mlp.yaml'); print({'tensorflow', 'numpy'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
