"""GPU or CPU, precision, determinism: set once, before a model is built."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dlcli.errors import UsageError
from dlcli.runtime.engine import keras, tf
from dlcli.spec.experiment import Hardware
from dlcli.upstream import quiet_start


@dataclass(frozen=True)
class Device:
    """What the run computes on. `determinism` is `exact` or `seeded`: whether a second run gives the same bits."""

    kind: str
    name: str
    precision: str
    determinism: str

    def __str__(self) -> str:
        return f"{self.kind.upper()} ({self.name}), {self.precision}"


def use_device(hardware: Hardware, seed: int) -> Device:
    """Chooses the device, sets precision, determinism and the seed of everything random, and returns what was chosen.

    Raises:
        UsageError: a GPU is asked for and TensorFlow sees none.
    """
    with quiet_start():  # the CUDA driver's absence is told in three lines of C++
        gpus = [] if hardware.device == "cpu" else tf.config.list_physical_devices("GPU")
        _choose(gpus)
    if hardware.device == "gpu" and not gpus:
        raise UsageError("hardware.device: gpu, but TensorFlow sees no GPU; `dlcli doctor` says why")
    precision = _precision(hardware.precision, gpus)
    keras.config.set_dtype_policy(precision)
    if hardware.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    exact = not gpus or hardware.deterministic
    return Device("gpu" if gpus else "cpu", _name(gpus), precision, "exact" if exact else "seeded")


def any_device(hardware: Hardware) -> Hardware:
    """Returns the hardware for what a run's model is used for later: a GPU need not be there then."""
    return hardware.model_copy(update={"device": "auto"}) if hardware.device == "gpu" else hardware


def _choose(gpus: list[object]) -> None:
    """Leaves one GPU, or none, visible, and lets its memory grow with need instead of taking all of it."""
    try:
        tf.config.set_visible_devices(gpus[:1], "GPU")
        for gpu in gpus[:1]:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        return  # TensorFlow has started in this process already, with these same settings: a test or a worker


def _precision(wanted: str, gpus: list[object]) -> str:
    """Returns the precision policy: mixed only on GPUs of compute capability 7 and up, which have fast half precision."""
    if wanted != "auto":
        return wanted
    if not gpus:
        return "float32"
    details = tf.config.experimental.get_device_details(gpus[0])
    major = details.get("compute_capability", (0, 0))[0]
    return "mixed_bfloat16" if major >= 8 else "mixed_float16" if major == 7 else "float32"


def _name(gpus: list[object]) -> str:
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        name = str(details.get("device_name", "GPU"))
        return f"{name}; 1 of {len(gpus)} GPUs is used" if len(gpus) > 1 else name
    return f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"
