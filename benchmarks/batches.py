"""Measures batches and sweeps against separate trainings: python benchmarks/batches.py [--runs 6] [--rounds 3].

Runs of `digits_mlp`: as separate commands, in one batch as many at once as dlcli chooses, in one batch one at a time, one seed
each, and as trials of one sweep, one learning rate each. Every round runs them one after the other. CPU seconds are those of
all processes; on other systems than Linux those that outlive the command are missing. Standard library only.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from measuring import CONFIGS, DLCLI, heading, markdown, run

SPEC = CONFIGS / "digits_mlp.yaml"
_SET_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of `prctl`."""


def separate(count: int, folder: Path) -> list[list[str]]:
    """Returns the commands of separate trainings."""
    return [["train", "--quiet", str(SPEC), "--set", f"seed={seed}", "--runs", str(folder)] for seed in range(count)]


def batch(count: int, folder: Path) -> list[list[str]]:
    """Returns the command of a batch."""
    return [["batch", str(SPEC), "--seeds", f"0-{count - 1}", "--runs", str(folder)]]


def batch_of_one(count: int, folder: Path) -> list[list[str]]:
    """Returns the command of a batch that trains one run at a time."""
    return [[*command, "--jobs", "1"] for command in batch(count, folder)]


def sweep(count: int, folder: Path) -> list[list[str]]:
    """Returns the command of a sweep over a grid of learning rates, whose trials are all trained to their end."""
    rates = ", ".join(str(round(1e-3 + 1e-5 * number, 5)) for number in range(count))
    spec = folder / "rates.yaml"
    space = f"space: {{training.optimizer.learning_rate: {{choice: [{rates}]}}}}"
    search = f"sweep:\n  sampler: grid\n  pruner: none\n  {space}\n"
    spec.write_text(f"{SPEC.read_text(encoding='utf-8')}\n{search}", encoding="utf-8")
    return [["sweep", str(spec), "--jobs", "1", "--runs", str(folder)]]


def adopt_orphans() -> None:
    """Makes processes that outlive their parents children of this one, so that their CPU seconds are counted (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure(way: str, count: int) -> tuple[float, float]:
    """Returns the wall seconds of the commands of a way, and the CPU seconds of all processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        wall = sum(run([*DLCLI, *command]).wall for command in WAYS[way](count, Path(folder)))
        with suppress(ChildProcessError):
            while True:  # the process that runs are forked from ends a moment later
                os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


WAYS = {"separate": separate, "batch": batch, "batch --jobs 1": batch_of_one, "sweep": sweep}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rounds and prints a row for each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=6, help="number of runs (default 6)")
    parser.add_argument("--rounds", type=int, default=3, help="times each way is measured (default 3)")
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS), help="leave the others out")
    options = parser.parse_args(arguments)
    adopt_orphans()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in options.only}
    for number in range(options.rounds):
        for name in options.only:
            seconds[name].append(measure(name, options.runs))
            print(f"round {number + 1} {name}: {seconds[name][-1]}", file=sys.stderr, flush=True)
    medians = {name: [median(values) for values in zip(*times, strict=True)] for name, times in seconds.items()}
    whole = medians.get("separate", [float("nan")] * 2)
    rows = [
        [name, *(cell for value, base in zip(values, whole, strict=True) for cell in (f"{value:.1f}", f"{value / base:.2f}"))]
        for name, values in medians.items()
    ]
    print(heading(f"python benchmarks/batches.py --runs {options.runs} --rounds {options.rounds}"))
    print("\n".join(["", *markdown([[f"{options.runs} runs", "wall, s", "of separate", "CPU, s", "of separate"], *rows])]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
