"""The processes that train one model together: their addresses, and which of them this one is."""

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
    """Addresses `host:port` of all workers, and this one's place among them, from 0 on. The first one is the chief."""

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this worker alone writes the run folder."""
        return self.index == 0


def named_cluster(workers: str, index: int | None) -> Cluster:
    """Returns the cluster of `--workers` and `--index`.

    Raises:
        UsageError: they do not fit each other, or an address is none.
    """
    if index is None:
        raise UsageError("--workers lists all workers; --index is the number of this process, from 0")
    return _checked(workers.split(","), index, "--workers")


def cluster_around(strategy: str, environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """Returns the cluster that the environment tells of; None without one.

    `TF_CONFIG` is read where the strategy is `multi_worker` or `auto`, SLURM's variables only where it is `multi_worker`:
    several tasks of a job may well be runs of their own.

    Raises:
        UsageError: `TF_CONFIG` is not what TensorFlow expects, or `multi_worker` has no cluster.
    """
    if strategy not in ("multi_worker", "auto"):
        return None
    text = environment.get("TF_CONFIG", "")
    found = _from_tf_config(text) if text else None
    if strategy == "auto":
        return found
    if found is None and int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        found = _from_slurm(environment)
    if found is None:
        raise UsageError(
            "hardware.strategy: multi_worker needs the addresses of the workers: TF_CONFIG, several tasks of one `srun`,\n"
            "  `--workers host1:port,host2:port --index 0`, or `--local-workers 2` to test it on this machine"
        )
    return found


def wait_for_all(cluster: Cluster, limit: float = 600.0) -> None:
    """Waits until every worker listens at its address, for so many seconds.

    TensorFlow waits for the others without a limit, and no signal ends it there.

    Raises:
        UsageError: this worker's port is taken.
        RunFailed: a worker did not come.
    """
    end = monotonic() + limit
    port = int(cluster.addresses[cluster.index].rpartition(":")[2])
    family = _family(cluster.addresses[cluster.index])
    missing = [one for place, one in enumerate(cluster.addresses) if place != cluster.index]
    try:
        listening = socket.create_server(("", port), family=family, backlog=len(cluster.addresses))
    except OSError as error:
        raise UsageError(f"worker {cluster.index} cannot listen at port {port}: {error.strerror}") from None
    with listening:
        while missing := [one for one in missing if not listens(one)]:
            if monotonic() > end:
                raise RunFailed(f"after {limit:.0f} s, no worker listens at {', '.join(missing)}")
            sleep(0.1)


def _family(address: str) -> socket.AddressFamily:
    """Returns IPv6 for a host that has no other address: a name may well have both, and others find it by IPv4."""
    host, _, port = address.rpartition(":")
    try:
        found = {one[0] for one in socket.getaddrinfo(host.strip("[]"), int(port))}
    except OSError:  # the others may know the name
        return socket.AF_INET
    return socket.AF_INET6 if found == {socket.AF_INET6} else socket.AF_INET


def listens(address: str) -> bool:
    """Whether somebody listens at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _checked(addresses: Sequence[str], index: int, where: str) -> Cluster:
    for one in addresses:
        host, colon, port = one.rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
            raise UsageError(f"{where}: expected host:port, found {one!r}")
    if len(set(addresses)) < len(addresses) or len(addresses) < 2:
        raise UsageError(f"{where}: expected at least two different addresses, found {', '.join(addresses)}")
    if not 0 <= index < len(addresses):
        raise UsageError(f"{where} names {len(addresses)} workers: their index is 0 to {len(addresses) - 1}, found {index}")
    return Cluster(tuple(addresses), index)


def _from_tf_config(text: str) -> Cluster | None:
    """Returns TensorFlow's own description of a cluster; None of one worker alone. A `chief` stands before the workers."""
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
    """Returns the tasks of one `srun` as workers. Jobs on one node have ports of their own, by the job's number."""
    from dlcli.runtime.engine import tf

    job = int(environment.get("SLURM_JOB_ID", "0"))
    try:
        # The GPUs of a task are SLURM's own business; the resolver only counts them, by nvidia-smi if it is told no number.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=12000 + job % 1000 * 16, gpus_per_node=1024, gpus_per_task=1, auto_set_gpu=False
        )
        workers = resolver.cluster_spec().as_dict()["worker"]
        return _checked(workers, resolver.get_task_info()[1], "SLURM")
    except (RuntimeError, ValueError, KeyError) as error:
        raise UsageError(f"SLURM's environment does not name the workers: {error}") from None
