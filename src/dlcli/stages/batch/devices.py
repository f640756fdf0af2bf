"""Which devices a batch has, and how they are shared out among its runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

from dlcli.errors import UsageError

_LEFT = 0.95
"""Share of a GPU's memory that the runs on it may have together; the rest is the driver's and CUDA's own."""


@dataclass(frozen=True)
class Slot:
    """A place for one run at a time; `variables` of the environment give a process its device."""

    name: str
    variables: dict[str, str] = field(default_factory=dict)


def slots(jobs: int | None, gpus: str, per_gpu: int) -> list[Slot]:
    """Returns the places for runs: `per_gpu` on each GPU, or `jobs` on the CPU where there is no GPU (1 if not given).

    Args:
        jobs: how many runs at once; of places on GPUs at most so many are used.
        gpus: their numbers, as in `0,1`; all that there are if empty; `none` for the CPU.
        per_gpu: runs on one GPU at once, which share its memory evenly.

    Raises:
        UsageError: there is no such GPU.
    """
    found = {} if gpus == "none" else gpu_memory()
    wanted = _wanted(gpus, list(found)) if gpus != "none" else []
    if not wanted:
        return [Slot(f"cpu {at}", {"CUDA_VISIBLE_DEVICES": "-1"}) for at in range(jobs or 1)]
    places = [Slot(f"gpu {gpu}", _variables(gpu, found[gpu], per_gpu)) for _ in range(per_gpu) for gpu in wanted]
    return places[: jobs or len(places)]


def variables_of(gpus: Sequence[str], share: int) -> dict[str, str]:
    """Returns the variables of the environment for a process on GPUs that a cluster gave it; one may be for `share` of them."""
    memory_mb = gpu_memory().get(gpus[0]) if share > 1 and len(gpus) == 1 else None
    if memory_mb:
        return _variables(gpus[0], memory_mb, share)
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus) or "-1"}


def _variables(gpu: str, memory_mb: int, per_gpu: int) -> dict[str, str]:
    shared = {"DLCLI_GPU_MEMORY_MB": str(int(memory_mb * _LEFT / per_gpu))} if per_gpu > 1 else {}
    return {"CUDA_VISIBLE_DEVICES": gpu, **shared}


def _wanted(gpus: str, found: Sequence[str]) -> list[str]:
    if not gpus:
        return list(found)
    wanted = [one.strip() for one in gpus.split(",")]
    missing = [one for one in wanted if one not in found]
    if missing:
        raise UsageError(f"--gpus: there is no GPU {missing[0]!r}; there {'are ' + ', '.join(found) if found else 'is none'}")
    return wanted


def gpu_memory() -> dict[str, int]:
    """Returns the memory in MiB of each GPU that this process may use, by its number; asked of the driver, not of TensorFlow,
    which would take hold of every GPU."""
    query = ["nvidia-smi", "--query-gpu=index,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [line.split(",") for line in done.stdout.splitlines() if "," in line]
    found = {row[0].strip(): int(row[1]) for row in rows if row[1].strip().isdecimal()}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return found if visible is None else {one: found[one] for one in visible.split(",") if one in found}
