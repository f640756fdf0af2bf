"""A Python program in a process of its own, for defects that show only where nothing is imported yet."""

from __future__ import annotations

import os
import subprocess
import sys


def run(program: str) -> str:
    """Returns what a Python program prints in a process of its own."""
    environment = os.environ | {"PYTHONPATH": "src", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    ).stdout.strip()
