"""Every command in a process that starts as a user's does; other tests fork their processes from one with TensorFlow loaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import command, environment, run_process
from typer.main import get_command

from dlcli.cli.app import app

SPEC = """name: tiny
task: binary
data: {source: {kind: playground, name: circles, examples: 60}, batch_size: 16}
model: {kind: mlp, units: [4]}
training: {epochs: 2, optimizer: {kind: adam}, metrics: [accuracy]}
sweep: {trials: 1, space: {training.optimizer.learning_rate: {log: [1e-3, 1e-1]}}}
"""
STARTS = {
    "baseline": (("tiny.yaml",), "logistic regression"),
    "batch": (("tiny.yaml", "--set", "seed=1", "--runs", "batch"), "1 of 1"),
    "batch-find": (("tiny.yaml", "--from", "30", "--seconds", "0.1"), "examples/s"),
    "check": (("tiny.yaml",), "valid (binary, mlp)"),
    "data": (("tiny.yaml",), "0 errors"),
    "describe": (("tiny.yaml",), "dense"),
    "doctor": ((), "TensorFlow"),
    "ensemble": (("tiny", "copy", "--name", "both"), "accuracy"),
    "evaluate": (("tiny",), "accuracy"),
    "explain": (("tiny", "--method", "boundary"), "boundary"),
    "export": (("tiny", "--format", "keras"), "written to"),
    "finetune": (("tiny", "--train", "head", "--epochs", "1"), "accuracy"),
    "init": (("new.yaml", "--from", "digits_mlp"), "new.yaml"),
    "list": (("layers",), "conv2d"),
    "lr-find": (("tiny.yaml", "--steps", "20"), "learning rate"),
    "predict": (("tiny", "points.npy", "--json"), '"probability"'),
    "report": (("tiny",), "report.html"),
    "runs": (("list",), "tiny/"),
    "schema": ((), '"$schema"'),
    "sweep": (("tiny.yaml", "--runs", "sweep"), "best"),
    "train": (("tiny.yaml", "--runs", "trained"), "accuracy"),
}


ON_ONE_CORE = {"ensemble", "evaluate", "finetune", "lr-find"}
"""Commands that are started on one core, where they need no helper process; `train` and `report` start one."""


def start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = command(*words)
    if words[0] in ON_ONE_CORE and (taskset := shutil.which("taskset")):
        line = [taskset, "--cpu-list", str(min(os.sched_getaffinity(0))), *line]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder, env=environment(), check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec, a run of it, and inputs to predict on."""
    import numpy as np

    folder = tmp_path_factory.mktemp("starts")
    (folder / "tiny.yaml").write_text(SPEC, encoding="utf-8")
    np.save(folder / "points.npy", np.zeros((2, 2), dtype="float32"))
    done = run_process(command("train", "tiny.yaml", "-q"), cwd=folder, timeout=120)
    assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "runs" / "tiny", folder / "runs" / "copy")
    return folder


def test_no_command_is_missing_here() -> None:
    assert STARTS.keys() == get_command(app).commands.keys()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", STARTS)
def test_a_command_starts_and_ends_as_it_does_for_a_user(folder: Path, name: str) -> None:
    arguments, words = STARTS[name]
    done = start(folder, name, *arguments)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    logged = [line for line in done.stderr.splitlines() if re.match(r"[IWEF]\d{4} |\d{4}-\d\d-\d\d ", line)]
    assert not logged, "TensorFlow's own log lines say nothing to a user"
