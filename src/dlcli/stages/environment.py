"""What a run records of the machine and the program it ran on."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from dlcli import __version__
from dlcli.runs.sweeps import without_password
from dlcli.runtime.device import Device
from dlcli.stages.checkout import checkout_state

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
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "git": checkout_state(),
        # A trial's process has the command line of its sweep, whose storage may have a password.
        "command": [without_password(one) if "://" in one else one for one in sys.argv],
    }


def process_started() -> str:
    """Returns when this process was started, in UTC as ISO 8601: before Python's first line."""
    return datetime.fromtimestamp(psutil.Process().create_time(), UTC).isoformat(timespec="milliseconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
