"""Measures the start of commands: python benchmarks/start.py [--rounds 21].

Every round runs all commands one after the other, each in a process of its own. CPU time varies less than wall time on a
machine with other work. Standard library only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import median

from measuring import CONFIGS, DLCLI, Measured, heading, markdown, run

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import dlcli": [sys.executable, "-c", "import dlcli"],
    "dlcli --help": [*DLCLI, "--help"],
    "dlcli check configs/digits_cnn.yaml": [*DLCLI, "check", str(CONFIGS / "digits_cnn.yaml")],
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rounds and prints a row for each command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21, help="times each is run (default 21)")
    rounds: int = parser.parse_args(arguments).rounds
    measured: dict[str, list[Measured]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            measured[name].append(run(command))
    rows = [
        [f"`{name}`", cell([each.wall for each in runs]), cell([each.cpu for each in runs])] for name, runs in measured.items()
    ]
    print(heading(f"python benchmarks/start.py --rounds {rounds}"))
    print("\n".join(["", *markdown([["command", "wall, s", "CPU, s"], *rows])]))
    return 0


def cell(seconds: Sequence[float]) -> str:
    """Returns the median of the rounds, and the range in brackets."""
    return f"{median(seconds):.3f} ({min(seconds):.3f} - {max(seconds):.3f})"


if __name__ == "__main__":
    sys.exit(main())
