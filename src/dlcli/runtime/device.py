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
from dlcli.runtime.precision import half_unit
from dlcli.runtime.spread import Spread
from dlcli.upstream.start import quiet_start

GPU_MEMORY = "DLCLI_GPU_MEMORY_MB"
"""Environment variable: MiB of GPU memory that this process may use where several processes share a GPU."""


class Hardware(Protocol):
    """The hardware settings of a run: the `hardware` section of a spec, whose reference describes the fields."""

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
    """The device of a run. `determinism` is `exact` if a second run gives the same bits, else `seeded`.

    `precision` is `auto` on a processor with units for bfloat16, where the model decides. `spread` holds the devices that share
    every batch; None for a single device.
    """

    kind: str
    name: str
    precision: str
    determinism: str
    spread: Spread | None = None

    def __str__(self) -> str:
        precision = "" if self.precision == "auto" else f", {self.precision}"
        return f"{self.kind.upper()} ({self.name}){precision}"


def use_device(hardware: Hardware, seed: int) -> Device:
    """Chooses one device, sets precision, determinism and all random seeds, and returns the device.

    Raises:
        UsageError: the hardware settings require a GPU and TensorFlow sees none.
    """
    return _used(hardware, seed, None)


def use_devices(hardware: Hardware, seed: int, cluster: Cluster | None) -> Device:
    """Chooses all devices that the spec's strategy and the cluster require; see `use_device`.

    Raises:
        UsageError: there are fewer devices than required, or the strategy does not fit the cluster.
    """
    return _used(hardware, seed, joined(hardware, cluster))


def joined(hardware: Hardware, cluster: Cluster | None) -> Spread | None:
    """Returns the devices that share every batch, once all workers of the cluster listen; None for a single device.

    Raises:
        UsageError: there are fewer devices than required, or the strategy does not fit the cluster.
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
            return _mirrored(hardware, gpus[: _device_count(hardware, len(gpus))])
        if hardware.strategy in ("one_device", "mirrored"):
            raise UsageError(f"hardware.strategy: {hardware.strategy} is for one process; several workers need multi_worker")
        _choose(gpus[: hardware.devices or len(gpus)])
        return _worker(cluster)


def _used(hardware: Hardware, seed: int, spread: Spread | None) -> Device:
    with quiet_start():  # TensorFlow logs three lines if there is no CUDA driver
        gpus = [] if hardware.device == "cpu" else tf.config.list_physical_devices("GPU")
        _choose(gpus[: hardware.devices or len(gpus)] if spread else gpus[:1])
    if hardware.device == "gpu" and not gpus:
        raise UsageError(f"hardware.device: gpu, but TensorFlow sees no GPU; `{command()} doctor` says why")
    precision = _precision(hardware.precision, gpus, shared=spread is not None)
    # On a processor only some layers compute in bfloat16, once the model is built (`models/precision.py`).
    keras.config.set_dtype_policy(precision if gpus or precision == "mixed_float16" else "float32")
    if hardware.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    exact = not gpus or hardware.deterministic
    return Device("gpu" if gpus else "cpu", _name(gpus, spread), precision, "exact" if exact else "seeded", spread)


def any_device(hardware: _Settings) -> _Settings:
    """Returns the hardware settings for later uses of a run's model, where a GPU is optional."""
    changed: _Settings = hardware.model_copy(update={"device": "auto"}) if hardware.device == "gpu" else hardware
    return changed


def _choose(gpus: list[object]) -> None:
    """Makes only these GPUs visible; their memory grows as needed, up to the share that a batch assigns to this process."""
    share = os.environ.get(GPU_MEMORY)
    try:
        tf.config.set_visible_devices(gpus, "GPU")
        for gpu in gpus:
            if share is None:
                tf.config.experimental.set_memory_growth(gpu, True)
            else:  # TensorFlow allocates the whole share at once: growth and a limit exclude each other
                limit = tf.config.LogicalDeviceConfiguration(memory_limit=int(share))
                tf.config.set_logical_device_configuration(gpu, [limit])
    except RuntimeError:
        return  # TensorFlow has already started in this process with the same settings: a test or a worker


def _device_count(hardware: Hardware, gpus: int) -> int:
    """Returns the number of devices that share a batch.

    Raises:
        UsageError: the machine has fewer devices.
    """
    if gpus and (hardware.devices or gpus) > gpus:
        raise UsageError(f"hardware.devices: {hardware.devices}, but TensorFlow sees {gpus} GPU{'s' if gpus > 1 else ''}")
    if gpus == 1 or (not gpus and hardware.devices is None):
        visible = "TensorFlow sees one GPU" if gpus else "TensorFlow sees no GPU"
        raise UsageError(
            f"hardware.strategy: mirrored needs several GPUs, but {visible}: use auto\n"
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
    """Returns a strategy over devices, once per process: a second strategy would repeat the numbers of its collectives."""
    return Spread(tf.distribute.MirroredStrategy([f"{kind}:{place}" for place in range(count)]))


@cache
def _worker(cluster: Cluster) -> Spread:
    """Waits for all workers and returns their devices."""
    wait_for_all(cluster)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}), task_type="worker", task_id=cluster.index
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    return Spread(strategy, workers=len(cluster.addresses), index=cluster.index)


def _precision(precision: str, gpus: list[object], *, shared: bool) -> str:
    """Returns the precision: mixed on GPUs of compute capability 7 or higher, which have fast half precision.

    It is `auto` on a processor with units for bfloat16: the model decides.
    """
    if precision != "auto":
        return precision
    if not gpus:
        return "auto" if half_unit() and not shared else "float32"
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
