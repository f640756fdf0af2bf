"""Runs commands and measures them from outside, and writes tables: what the benchmarks share. Standard library only."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
DLCLI = (sys.executable, "-m", "dlcli")
"""The command line of the environment that runs the benchmark."""


class Measured(NamedTuple):
    """A command that has ended: wall and CPU seconds, peak resident MiB, stdout, and the time when it was started (epoch).

    The CPU seconds are those of the process and of the processes that it waited for.
    """

    wall: float
    cpu: float
    peak: float
    output: str
    started: float


def run(command: Sequence[str]) -> Measured:
    """Runs a command to its end; exits with its messages if it fails."""
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile("w+") as output:
        started = time.time()
        process = subprocess.Popen(command, stdout=output, stderr=errors, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.time() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        output.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()}")
        return Measured(wall, usage.ru_utime + usage.ru_stime, mebibytes(usage), output.read(), started)


def mebibytes(usage: resource.struct_rusage) -> float:
    """Returns the peak resident memory; macOS counts it in bytes, Linux in KiB."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def heading(command: str) -> str:
    """Returns what was run, where and when."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{platform.system()} {platform.machine()}, {cores} cores of {processor()}, Python {platform.python_version()}"
    return f"`{command}` on {datetime.now(UTC):%Y-%m-%d}, {machine}."


def processor() -> str:
    """Returns the processor's name, and its unit for bfloat16 if it has one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    facts = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    units = [unit for unit in ("amx_bf16", "avx512_bf16") if unit in facts.get("flags", "").split()]
    return " with ".join([facts.get("model name", platform.machine()), *units[:1]])


def markdown(rows: list[list[str]]) -> list[str]:
    """Returns a Markdown table; the first row is its heading."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]]
