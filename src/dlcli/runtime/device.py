"""GPU or CPU, precision, determinism: set once, before a model is built."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypeVar

from dlcli.errors import UsageError
from dlcli.program import command
from dlcli.runtime.cluster import Cluster, wait_for_all
from dlcli.runtime.engine import keras, tf
from dlcli.runtime.spread import Spread
from dlcli.upstream.start import quiet_start

GPU_MEMORY = "DLCLI_GPU_MEMORY_MB"
"""Variable of the environment: MiB of a GPU that this process may take, where several share it."""


class Hardware(Protocol):
    """What a run asks of the machine: the `hardware` section of a spec, whose reference describes the fields."""

    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def devices(self) -> int | None: ...  # noqa: D102
    @property
    def strategy(self) -> str: ...  # noqa: D102
    @property
    def precision(self) -> str: ...  # noqa: D102
    @property
    def deterministic(self) -> bool: ...  # noqa: D102
    @property
    def xla(self) -> bool: ...  # noqa: D102


class _Changeable(Hardware, Protocol):
    def model_copy(self, *, update: Any = None) -> Any: ...


_Settings = TypeVar("_Settings", bound=_Changeable)


@dataclass(frozen=True)
class Device:
    """What the run computes on. `determinism` is `exact` or `seeded`: whether a second run gives the same bits.

    `spread` are the devices that share every batch; None of one device.
    """

    kind: str
    name: str
    precision: str
    determinism: str
    spread: Spread | None = None

    def __str__(self) -> str:
        return f"{self.kind.upper()} ({self.name}), {self.precision}"


def use_device(hardware: Hardware, seed: int) -> Device:
    """Chooses one device, sets precision, determinism and the seed of everything random, and returns what was chosen.

    Raises:
        UsageError: a GPU is asked for and TensorFlow sees none.
    """
    return _used(hardware, seed, None)


def use_devices(hardware: Hardware, seed: int, cluster: Cluster | None) -> Device:
    """Does as `use_device`, with all the devices that the spec's strategy and the cluster ask for.

    Raises:
        UsageError: there are fewer devices than are asked for, or the strategy does not fit the cluster.
    """
    return _used(hardware, seed, joined(hardware, cluster))


def joined(hardware: Hardware, cluster: Cluster | None) -> Spread | None:
    """Returns the devices that share every batch, once all workers of the cluster are there; None of one device.

    Raises:
        UsageError: there are fewer devices than are asked for, or the strategy does not fit the cluster.
    """
    if cluster is None and hardware.strategy == "multi_worker":
        raise UsageError(f"hardware.strategy: multi_worker is only supported by `{command()} train`")
    if cluster is None and hardware.strategy != "mirrored":
        return None
    if hardware.xla:
        raise UsageError("hardware.xla: true needs a single device: XLA cannot compile sums over several")
    with quiet_start():
        gpus = [] if hardware.device == "cpu" else tf.config.list_physical_devices("GPU")
        if cluster is None:
            return _mirrored(hardware, gpus[: _wanted(hardware, len(gpus))])
        if hardware.strategy in ("one_device", "mirrored"):
            raise UsageError(f"hardware.strategy: {hardware.strategy} is for one process; several workers need multi_worker")
        _choose(gpus[: hardware.devices or len(gpus)])
        return _worker(cluster)


def _used(hardware: Hardware, seed: int, spread: Spread | None) -> Device:
    with quiet_start():  # the CUDA driver's absence is told in three lines of C++
        gpus = [] if hardware.device == "cpu" else tf.config.list_physical_devices("GPU")
        _choose(gpus[: hardware.devices or len(gpus)] if spread else gpus[:1])
    if hardware.device == "gpu" and not gpus:
        raise UsageError(f"hardware.device: gpu, but TensorFlow sees no GPU; `{command()} doctor` says why")
    precision = _precision(hardware.precision, gpus)
    keras.config.set_dtype_policy(precision)
    if hardware.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    exact = not gpus or hardware.deterministic
    return Device("gpu" if gpus else "cpu", _name(gpus, spread), precision, "exact" if exact else "seeded", spread)


def any_device(hardware: _Settings) -> _Settings:
    """Returns the hardware for what a run's model is used for later: a GPU need not be there then."""
    changed: _Settings = hardware.model_copy(update={"device": "auto"}) if hardware.device == "gpu" else hardware
    return changed


def _choose(gpus: list[object]) -> None:
    """Leaves these GPUs alone visible; their memory grows with need, up to the share that a batch gives this process."""
    share = os.environ.get(GPU_MEMORY)
    try:
        tf.config.set_visible_devices(gpus, "GPU")
        for gpu in gpus:
            if share is None:
                tf.config.experimental.set_memory_growth(gpu, True)
            else:  # TensorFlow takes the whole share at once: growth and a limit exclude each other
                limit = tf.config.LogicalDeviceConfiguration(memory_limit=int(share))
                tf.config.set_logical_device_configuration(gpu, [limit])
    except RuntimeError:
        return  # TensorFlow has started in this process already, with these same settings: a test or a worker


def _wanted(hardware: Hardware, gpus: int) -> int:
    """Returns how many devices share a batch.

    Raises:
        UsageError: the machine has fewer.
    """
    if gpus and (hardware.devices or gpus) > gpus:
        raise UsageError(f"hardware.devices: {hardware.devices}, but TensorFlow sees {gpus} GPU{'s' if gpus > 1 else ''}")
    if gpus == 1 or (not gpus and hardware.devices is None):
        found = "TensorFlow sees one GPU" if gpus else "TensorFlow sees no GPU"
        raise UsageError(
            f"hardware.strategy: mirrored needs several GPUs, but {found}: use auto\n"
            "  to test it on a CPU, set device: cpu and devices: 2"
        )
    return hardware.devices or gpus


def _mirrored(hardware: Hardware, gpus: list[object]) -> Spread:
    """Returns the devices of one process: GPUs, or parts of the CPU."""
    if gpus:
        _choose(gpus)
        return _over("GPU", len(gpus))
    count = hardware.devices or 0
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    try:
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    except RuntimeError:
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise UsageError("hardware.devices: TensorFlow has started in this process with fewer devices") from None
    return _over("CPU", count)


@cache
def _over(kind: str, count: int) -> Spread:
    """Returns a strategy over devices: one for a process, since a second would number its collectives as the first does."""
    return Spread(tf.distribute.MirroredStrategy([f"{kind}:{place}" for place in range(count)]))


@cache
def _worker(cluster: Cluster) -> Spread:
    """Returns the devices of all workers; waits until all of them are there."""
    wait_for_all(cluster)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}), task_type="worker", task_id=cluster.index
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    return Spread(strategy, workers=len(cluster.addresses), index=cluster.index)


def _precision(wanted: str, gpus: list[object]) -> str:
    """Returns the precision policy: mixed only on GPUs of compute capability 7 and up, which have fast half precision."""
    if wanted != "auto":
        return wanted
    if not gpus:
        return "float32"
    details = tf.config.experimental.get_device_details(gpus[0])
    major = details.get("compute_capability", (0, 0))[0]
    return "mixed_bfloat16" if major >= 8 else "mixed_float16" if major == 7 else "float32"


def _name(gpus: list[object], spread: Spread | None) -> str:
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        name = str(details.get("device_name", "GPU"))
        if spread is not None:
            return f"{name}; {spread}"
        return f"{name}; 1 of {len(gpus)} GPUs is used" if len(gpus) > 1 else name
    cores = f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"
    return f"{cores}; {spread}" if spread else cores
