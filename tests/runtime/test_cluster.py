"""The workers of a cluster: from the command line, TF_CONFIG and SLURM's environment, or a clear error."""

from __future__ import annotations

import json
import socket
from threading import Timer
from time import monotonic, sleep

import pytest

from dlcli.errors import RunFailed, UsageError
from dlcli.runtime.cluster import Cluster, cluster_around, listens, named_cluster, wait_for_all

TWO = ("a:2222", "b:2222")


def config(cluster: object, kind: str = "worker", index: object = 0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_the_command_line_names_the_workers() -> None:
    assert named_cluster("a:2222,b:2222", 1) == Cluster(TWO, 1)
    assert named_cluster("a:2222,b:2222", 0).is_chief


@pytest.mark.parametrize(
    ("workers", "index", "words"),
    [
        ("a:1,b:2", None, "--index is the number"),
        ("a:1,b:2", 2, "their index is 0 to 1"),
        ("a:1", 0, "two different addresses"),
        ("a:1,a:1", 0, "two different addresses"),
        ("a,b:1", 0, "expected host:port, found 'a'"),
        ("a:0,b:1", 0, "expected host:port, found 'a:0'"),
        ("a:70000,b:1", 0, "found 'a:70000'"),
    ],
)
def test_invalid_addresses_of_workers_are_refused(workers: str, index: int | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        named_cluster(workers, index)


@pytest.mark.parametrize("strategy", ["auto", "multi_worker"])
def test_tf_config_names_the_workers(strategy: str) -> None:
    assert cluster_around(strategy, config({"worker": list(TWO)}, index=1)) == Cluster(TWO, 1)


def test_the_chief_comes_before_the_workers() -> None:
    jobs = {"chief": ["a:2222"], "worker": ["b:2222"]}
    assert cluster_around("auto", config(jobs, "chief")) == Cluster(TWO, 0)
    assert cluster_around("auto", config(jobs, "worker")) == Cluster(TWO, 1)


def test_a_single_worker_is_no_cluster() -> None:
    assert cluster_around("auto", config({"worker": ["a:2222"]})) is None
    assert cluster_around("auto", {}) is None


@pytest.mark.parametrize("strategy", ["one_device", "mirrored"])
def test_a_strategy_for_one_process_ignores_tf_config(strategy: str) -> None:
    assert cluster_around(strategy, {"TF_CONFIG": "nonsense"}) is None


@pytest.mark.parametrize(
    "environment",
    [
        {"TF_CONFIG": "{"},
        {"TF_CONFIG": "[]"},
        config({"worker": list(TWO)}, index="x"),
        config({"worker": list(TWO), "ps": ["c:1"]}),
        config({"worker": list(TWO)}, kind="evaluator"),
        config({"worker": list(TWO)}, index=7),
    ],
)
def test_an_invalid_tf_config_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="TF_CONFIG"):
        cluster_around("auto", environment)


def test_multi_worker_without_workers_is_refused_with_advice() -> None:
    with pytest.raises(UsageError, match="--local-workers 2"):
        cluster_around("multi_worker", {})


def test_the_tasks_of_one_srun_are_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = {
        "SLURM_JOB_ID": "4711",
        "SLURM_PROCID": "2",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "node[07-08]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
    }
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    cluster = cluster_around("multi_worker", slurm)
    assert cluster == Cluster(("node07:23376", "node07:23377", "node08:23376"), 2)
    assert cluster_around("auto", slurm) is None


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in sockets]
    for server in sockets:
        server.close()
    return ports


def test_a_worker_waits_for_a_worker_that_starts_later() -> None:
    mine, other = free_ports(2)
    servers: list[socket.socket] = []
    later = Timer(0.5, lambda: servers.append(socket.create_server(("127.0.0.1", other))))
    began = monotonic()
    later.start()
    wait_for_all(Cluster((f"127.0.0.1:{mine}", f"127.0.0.1:{other}"), 0), 60.0)
    later.join()
    servers[0].close()
    assert 0.4 < monotonic() - began < 30, "it does not wait for its limit"


def test_workers_at_ipv6_addresses_find_each_other() -> None:
    try:
        first, second = (socket.create_server(("::1", 0), family=socket.AF_INET6) for _ in range(2))
    except OSError:
        pytest.skip("no IPv6 here")
    addresses = tuple(f"[::1]:{server.getsockname()[1]}" for server in (first, second))
    first.close()
    with second:
        answers: list[bool] = []
        other = Timer(0, lambda: answers.append(any(listens(addresses[0]) or sleep(0.01) for _ in range(500))))
        missing = ("[::1]:1",)  # keeps the first one listening until the limit
        other.start()
        with pytest.raises(RunFailed, match=r"no worker listens at \[::1\]:1$"):
            wait_for_all(Cluster((*addresses, *missing), 0), 2.0)
        other.join()
    assert answers == [True]


def test_a_worker_that_does_not_start_is_named() -> None:
    mine, absent = (f"127.0.0.1:{port}" for port in free_ports(2))
    with pytest.raises(RunFailed, match=f"no worker listens at {absent}"):
        wait_for_all(Cluster((mine, absent), 0), 0.3)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen at port {port}"):
            wait_for_all(Cluster((f"127.0.0.1:{port}", "127.0.0.1:1"), 0), 0.3)
