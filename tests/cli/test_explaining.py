"""`dlcli explain` in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Dlcli

SPEC = """name: circles
task: binary
data: {source: {kind: playground, name: circles, examples: 60}}
model: {kind: mlp, units: [4]}
training: {epochs: 1}
"""


def test_explain_names_the_pictures_it_made(dlcli: Dlcli, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    assert dlcli("train", "spec.yaml", "-q").returncode == 0
    done = dlcli("explain", "circles", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (made,) = told["explanations"]
    assert made["title"] == "Decision boundary with the test split"
    assert (Path(told["folder"]) / made["file"]).is_file()
    assert json.loads((Path(told["folder"]) / "explanations.json").read_text()) == told["explanations"]


def test_a_wrong_command_line_is_told_before_anything_is_loaded(dlcli: Dlcli) -> None:
    none = dlcli("explain", "nothing")
    assert (none.returncode, none.stdout) == (2, "")
    assert "nothing" in none.stderr
    method = dlcli("explain", "nothing", "--method", "lime")
    assert method.returncode == 2
    assert "grad_cam" in method.stderr
