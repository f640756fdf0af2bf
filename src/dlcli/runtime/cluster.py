"""The processes that train one model together: their addresses, and the index of this process."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from dlcli.errors import RunFailed, UsageError


@dataclass(frozen=True)
class Cluster:
    """The addresses `host:port` of all workers, and the index of this worker from 0. The first worker is the chief."""

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the chief, which alone writes the run folder."""
        return self.index == 0


def named_cluster(workers: str, index: int | None) -> Cluster:
    """Returns the cluster of `--workers` and `--index`.

    Raises:
        UsageError: the options contradict each other, or an address is invalid.
    """
    if index is None:
        raise UsageError("--workers lists all workers; --index is the number of this process, from 0")
    return _checked(workers.split(","), index, "--workers")


def cluster_around(strategy: str, environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """Returns the cluster that the environment describes; None without one.

    `TF_CONFIG` is read for the strategies `multi_worker` and `auto`, SLURM's variables only for `multi_worker`: several
    tasks of a job may be separate runs.

    Raises:
        UsageError: `TF_CONFIG` is invalid, or `multi_worker` has no cluster.
    """
    if strategy not in ("multi_worker", "auto"):
        return None
    text = environment.get("TF_CONFIG", "")
    cluster = _from_tf_config(text) if text else None
    if strategy == "auto":
        return cluster
    if cluster is None and int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        cluster = _from_slurm(environment)
    if cluster is None:
        raise UsageError(
            "hardware.strategy: multi_worker needs the addresses of the workers: TF_CONFIG, several tasks of one `srun`,\n"
            "  `--workers host1:port,host2:port --index 0`, or `--local-workers 2` to test it on this machine"
        )
    return cluster


def wait_for_all(cluster: Cluster, limit: float = 600.0) -> None:
    """Waits until every worker listens at its address, for up to `limit` seconds.

    TensorFlow itself waits for the other workers without a limit and ignores signals meanwhile.

    Raises:
        UsageError: this worker's port is in use.
        RunFailed: a worker does not listen in time.
    """
    end = monotonic() + limit
    port = int(cluster.addresses[cluster.index].rpartition(":")[2])
    family = _family(cluster.addresses[cluster.index])
    missing = [address for place, address in enumerate(cluster.addresses) if place != cluster.index]
    try:
        listening = socket.create_server(("", port), family=family, backlog=len(cluster.addresses))
    except OSError as error:
        raise UsageError(f"worker {cluster.index} cannot listen at port {port}: {error.strerror}") from None
    with listening:
        while missing := [address for address in missing if not listens(address)]:
            if monotonic() > end:
                raise RunFailed(f"after {limit:.0f} s, no worker listens at {', '.join(missing)}")
            sleep(0.1)


def _family(address: str) -> socket.AddressFamily:
    """Returns IPv6 for a host that has IPv6 addresses only, else IPv4, which other workers use if a host has both."""
    host, _, port = address.rpartition(":")
    try:
        families = {info[0] for info in socket.getaddrinfo(host.strip("[]"), int(port))}
    except OSError:  # other workers may be able to resolve the name
        return socket.AF_INET
    return socket.AF_INET6 if families == {socket.AF_INET6} else socket.AF_INET


def listens(address: str) -> bool:
    """Whether a process listens at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _checked(addresses: Sequence[str], index: int, where: str) -> Cluster:
    for address in addresses:
        host, colon, port = address.rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
            raise UsageError(f"{where}: expected host:port, found {address!r}")
    if len(set(addresses)) < len(addresses) or len(addresses) < 2:
        raise UsageError(f"{where}: expected at least two different addresses, found {', '.join(addresses)}")
    if not 0 <= index < len(addresses):
        raise UsageError(f"{where} names {len(addresses)} workers: their index is 0 to {len(addresses) - 1}, found {index}")
    return Cluster(tuple(addresses), index)


def _from_tf_config(text: str) -> Cluster | None:
    """Returns the cluster of a `TF_CONFIG`; None for a single worker. A `chief` comes before the workers."""
    try:
        config: Any = json.loads(text)
        jobs, task = config.get("cluster", {}), config.get("task", {})
        chief, workers = list(jobs.get("chief", [])), list(jobs.get("worker", []))
        if len(chief) + len(workers) < 2:
            return None
        index = int(task["index"]) + (len(chief) if task["type"] == "worker" else 0)
        if task["type"] not in ("chief", "worker") or {*jobs} - {"chief", "worker"}:
            raise ValueError("it has tasks other than workers")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"TF_CONFIG is invalid: {error}") from None
    return _checked([*map(str, chief), *map(str, workers)], index, "TF_CONFIG")


def _from_slurm(environment: Mapping[str, str]) -> Cluster:
    """Returns the tasks of one `srun` as workers. Jobs on one node have different ports, by their number."""
    from dlcli.runtime.engine import tf

    job = int(environment.get("SLURM_JOB_ID", "0"))
    try:
        # SLURM assigns the GPUs of a task; the resolver only counts them, with nvidia-smi unless it gets a number.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=12000 + job % 1000 * 16, gpus_per_node=1024, gpus_per_task=1, auto_set_gpu=False
        )
        workers = resolver.cluster_spec().as_dict()["worker"]
        return _checked(workers, resolver.get_task_info()[1], "SLURM")
    except (RuntimeError, ValueError, KeyError) as error:
        raise UsageError(f"SLURM's environment does not name the workers: {error}") from None
