"""A run's bits depend on the number of threads: it is recorded, and a resumed run computes with as many."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import run_process, start_process
from trainings import CIRCLES, write_spec

from cli.killing import assert_same_bits, only_run
from dlcli.runs import RunFolder
from dlcli.runs.environment import rounding_differences

pytestmark = pytest.mark.usefixtures("without_pictures")

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
MODEL = "{kind: mlp, units: [64, 64], dropout: 0.2}"


PINNED = "import os, sys; os.sched_setaffinity(0, map(int, sys.argv.pop(1).split(',')));"
"""Limits a process to some cores before TensorFlow starts its threads, as `taskset` does."""
TRAIN = PINNED + " from dlcli.__main__ import main; main()"
EVALUATE = (
    PINNED + " from pathlib import Path; from dlcli.runs import RunFolder; from dlcli.runtime.threads import threads;"
    " from dlcli.score.evaluate import evaluate;"
    " evaluate(RunFolder(Path(sys.argv[1])), 'validation'); print(threads()['intra_op'])"
)


def _on(cores: list[int], program: str, *arguments: str | Path) -> list[str]:
    """Returns the command line of a program that may use only these cores."""
    return [sys.executable, "-c", program, ",".join(map(str, cores)), *map(str, arguments)]


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores whose use can be limited")
def test_a_run_resumed_on_fewer_cores_computes_with_the_threads_that_it_began_with(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, CIRCLES, model=MODEL, data="batch_size: 64", training="epochs: 40")
    for runs in ("whole", "left"):
        process = start_process(_on(CORES[:2], TRAIN, "train", spec, "--quiet", "--runs", runs), cwd=tmp_path)
        if runs == "left":
            while not list((tmp_path / runs).glob("[!.]*/[!.]*/history.csv")):
                time.sleep(0.02)
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
        assert process.wait(120) == (75 if runs == "left" else 0)
    whole, left = only_run(tmp_path / "whole"), only_run(tmp_path / "left")
    assert left.environment()["threads"]["intra_op"] == 2
    assert left.environment()["affinity"] == CORES[:2]
    resumed = run_process(_on(CORES[:1], TRAIN, "train", "--resume", left.path), cwd=tmp_path)
    assert "threads: 2, as at the start of the run (1 core is available now)" in resumed.stderr
    assert left.environment()["resumed"][0]["threads"]["intra_op"] == 2
    assert left.environment()["resumed"][0]["affinity"] == CORES[:1]
    assert_same_bits(whole, RunFolder(left.path))
    assert run_process(_on(CORES[:1], EVALUATE, left.path), cwd=tmp_path).stdout.split() == ["2"]


def _environment(**changes: object) -> dict[str, object]:
    first: dict[str, object] = {
        "determinism": "exact",
        "device": {"kind": "cpu", "name": "2 cores"},
        "processor": "A",
        "threads": {"intra_op": 2, "inter_op": 2},
        "packages": {"tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.0"},
        "variables": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    }
    return first | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"threads": {"intra_op": 1, "inter_op": 1}}, ["1 thread in place of 2"]),
        ({"processor": "B"}, ["the processor B in place of A"]),
        ({"device": {"kind": "gpu", "name": "G"}}, ["GPU (G) in place of CPU (2 cores)"]),
        ({"device": {"kind": "cpu", "name": "1 cores"}}, []),
        ({"variables": {"TF_ENABLE_ONEDNN_OPTS": "0"}}, ["TF_ENABLE_ONEDNN_OPTS=0 in place of 1"]),
        (
            {"packages": {"tensorflow": "2.22.0", "keras": "3.15.1", "numpy": "2.4.0"}},
            ["tensorflow 2.22.0 in place of 2.21.0"],
        ),
    ],
)
def test_what_changes_the_last_bits_is_named(changes: dict[str, object], words: list[str]) -> None:
    assert rounding_differences(_environment(), _environment(**changes)) == words


def test_of_a_run_that_recorded_no_threads_its_cores_are_compared() -> None:
    earlier = {name: value for name, value in _environment().items() if name not in ("threads", "processor", "variables")}
    assert rounding_differences(earlier, _environment()) == []
    assert rounding_differences(earlier, _environment(threads={"intra_op": 8})) == ["8 threads in place of 2"]
    assert rounding_differences(earlier | {"determinism": "seeded"}, _environment(threads={"intra_op": 8})) == []
