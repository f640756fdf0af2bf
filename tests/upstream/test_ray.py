"""Workarounds for Ray that must go once it is fixed."""

from __future__ import annotations

import subprocess
import sys

from conftest import environment

HEARD = """
from ray._private import worker
from dlcli.upstream.ray import silence_ray

heard = {"lines": ["a node has died"], "pid": "raylet", "is_err": False}
worker.print_to_stdstream(heard, ignore_prefix=False)
print("silent", flush=True)
silence_ray()
worker.print_to_stdstream(heard, ignore_prefix=False)
"""


def test_ray_prints_what_it_hears_of_nodes_amid_results_until_it_is_silenced() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEARD], capture_output=True, text=True, env=environment(), timeout=60, check=True
    )
    before, _, after = done.stdout.partition("silent")
    assert ("a node has died" in before, after.strip()) == (True, "")
