"""Which devices a batch has, and how they are shared out among its runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlcli.errors import UsageError
from dlcli.runtime.driver import Driver, ask_driver

_LEFT = 0.95
"""Share of a GPU's memory that the runs on it may have together; the rest is the driver's and CUDA's own."""


GPU_MEMORY = "DLCLI_GPU_MEMORY_MB"
"""The variable that `runtime.device` reads; it is not imported from there, since TensorFlow would come with it."""


@dataclass(frozen=True)
class Slot:
    """A place for one run at a time; `variables` of the environment give a process its device."""

    name: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def is_gpu(self) -> bool:
        """Whether it is on a GPU of this machine; what a cluster gives a run is not known before."""
        return self.variables.get("CUDA_VISIBLE_DEVICES", "-1") != "-1"


def slots(jobs: int | None, gpus: str, per_gpu: int, on_cpu: Callable[[], int] = lambda: 1) -> list[Slot]:
    """Returns the places for runs: `per_gpu` on each GPU, or `jobs` on the CPU where there is no GPU.

    Args:
        jobs: how many runs at once; of places on GPUs at most so many are used.
        gpus: their numbers, as in `0,1`; all that there are if empty; `none` for the CPU.
        per_gpu: runs on one GPU at once, which share its memory evenly.
        on_cpu: returns how many runs at once are on the CPU where `jobs` does not say it.

    Raises:
        UsageError: there is no such GPU, or the driver does not report the GPUs, or their memory to share.
    """
    memory = {} if gpus == "none" else gpu_memory()
    chosen = _selected(gpus, list(memory)) if gpus != "none" else []
    if not chosen:
        return [Slot(f"cpu {at}", {"CUDA_VISIBLE_DEVICES": "-1"}) for at in range(jobs or on_cpu())]
    places = [Slot(f"gpu {gpu}", _variables(gpu, memory[gpu], per_gpu)) for _ in range(per_gpu) for gpu in chosen]
    return places[: jobs or len(places)]


def variables_of(gpus: Sequence[str], share: int) -> dict[str, str]:
    """Returns the variables of the environment for a process on GPUs that a cluster gave it; one may be for `share` of them."""
    memory_mb = gpu_memory().get(gpus[0]) if share > 1 and len(gpus) == 1 else None
    if memory_mb:
        return _variables(gpus[0], memory_mb, share)
    return _shown(",".join(gpus) or "-1")


def _variables(gpu: str, memory_mb: int | None, per_gpu: int) -> dict[str, str]:
    if per_gpu > 1 and memory_mb is None:
        raise UsageError(f"--per-gpu: the driver does not report the memory of {gpu}")
    shared = {GPU_MEMORY: str(int(memory_mb * _LEFT / per_gpu))} if per_gpu > 1 and memory_mb else {}
    return _shown(gpu) | shared


def _shown(gpus: str) -> dict[str, str]:
    """Returns the variables that show GPUs to a process. CUDA numbers GPUs by speed unless told to use the order of the
    driver: https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables"""
    return {"CUDA_DEVICE_ORDER": os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), "CUDA_VISIBLE_DEVICES": gpus}


def _selected(gpus: str, present: Sequence[str]) -> list[str]:
    if not gpus:
        return list(present)
    chosen = [gpu.strip() for gpu in gpus.split(",")]
    missing = [gpu for gpu in chosen if gpu not in present]
    if missing:
        raise UsageError(
            f"--gpus: there is no GPU {missing[0]!r}; there {'are ' + ', '.join(present) if present else 'is none'}"
        )
    return chosen


def gpu_memory() -> dict[str, int | None]:
    """Returns the memory in MiB of each GPU that this process may use, None where the driver does not report it.

    They are named as in CUDA_VISIBLE_DEVICES, which has numbers, UUIDs (GPU-...) and partitions of GPUs (MIG-...), else by
    their numbers. The driver is queried, not TensorFlow, which would take every GPU.

    Raises:
        UsageError: the driver does not answer.
    """
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = None if variable is None else [entry.strip() for entry in variable.split(",")]
    if visible and visible[0] in ("", "-1", "NoDevFiles"):
        return {}
    driver = _gpus(visible or ())
    if visible is None:
        return {str(gpu.number): gpu.memory_mb for gpu in driver.gpus}
    memory: dict[str, int | None] = {}
    for name in visible:
        if name in driver.parts:
            memory[name] = driver.parts[name]
            continue
        gpu = next((gpu for gpu in driver.gpus if name == str(gpu.number) or _is_short_for(name, gpu.uuid)), None)
        if gpu is None:
            break  # as CUDA does: what follows a GPU that is not there is not seen
        memory[name] = gpu.memory_mb
    return memory


def _is_short_for(name: str, uuid: str) -> bool:
    return name.startswith("GPU-") and uuid.startswith(name)


def _gpus(visible: Sequence[str]) -> Driver:
    """Returns what the driver reports of this machine's GPUs, and of their partitions that this process may use."""
    driver = ask_driver([name for name in visible if name.startswith("MIG-")])
    if driver.error:
        raise UsageError(f"the NVIDIA driver fails: {driver.error}; --gpus none trains on the CPU")
    if not driver.installed and any(Path("/dev").glob("nvidia[0-9]*")):
        raise UsageError("there is a GPU, but no NVIDIA driver library (libnvidia-ml); --gpus none trains on the CPU")
    return driver
