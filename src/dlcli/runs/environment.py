"""Describes the machine and the program of a run."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from dlcli import __version__
from dlcli.runs.checkout import checkout_state
from dlcli.runs.sweeps import without_password
from dlcli.runtime.cores import affinity
from dlcli.runtime.device import Device
from dlcli.runtime.threads import VARIABLES, processor, recorded_threads, threads

_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "tensorflow-datasets", "tensorflow-hub", "pillow", "pandas")


def describe_environment(device: Device) -> dict[str, Any]:
    """Returns the content of `environment.json`."""
    return {
        "dlcli": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": {"kind": device.kind, "name": device.name},
        "strategy": device.spread.kind if device.spread else "one_device",
        "devices": device.spread.devices if device.spread else 1,
        "precision": device.precision,
        "determinism": device.determinism,
        "cores": psutil.cpu_count(),
        "processor": processor(),
        "affinity": affinity(),
        "threads": threads(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "git": checkout_state(),
        # The command line of a sweep's trial contains the address of its storage, which may have a password.
        "command": [without_password(word) if "://" in word else word for word in sys.argv],
    }


def rounding_differences(first: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Returns the changes of the environment since a run's start that may change the last bits of the resumed run.

    `first` may be of an earlier version, which recorded less: missing entries are not compared.
    """
    if first.get("determinism") == "seeded":  # bits vary on every machine
        return []
    before, count = recorded_threads(first), current["threads"]["intra_op"]
    differences = [f"{count} thread{'s' if count > 1 else ''} in place of {before}"] if before not in (None, count) else []
    device, new = first["device"], current["device"]
    if device["kind"] != new["kind"] or (device["kind"] == "gpu" and device["name"] != new["name"]):
        differences.append(f"{new['kind'].upper()} ({new['name']}) in place of {device['kind'].upper()} ({device['name']})")
    if first.get("processor") and first["processor"] != current["processor"]:
        differences.append(f"the processor {current['processor']} in place of {first['processor']}")
    versions: dict[str, Any] = first.get("packages") or {}
    for name in ("tensorflow", "keras", "numpy"):
        if name in versions and versions[name] != current["packages"][name]:
            differences.append(f"{name} {current['packages'][name]} in place of {versions[name]}")
    if "variables" in first and first["variables"] != current["variables"]:
        names = sorted({*first["variables"], *current["variables"]})
        differences += [
            f"{name}={current['variables'].get(name, '')} in place of {first['variables'].get(name, 'no value')}"
            for name in names
            if name not in _THREADS and first["variables"].get(name) != current["variables"].get(name)
        ]
    return differences


def process_started() -> str:
    """Returns the time of this process's start, before Python's first line, in UTC as ISO 8601."""
    return datetime.fromtimestamp(psutil.Process().create_time(), UTC).isoformat(timespec="milliseconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
