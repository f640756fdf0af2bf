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


def test_clusters_are_printed_as_a_table_or_as_json(dlcli: Dlcli, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.replace("circles", "gaussians"))
    assert dlcli("train", "spec.yaml", "-q").returncode == 0
    line = ("explain", "gaussians", "--method", "clusters", "--split", "train")
    done = dlcli(*line, "--cluster-method", "mean_shift", "--projection", "ica", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["clusters"] == json.loads((Path(told["folder"]) / "clusters.json").read_text())
    assert (told["clusters"]["method"], told["clusters"]["projection"]) == ("mean_shift", "ica")
    printed = dlcli(*line, "--clusters", "3")
    assert printed.returncode == 0, printed.stderr
    assert "most frequent label" in printed.stdout
    assert "3 clusters by k-means (as set by --clusters); 42 examples" in printed.stdout
    refused = dlcli("explain", "gaussians", "--clusters", "3")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--clusters, --cluster-method and --projection need --method clusters" in refused.stderr
