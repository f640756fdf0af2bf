"""Runs in processes of their own that are killed at random instants, and what of two runs must be the same bits."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from conftest import command, start_process

from dlcli.runs import RunFolder
from dlcli.runs.checkpoints import checkpoint_files

CLOCKS = ("seconds", "examples_per_second")
PATIENCE = 120.0


def started(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Starts `dlcli` in a process of its own; its output goes to `output.txt`."""
    with (cwd / "output.txt").open("a", encoding="utf-8") as output:
        return start_process(command(*arguments), stdout=output, stderr=output, cwd=cwd)


def only_run(folder: Path) -> RunFolder:
    """Returns the one run below a runs folder."""
    (path,) = folder.glob("[!.]*/[!.]*/status.json")
    return RunFolder(path.parent)


def lines_of(run: RunFolder) -> list[str]:
    """Returns the lines of a run's log."""
    path = run.path / "log.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def wait_for(what: Any, process: subprocess.Popen[str], patience: float = PATIENCE) -> bool:
    """Waits so many seconds until `what` gives something true; False if the process ended first."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if what():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    raise AssertionError("nothing happened")


def train_with_kills(spec: Path, runs: Path, kills: int, draw: random.Random) -> tuple[RunFolder, list[str]]:
    """Trains a spec to its end though its process is killed so many times; returns the run and the last words before each kill.

    Every third kill comes while a checkpoint is being written, the others some checkpoints and milliseconds later.
    """
    words: list[str] = []
    process = started("train", spec, "--quiet", "--runs", runs, cwd=spec.parent)
    assert wait_for(lambda: list(runs.glob("[!.]*/[!.]*/log.txt")), process)
    run = only_run(runs)
    seen = 0
    while len(words) < kills and _killed(process, run, seen, draw, while_writing=len(words) % 3 == 2):
        seen = len(lines_of(run))
        words.append(lines_of(run)[-1][30:])
        process = started("train", "--resume", run.path, "--quiet", cwd=spec.parent)
    assert process.wait(PATIENCE) == 0, (spec.parent / "output.txt").read_text(encoding="utf-8")
    return run, words


def _killed(process: subprocess.Popen[str], run: RunFolder, seen: int, draw: random.Random, *, while_writing: bool) -> bool:
    """Kills the process at a random instant of its training; False if it ended before."""
    wanted = draw.randint(1, 6)

    def trains() -> bool:
        return sum(" checkpoint " in line for line in lines_of(run)[seen:]) >= wanted

    def writes() -> bool:
        return any(run.checkpoints_path.glob(".new.*"))

    if not wait_for(trains, process):
        return False
    if while_writing:
        wait_for(writes, process)
    else:
        time.sleep(draw.uniform(0, 0.3))
    alive = process.poll() is None
    process.kill()
    process.wait(PATIENCE)
    return alive and process.returncode == -signal.SIGKILL


def bits_of(run: RunFolder, *, scored: bool = True) -> dict[str, Any]:
    """Returns all that an interrupted and an untouched run have in common, to the bit; clocks are left out.

    `scored`: whether the run's kind of model has scores.
    """
    with (run.path / "history.csv").open(encoding="utf-8") as file:
        history = [{name: value for name, value in row.items() if name not in CLOCKS} for row in csv.DictReader(file)]
    return {
        **(_scores(run) if scored else {}),
        "history": history,
        "model": _weights(run),
        "last state": _last_state(run),
        "stages": run.stages(),
        "best": (run.status().best_epoch, run.status().best_value, run.status().best_stage, run.status().reason),
        "steps": run.status().step,
    }


def _scores(run: RunFolder) -> dict[str, Any]:
    evaluation = run.evaluation(run.scored_splits()[0])
    return {
        "scores": json.loads((evaluation / "metrics.json").read_text(encoding="utf-8")),
        "tables": {path.name: path.read_text(encoding="utf-8") for path in evaluation.glob("*.csv")},
    }


def _weights(run: RunFolder) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(run.model_path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(lambda name, item: found.update({name: np.asarray(item).tobytes()}) if hasattr(item, "shape") else None)
    return found


def _last_state(run: RunFolder) -> dict[str, bytes]:
    """Returns weights, statistics, random counters and the optimizer's state after the last step."""
    with np.load(checkpoint_files(run.checkpoints_path)[0], allow_pickle=False) as file:
        return {name: file[name].tobytes() for name in file.files if name != "text"}


def assert_same_bits(one: RunFolder, other: RunFolder, *, scored: bool = True) -> None:
    """Compares two runs and names what differs; `scored`: whether their kind of model has scores."""
    first, second = bits_of(one, scored=scored), bits_of(other, scored=scored)
    assert [name for name in first if first[name] != second[name]] == [], os.fspath(other.path)
