"""What a run records of the machine and the program it ran on."""

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
from dlcli.runtime.device import Device
from dlcli.runtime.threads import VARIABLES, affinity, processor, recorded_threads, threads

_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "tensorflow-datasets", "tensorflow-hub", "pillow", "pandas")


def describe_environment(device: Device) -> dict[str, Any]:
    """Returns what `environment.json` holds."""
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
        # A trial's process has the command line of its sweep, whose storage may have a password.
        "command": [without_password(word) if "://" in word else word for word in sys.argv],
    }


def what_rounds_otherwise(first: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Returns in words what may give a resumed run other last bits than an untouched one: what differs from its beginning.

    `first` may be of an earlier version, which recorded less: what it lacks is not compared.
    """
    if first.get("determinism") == "seeded":  # not the same bits on any machine
        return []
    begun, now = recorded_threads(first), here["threads"]["intra_op"]
    differences = [f"{now} thread{'s' if now > 1 else ''} in place of {begun}"] if begun not in (None, now) else []
    device, other = first["device"], here["device"]
    if device["kind"] != other["kind"] or (device["kind"] == "gpu" and device["name"] != other["name"]):
        differences.append(f"{other['kind'].upper()} ({other['name']}) in place of {device['kind'].upper()} ({device['name']})")
    if first.get("processor") and first["processor"] != here["processor"]:
        differences.append(f"the processor {here['processor']} in place of {first['processor']}")
    versions: dict[str, Any] = first.get("packages") or {}
    for name in ("tensorflow", "keras", "numpy"):
        if name in versions and versions[name] != here["packages"][name]:
            differences.append(f"{name} {here['packages'][name]} in place of {versions[name]}")
    if "variables" in first and first["variables"] != here["variables"]:
        names = sorted({*first["variables"], *here["variables"]})
        differences += [
            f"{name}={here['variables'].get(name, '')} in place of {first['variables'].get(name, 'no value')}"
            for name in names
            if name not in _THREADS and first["variables"].get(name) != here["variables"].get(name)
        ]
    return differences


def process_started() -> str:
    """Returns when this process was started, in UTC as ISO 8601: before Python's first line."""
    return datetime.fromtimestamp(psutil.Process().create_time(), UTC).isoformat(timespec="milliseconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
