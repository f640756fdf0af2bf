"""`dlcli batch --engine ray` on real clusters of this machine: local ones, and two nodes of which one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import Dlcli, environment

from cli.killing import assert_same_bits, started, wait_for
from cli.test_batch import board, refuse_lost_or_doubled, write
from dlcli.program import install_command
from dlcli.runs import all_runs
from dlcli.runs.checkpoints import checkpoint_files

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
    specs = [write(tmp_path, "fine"), write(tmp_path, "wild", rate=1e30)]
    big = write(tmp_path, "big")
    big.write_text(big.read_text() + "hardware: {resources: {cpus: 4000}}\n")
    here = dlcli("batch", *specs, "--jobs", "2", "--json", "--runs", "here")
    there = dlcli("batch", *specs, big, "--engine", "ray", "--json", "--runs", "there", timeout=240)
    assert (here.returncode, there.returncode) == (1, 1), there.stderr
    assert there.stderr == ""
    local, ray = json.loads(here.stdout), json.loads(there.stdout)
    scores = [[(line["group"], line["scores"]) for line in found["lines"] if line["completed"]] for found in (local, ray)]
    assert (len(scores[0]), scores[0]) == (1, scores[1])
    assert ray["failures"][0]["reason"] == local["failures"][0]["reason"]
    assert "no node of the cluster can provide 4000 CPU cores" in ray["failures"][1]["reason"]
    one, other = ({run.name: run for run in all_runs(tmp_path / name)} for name in ("here", "there"))
    assert_same_bits(one["fine"], other["fine"])


def test_a_wrong_command_line_is_told_before_anything_is_made(tmp_path: Path, dlcli: Dlcli) -> None:
    spec = write(tmp_path, "fine")
    done = dlcli("batch", spec, "--engine", "ray", "--gpus", "0", "--runs", "runs")
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "--gpus cannot be used with --engine ray")
    (tmp_path / "ray.py").write_text("raise ImportError\n")
    done = dlcli("batch", spec, "--engine", "ray", "--runs", "runs", PYTHONPATH=f"{environment()['PYTHONPATH']}:{tmp_path}")
    assert (done.returncode, done.stderr) == (2, f"--engine ray needs Ray: {install_command('ray')}\n")
    assert not (tmp_path / "runs").exists()


def _below(pid: int) -> set[int]:
    return {one.pid for one in psutil.Process(pid).children(recursive=True)}


def _kill_node(pid: int) -> None:
    """Kills all that a node runs at once, as the end of a machine would."""
    for one in [pid, *_below(pid)]:
        os.kill(one, signal.SIGKILL)


def _trains_on(folder: Path, node: int) -> bool:
    """Whether a run is on its way on the node."""
    statuses = [run.status() for run in all_runs(folder / "runs")]
    on_its_way = {status.pid for status in statuses if status.state == "running" and status.epoch > 2}
    return bool(on_its_way & _below(node))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_node_that_is_killed_loses_no_run_and_does_none_twice(tmp_path: Path, two_nodes: tuple[str, int]) -> None:
    address, node = two_nodes
    write(tmp_path, "long", epochs=80)
    process = started(
        *("batch", "long.yaml", "--seeds", "0-2", "--engine", "ray", "--address", address, "--runs", "runs"), cwd=tmp_path
    )
    assert wait_for(lambda: _trains_on(tmp_path, node), process)
    _kill_node(node)
    assert process.wait(600) == 0, (tmp_path / "output.txt").read_text()
    found = board(tmp_path)
    refuse_lost_or_doubled(found)
    assert sorted(status.attempts for status, _, _ in found.values()) == [1, 1, 2]
    assert sorted(runs[0].status().resumed for _, runs, _ in found.values()) == [0, 0, 1]
    assert "raylet" not in (tmp_path / "output.txt").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_interrupted_batch_on_a_cluster_has_checkpoints_and_goes_on_with_another_engine(
    tmp_path: Path, two_nodes: tuple[str, int]
) -> None:
    address, node = two_nodes
    write(tmp_path, "long", epochs=80)
    process = started(
        *("batch", "long.yaml", "--seeds", "0-2", "--engine", "ray", "--address", address, "--runs", "runs"), cwd=tmp_path
    )
    assert wait_for(lambda: _trains_on(tmp_path, node), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 75, (tmp_path / "output.txt").read_text()
    states = [status.state for status, _, _ in board(tmp_path).values()]
    assert states == ["interrupted"] * 3
    assert {run.status().state for run in all_runs(tmp_path / "runs")} == {"interrupted"}
    process = started("batch", "--resume", "latest", "--engine", "local", "--runs", "runs", cwd=tmp_path)
    assert process.wait(600) == 0, (tmp_path / "output.txt").read_text()
    refuse_lost_or_doubled(board(tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_that_is_lost_is_told_and_leaves_no_run_behind(tmp_path: Path) -> None:
    write(tmp_path, "long", epochs=3000)
    process = started("batch", "long.yaml", "--engine", "ray", "--runs", "runs", cwd=tmp_path)
    assert wait_for(lambda: any(run.status().epoch > 2 for run in all_runs(tmp_path / "runs")), process)
    (server,) = [one for one in psutil.Process(process.pid).children(recursive=True) if one.name() == "gcs_server"]
    server.kill()
    assert process.wait(120) == 1, (tmp_path / "output.txt").read_text()
    told = (tmp_path / "output.txt").read_text()
    assert ("the Ray cluster at" in told, "dlcli batch --resume" in told) == (True, True)
    (run,) = all_runs(tmp_path / "runs")
    with subprocess.Popen(["sleep", "90"]) as patience:
        assert wait_for(lambda: run.shown_state in ("dead", "interrupted"), patience)
        patience.kill()
    assert checkpoint_files(run.checkpoints_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_21_runs_survive_the_end_of_a_node_and_three_more_fail_for_their_reasons(
    tmp_path: Path, two_nodes: tuple[str, int]
) -> None:
    address, node = two_nodes
    write(tmp_path, "crash", epochs=2000)
    write(tmp_path, "wild", rate=1e30)
    write(tmp_path, "big", units=60_000_000)
    many = [f"{name}-{number}" for name in ("first", "second", "third") for number in range(7)]
    for number, name in enumerate(many):
        write(tmp_path, name, epochs=5 + number)
    specs = [f"{name}.yaml" for name in ("crash", "wild", "big", *many)]
    cluster = ("--engine", "ray", "--address", address, "--memory", "4", "--runs", "runs")
    process = started("batch", *specs, *cluster, cwd=tmp_path)
    _crash(tmp_path, process, after=2)
    assert wait_for(lambda: _completed(tmp_path) >= 3 and _trains_on(tmp_path, node), process, 600)
    _kill_node(node)
    _crash(tmp_path, process, after=30)  # its second try is queued behind all others
    assert process.wait(1200) == 1, (tmp_path / "output.txt").read_text()
    found = board(tmp_path)
    refuse_lost_or_doubled(found)
    reasons = [status.reason for status, _, _ in list(found.values())[:3]]
    assert ["SIGSEGV" in reasons[0], "nan" in reasons[1], "4 GB of memory" in reasons[2]] == [True] * 3, reasons
    assert [status.state for status, _, _ in found.values()] == ["failed"] * 3 + ["completed"] * 21
    assert [run.status().resumed for _, runs, _ in list(found.values())[3:] for run in runs].count(1) == 1


def _completed(folder: Path) -> int:
    return [run.status().state for run in all_runs(folder / "runs")].count("completed")


def _crash(folder: Path, process: subprocess.Popen[str], after: int) -> None:
    """Has the run `crash` end by a fault once it has made so many epochs."""

    def crashing() -> list[int]:
        found = [run for run in all_runs(folder / "runs") if run.name == "crash" and run.shown_state == "running"]
        return [run.status().pid for run in found if run.status().epoch > after]

    assert wait_for(crashing, process, 600)
    os.kill(crashing()[0], signal.SIGSEGV)
