"""Measures dlcli against scripts written by hand and prints a Markdown table: scripts/bench [--model digits] [--rounds 3].

Every round runs all of them one after the other, so that a change of the machine's load meets all of them. Standard
library only.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from measuring import CONFIGS, DLCLI, ROOT, heading, markdown, run

BY_HAND = ROOT / "benchmarks" / "by_hand"


@dataclass(frozen=True)
class Training:
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
    candidates = RUNNERS[options.model]
    unknown = set(options.only or ()) - set(candidates)
    if unknown:
        sys.exit(f"--only: {options.model} has {', '.join(candidates)}; found {', '.join(sorted(unknown))}")
    runners = {name: runner for name, runner in candidates.items() if name in (options.only or candidates)}
    rounds: dict[str, list[Training]] = {name: [] for name in runners}
    for number in range(options.rounds):
        for name, runner in runners.items():
            with tempfile.TemporaryDirectory() as folder:
                measured = runner(Path(folder))
            rounds[name].append(measured)
            print(f"round {number + 1} {name}: {measured}", file=sys.stderr, flush=True)
    command = f"scripts/bench --model {options.model} --rounds {options.rounds}"
    print("\n".join([f"{heading(command)} Medians, ranges in brackets.", "", *table(rounds), "", *ratios(rounds)]))
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--model", choices=list(RUNNERS), default="mnist", help="what is trained (default mnist)")
    result.add_argument("--rounds", type=int, default=3, help="times each is run (default 3)")
    result.add_argument("--only", nargs="+", help="leave the others out")
    return result


def by_hand(script: str, *options: str) -> Callable[[Path], Training]:
    """Returns a runner of one of the scripts in `by_hand`."""

    def runner(folder: Path) -> Training:
        script_run = run([sys.executable, str(BY_HAND / script), str(folder), *options])
        result = json.loads(script_run.output.splitlines()[-1])
        epoch = median(result["epochs"][1:])
        return Training(script_run.wall, result["first_step"], epoch, script_run.peak, result["accuracy"])

    return runner


def dlcli(spec: str, epochs: int, *settings: str) -> Callable[[Path], Training]:
    """Returns a runner of a shipped spec, which reads the figures from the run folder."""
    words = [word for setting in (f"training.epochs={epochs}", *settings) for word in ("--set", setting)]

    def runner(folder: Path) -> Training:
        training = run([*DLCLI, "train", "--quiet", str(CONFIGS / spec), *words, "--runs", str(folder)])
        path = Path(training.output.strip().splitlines()[-1])
        with (path / "history.csv").open(newline="") as file:
            seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
        first_step = datetime.fromisoformat(json.loads((path / "status.json").read_text())["first_step"]).timestamp()
        metrics = json.loads((path / "evaluation" / "test" / "metrics.json").read_text())["metrics"]
        return Training(
            training.wall, first_step - training.started, median(seconds[1:]), training.peak, metrics["accuracy"]["value"]
        )

    return runner


RUNNERS: dict[str, dict[str, Callable[[Path], Training]]] = {
    "mnist": {
        "plain": by_hand("keras_plain.py"),
        "tuned": by_hand("keras_tuned.py"),
        "tuned, bfloat16": by_hand("keras_tuned.py", "mixed_bfloat16"),
        "dlcli, float32": dlcli("mnist_cnn.yaml", 3, "hardware.precision=float32"),
        "dlcli": dlcli("mnist_cnn.yaml", 3),
    },
    "digits": {"plain": by_hand("keras_digits.py", "5"), "dlcli": dlcli("digits_cnn.yaml", 5)},
    "digits_long": {"plain": by_hand("keras_digits.py", "30"), "dlcli": dlcli("digits_cnn.yaml", 30, "training.callbacks=[]")},
}
"""The programs by model: `digits` is start-up and end, `digits_long` small epochs."""


COLUMNS = {
    "wall": ("wall, s", "{:.1f}"),
    "first_step": ("first step, s", "{:.1f}"),
    "epoch": ("steady epoch, s", "{:.1f}"),
    "peak": ("peak, MiB", "{:,.0f}"),
    "accuracy": ("test accuracy", "{:.4f}"),
}


def table(rounds: dict[str, list[Training]]) -> list[str]:
    """Returns a row for each of the three, with the median and range of every figure."""
    rows = [[name, *(cell(key, measured) for key in COLUMNS)] for name, measured in rounds.items()]
    return markdown([["", *(title for title, _ in COLUMNS.values())], *rows])


def cell(key: str, measured: list[Training]) -> str:
    """Returns the median of one figure, and its range."""
    values = [getattr(one, key) for one in measured]
    middle, least, most = (COLUMNS[key][1].format(value) for value in (median(values), min(values), max(values)))
    return f"{middle} ({least} - {most})"


def ratios(rounds: dict[str, list[Training]]) -> list[str]:
    """Returns dlcli's medians divided by the others'; below 1 dlcli needs less."""
    ours_names = [name for name in rounds if name.startswith("dlcli")]
    keys = [key for key in COLUMNS if key != "accuracy"]
    middle = {name: [median(getattr(one, key) for one in measured) for key in keys] for name, measured in rounds.items()}
    rows = [
        [f"{own} / {name}", *(f"{ours / theirs:.2f}" for ours, theirs in zip(middle[own], figures, strict=True))]
        for own in ours_names
        for name, figures in middle.items()
        if name not in ours_names
    ]
    return markdown([["", *(COLUMNS[key][0].split(",")[0] for key in keys)], *rows])


if __name__ == "__main__":
    sys.exit(main())
