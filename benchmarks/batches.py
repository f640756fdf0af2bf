"""Measures batches and sweeps against separate trainings: python benchmarks/batches.py [--runs 6] [--rounds 3].

Runs of `digits_mlp`, one at a time: as separate commands and in one batch, one seed each, and as trials of one sweep, one
learning rate each. Every round runs the three one after the other. Standard library only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from measuring import CONFIGS, DLCLI, heading, markdown, run

SPEC = CONFIGS / "digits_mlp.yaml"


def separate(count: int, folder: Path) -> float:
    """Returns the seconds of separate trainings."""
    commands = [
        [*DLCLI, "train", "--quiet", str(SPEC), "--set", f"seed={seed}", "--runs", str(folder)] for seed in range(count)
    ]
    return sum(run(command).wall for command in commands)


def batch(count: int, folder: Path) -> float:
    """Returns the seconds of a batch."""
    return run([*DLCLI, "batch", str(SPEC), "--seeds", f"0-{count - 1}", "--jobs", "1", "--runs", str(folder)]).wall


def sweep(count: int, folder: Path) -> float:
    """Returns the seconds of a sweep over a grid of learning rates."""
    rates = ", ".join(str(round(1e-3 + 1e-5 * number, 5)) for number in range(count))
    spec = folder / "rates.yaml"
    space = f"sweep:\n  sampler: grid\n  space: {{training.optimizer.learning_rate: {{choice: [{rates}]}}}}\n"
    spec.write_text(f"{SPEC.read_text(encoding='utf-8')}\n{space}", encoding="utf-8")
    return run([*DLCLI, "sweep", str(spec), "--jobs", "1", "--runs", str(folder)]).wall


WAYS = {"separate": separate, "batch": batch, "sweep": sweep}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rounds and prints a row for each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=6, help="number of runs (default 6)")
    parser.add_argument("--rounds", type=int, default=3, help="times each way is measured (default 3)")
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS), help="leave the others out")
    options = parser.parse_args(arguments)
    seconds: dict[str, list[float]] = {name: [] for name in options.only}
    for number in range(options.rounds):
        for name in options.only:
            with tempfile.TemporaryDirectory() as folder:
                seconds[name].append(WAYS[name](options.runs, Path(folder)))
            print(f"round {number + 1} {name}: {seconds[name][-1]:.1f} s", file=sys.stderr, flush=True)
    whole = median(seconds.get("separate", [float("nan")]))
    rows = [[name, f"{median(times):.1f}", f"{median(times) / whole:.2f}"] for name, times in seconds.items()]
    print(heading(f"python benchmarks/batches.py --runs {options.runs} --rounds {options.rounds}"))
    print("\n".join(["", *markdown([[f"{options.runs} runs", "wall, s", "of separate"], *rows])]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
