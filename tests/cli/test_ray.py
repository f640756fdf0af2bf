"""`dlcli batch --engine ray` on real clusters of this machine: local ones, and two nodes of which one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import Dlcli, command, environment

from cli.killing import started, wait_for
from cli.test_batch import board, weights, write
from dlcli.runs import Run, all_runs

TWO_NODES = """
import sys
from ray.cluster_utils import Cluster

small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
node = cluster.add_node(**small)
print(cluster.address, node.all_processes["raylet"][0].process.pid, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@pytest.fixture
def two_nodes(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A cluster of two nodes with a core each: its address, and the process of the node that is not the head."""
    with (tmp_path / "cluster.txt").open("w") as output:
        cluster = subprocess.Popen(
            [sys.executable, "-c", TWO_NODES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env=environment(**QUIET),
        )
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    address, pid = cluster.stdout.readline().split()
    yield address, int(pid)
    cluster.stdin.close()
    cluster.stdout.close()
    cluster.wait(60)


def test_a_local_cluster_gives_the_bits_of_the_local_engine(tmp_path: Path, dlcli: Dlcli) -> None:
    fine, wild = write(tmp_path, "fine"), write(tmp_path, "wild", rate=1e30)
    big = write(tmp_path, "big")
    big.write_text(big.read_text() + "hardware: {resources: {cpus: 4000}}\n")
    arguments = ("batch", fine, wild, "--seeds", "0,1", "--json")
    here = dlcli(*arguments, "--runs", "here")
    there = dlcli("batch", fine, wild, big, "--seeds", "0,1", "--json", "--engine", "ray", "--runs", "there")
    assert (here.returncode, there.returncode) == (1, 1), there.stderr
    assert there.stderr == ""
    local, ray = json.loads(here.stdout), json.loads(there.stdout)
    scores = [[(line["group"], line["scores"]) for line in found["lines"] if line["completed"]] for found in (local, ray)]
    assert scores[0] == scores[1]
    reasons = [[one["reason"] for one in found["failures"]] for found in (local, ray)]
    assert reasons[1][:2] == reasons[0]
    assert "no node of the cluster can ever give it 4000 CPU cores" in reasons[1][2]
    one, other = (
        {run.experiment().seed: run for run in all_runs(tmp_path / name) if run.name == "fine"} for name in ("here", "there")
    )
    assert [weights(one[seed]) for seed in (0, 1)] == [weights(other[seed]) for seed in (0, 1)]


def test_a_wrong_command_line_is_told_before_anything_is_made(tmp_path: Path, dlcli: Dlcli) -> None:
    spec = write(tmp_path, "fine")
    done = dlcli("batch", spec, "--engine", "ray", "--gpus", "0", "--runs", "runs")
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "--gpus is not for --engine ray")
    (tmp_path / "ray.py").write_text("raise ImportError\n")
    done = dlcli("batch", spec, "--engine", "ray", "--runs", "runs", PYTHONPATH=f"{environment()['PYTHONPATH']}:{tmp_path}")
    assert (done.returncode, done.stderr) == (2, "--engine ray needs Ray: pip install 'dlcli[ray]'\n")
    assert not (tmp_path / "runs").exists()
