"""Workarounds for Ray."""

from __future__ import annotations

from typing import Any


def silence_ray(worker: Any) -> None:
    """Keeps Ray from printing what it hears of its nodes to stdout, amid results.

    `log_to_driver=False` stops the output of tasks only; messages such as that a node has died come through
    `listen_error_messages` (github.com/ray-project/ray `python/ray/_private/worker.py`), which asks this switch alone.

    Args:
        worker: the module `ray._private.worker`.
    """
    worker._worker_logs_enabled = False
