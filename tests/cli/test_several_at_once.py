"""Several trainings at once in one runs folder: all complete, none mixed up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Dlcli

from cli.killing import PATIENCE, assert_same_bits, started
from dlcli.runs import all_runs

pytestmark = pytest.mark.usefixtures("without_pictures")

SPEC = """
name: together
task: classification
data: {{source: {{kind: builtin, name: iris}}, batch_size: 16}}
model: {{kind: mlp, units: [{units}]}}
training: {{epochs: 4}}
"""


def _check(folder: Path, dlcli: Dlcli, count: int) -> None:
    """Starts `count` trainings of two specs of one name, with seeds of their own, and compares each with one that was alone."""
    for number in (0, 1):
        (folder / f"spec{number}.yaml").write_text(SPEC.format(units=8 + number), encoding="utf-8")
    begun = [started("train", f"spec{seed % 2}.yaml", "--quiet", "--set", f"seed={seed}", cwd=folder) for seed in range(count)]
    assert [process.wait(3 * PATIENCE) for process in begun] == [0] * count, (folder / "output.txt").read_text()
    runs = {run.experiment().seed: run for run in all_runs(folder / "runs")}
    assert sorted(runs) == list(range(count))
    listed = json.loads(dlcli("runs", "list", "--json").stdout)["runs"]
    assert [row["state"] for row in listed] == ["completed"] * count
    for seed, run in runs.items():
        assert run.experiment().model.units == [8 + seed % 2]
        assert f"seed={seed}" in (run.path / "source.yaml").read_text()
        assert len(run.history()) == 4
    alone = started("train", "spec1.yaml", "--quiet", "--set", "seed=1", "--runs", "alone", cwd=folder)
    assert alone.wait(PATIENCE) == 0
    (only,) = all_runs(folder / "alone")
    assert_same_bits(only, runs[1])


def test_three_at_once_complete_and_none_is_mixed_up(tmp_path: Path, dlcli: Dlcli) -> None:
    _check(tmp_path, dlcli, 3)


@pytest.mark.slow
def test_eight_at_once_complete_and_none_is_mixed_up(tmp_path: Path, dlcli: Dlcli) -> None:
    _check(tmp_path, dlcli, 8)
