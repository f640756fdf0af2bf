"""Measures dlcli against two scripts written by hand and prints a Markdown table: scripts/bench [--rounds 3].

Every round runs the three one after the other, so that a change of the machine's load meets all of them. Standard
library only.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
BY_HAND = ROOT / "benchmarks" / "by_hand"
SPEC = ROOT / "configs" / "mnist_cnn.yaml"


@dataclass(frozen=True)
class Measured:
    """One training, seen from outside: seconds from process start to its end and to its first step; peak MiB.

    `epoch` is the median of the epochs after the first, in seconds, validation included.
    """

    wall: float
    first_step: float
    epoch: float
    peak: float
    accuracy: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rounds and prints the table; progress goes to stderr."""
    options = parser().parse_args(arguments)
    runners = {name: RUNNERS[name] for name in RUNNERS if name in options.only}
    rounds: dict[str, list[Measured]] = {name: [] for name in runners}
    for number in range(options.rounds):
        for name, runner in runners.items():
            with tempfile.TemporaryDirectory() as folder:
                measured = runner(Path(folder))
            rounds[name].append(measured)
            print(f"round {number + 1} {name}: {measured}", file=sys.stderr, flush=True)
    print("\n".join([heading(options.rounds), "", *table(rounds), "", *ratios(rounds)]))
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--rounds", type=int, default=3, help="times each is run (default 3)")
    result.add_argument("--only", nargs="+", choices=list(RUNNERS), default=list(RUNNERS), help="leave the others out")
    return result


def by_hand(script: str) -> Callable[[Path], Measured]:
    """Returns a runner of one of the scripts beside this file."""

    def runner(folder: Path) -> Measured:
        wall, peak, output, _ = run([sys.executable, str(BY_HAND / script), str(folder)])
        result = json.loads(output.splitlines()[-1])
        return Measured(wall, result["first_step"], median(result["epochs"][1:]), peak, result["accuracy"])

    return runner


def dlcli(folder: Path) -> Measured:
    """Trains the shipped spec for three epochs and reads the rest from the run folder."""
    command = [str(Path(sys.executable).with_name("dlcli")), "train", "--quiet", str(SPEC), "--set", "training.epochs=3"]
    wall, peak, output, started = run([*command, "--runs", str(folder)])
    path = Path(output.strip().splitlines()[-1])
    with (path / "history.csv").open(newline="") as file:
        epochs = [float(row["seconds"]) for row in csv.DictReader(file)]
    first_step = datetime.fromisoformat(json.loads((path / "status.json").read_text())["first_step"]).timestamp()
    metrics = json.loads((path / "evaluation" / "test" / "metrics.json").read_text())["metrics"]
    return Measured(wall, first_step - started, median(epochs[1:]), peak, metrics["accuracy"]["value"])


RUNNERS: dict[str, Callable[[Path], Measured]] = {
    "plain": by_hand("keras_plain.py"),
    "tuned": by_hand("keras_tuned.py"),
    "dlcli": dlcli,
}


def run(command: Sequence[str]) -> tuple[float, float, str, float]:
    """Runs a command and returns its wall seconds, peak resident MiB, stdout, and the time it was started at (epoch)."""
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
        return wall, mebibytes(usage), output.read(), started


def mebibytes(usage: resource.struct_rusage) -> float:
    """Returns the peak resident memory; macOS counts it in bytes, Linux in KiB."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def heading(rounds: int) -> str:
    """Returns what was run, where and when."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}"
    gpu = " with nvidia-smi" if shutil.which("nvidia-smi") else ""
    return f"`scripts/bench --rounds {rounds}` on {datetime.now(UTC):%Y-%m-%d}, {machine}{gpu}. Medians, ranges in brackets."


COLUMNS = {
    "wall": ("wall, s", "{:.1f}"),
    "first_step": ("first step, s", "{:.1f}"),
    "epoch": ("steady epoch, s", "{:.1f}"),
    "peak": ("peak, MiB", "{:,.0f}"),
    "accuracy": ("test accuracy", "{:.4f}"),
}


def table(rounds: dict[str, list[Measured]]) -> list[str]:
    """Returns a row for each of the three, with the median and range of every figure."""
    rows = [[name, *(cell(key, measured) for key in COLUMNS)] for name, measured in rounds.items()]
    return markdown([["", *(title for title, _ in COLUMNS.values())], *rows])


def cell(key: str, measured: list[Measured]) -> str:
    """Returns the median of one figure, and its range."""
    values = [getattr(one, key) for one in measured]
    middle, least, most = (COLUMNS[key][1].format(value) for value in (median(values), min(values), max(values)))
    return f"{middle} ({least} - {most})"


def ratios(rounds: dict[str, list[Measured]]) -> list[str]:
    """Returns dlcli's medians divided by the others'; below 1 dlcli needs less."""
    if "dlcli" not in rounds:
        return []
    keys = [key for key in COLUMNS if key != "accuracy"]
    middle = {name: [median(getattr(one, key) for one in measured) for key in keys] for name, measured in rounds.items()}
    rows = [
        [f"dlcli / {name}", *(f"{ours / theirs:.2f}" for ours, theirs in zip(middle["dlcli"], figures, strict=True))]
        for name, figures in middle.items()
        if name != "dlcli"
    ]
    return markdown([["", *(COLUMNS[key][0].split(",")[0] for key in keys)], *rows])


def markdown(rows: list[list[str]]) -> list[str]:
    """Returns a Markdown table; the first row is its heading."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]]


if __name__ == "__main__":
    sys.exit(main())
