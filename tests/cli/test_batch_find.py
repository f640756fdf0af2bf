"""`dlcli batch-find`: sizes are tried one by one, each in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import Dlcli

from dlcli.errors import RunFailed
from dlcli.fleet import batch_find

pytestmark = pytest.mark.usefixtures("without_pictures")

SPEC = """\
name: sizes
task: classification
data: {{source: {{kind: builtin, name: iris}}}}
model: {{kind: mlp, units: [{units}]}}
"""


def write(folder: Path, units: int) -> Path:
    path = folder / "sizes.yaml"
    path.write_text(SPEC.format(units=units))
    return path


def test_sizes_double_up_to_all_examples_and_the_fastest_is_named(tmp_path: Path, dlcli: Dlcli) -> None:
    done = dlcli("batch-find", write(tmp_path, 8), "--from", "60", "--seconds", "0.2", "--json", timeout=240)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    sizes = {one["batch_size"]: one for one in found["sizes"]}
    assert list(sizes) == [60, 105], "105 are all training examples"
    assert found["largest"] == 105
    assert found["fastest"] == max(sizes, key=lambda size: sizes[size]["examples_per_second"])
    assert all(one["memory"] > 50 * 2**20 and one["examples_per_second"] > 100 for one in sizes.values())
    assert not list((tmp_path / "runs").glob("*")), "nothing is trained"


def _fail(*_arguments: Any) -> None:
    raise ValueError("a defect")


def _die(*_arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_defect_is_not_taken_for_lack_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = batch_find.Probe("", "", [], 64, 1.0, tmp_path, offline=False)
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(batch_find, "_try", _fail)
    with pytest.raises(RunFailed, match="trying batches of 64 failed: its process ended with exit code 1"):
        batch_find._tried(context, asked, None, first=True)
    size, _ = batch_find._tried(context, asked, None, first=False)  # what was measured before is still told
    assert size.reason == "its process failed with exit code 1"
    monkeypatch.setattr(batch_find, "_try", _die)
    size, _ = batch_find._tried(context, asked, None, first=False)
    assert size.reason == "its process was ended by SIGKILL, usually because of too little memory"


@pytest.mark.slow
def test_a_size_that_takes_more_memory_than_allowed_is_the_last(tmp_path: Path, dlcli: Dlcli) -> None:
    spec = write(tmp_path, 20_000_000)
    done = dlcli("batch-find", spec, "--from", "1", "--memory", "6", "--seconds", "0.2", "--json", timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "6 GB" in found["sizes"][-1]["reason"]
    assert found["largest"] < found["sizes"][-1]["batch_size"] < 105


def test_a_wrong_spec_is_told_at_once(tmp_path: Path, dlcli: Dlcli) -> None:
    done = dlcli("batch-find", write(tmp_path, -1))
    assert done.returncode == 2
    assert "model.units" in done.stderr
