"""The cores that this process may use. This module imports no TensorFlow: helper processes use it too."""

from __future__ import annotations

import os


def affinity() -> list[int]:
    """Returns the numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
