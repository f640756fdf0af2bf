"""Workarounds for Ray."""

from __future__ import annotations


def silence_ray() -> None:
    """Keeps Ray from printing messages of its nodes to stdout, amid results.

    `log_to_driver=False` stops the output of tasks only; messages such as that a node has died come through
    `listen_error_messages` (github.com/ray-project/ray `python/ray/_private/worker.py`), which reads only this switch.

    Raises:
        ImportError: Ray is not installed.
    """
    from ray._private import worker

    worker._worker_logs_enabled = False
