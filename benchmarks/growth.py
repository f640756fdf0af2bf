"""Measures how cost grows with examples and with epochs: python benchmarks/growth.py [--largest 1000000].

Examples: an MLP on rows of 20 numbers in an npz file, three epochs, from 1,000 rows on; everything but a start-up of constant
cost should be proportional to them. Epochs: the same model on 1,000 rows; the seconds and the written bytes of an epoch should
not depend on how many came before it. The trainings run in processes of their own.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from measuring import Measured, heading, markdown, run

PROGRAM = """
import sys, psutil, dlcli
from pathlib import Path
run = dlcli.train(sys.argv[1], runs=Path(sys.argv[1]).parent / "runs", set={"training.epochs": int(sys.argv[2])})
print(run.path, psutil.Process().io_counters().write_chars)
"""
SPEC = """
name: growth
task: binary
data: {source: {kind: npz, path: rows.npz}, batch_size: 256}
model: {kind: mlp, units: [64, 64], activation: relu}
training: {epochs: 3, callbacks: []}
"""
EPOCHS = (10, 100, 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains on growing data and for growing numbers of epochs, and prints both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--largest", type=int, default=1_000_000, help="most examples (default 1,000,000)")
    largest: int = parser.parse_args(arguments).largest
    print(heading(f"python benchmarks/growth.py --largest {largest}"))
    sizes = [size for size in (1_000, 10_000, 100_000, 1_000_000, 10_000_000) if size <= largest]
    rows = [of_examples(size) for size in sizes]
    print("\n".join(["", *markdown([["examples", "wall, s", "CPU, s", "epoch, s", "peak, MiB"], *rows])]), flush=True)
    rows = [of_epochs(count) for count in EPOCHS]
    print("\n".join(["", *markdown([["epochs", "wall, s", "last epochs, ms", "written per epoch, KiB"], *rows])]))
    return 0


def of_examples(size: int) -> list[str]:
    """Returns the row of a training on `size` examples."""
    with tempfile.TemporaryDirectory() as folder:
        training, path, _ = train(Path(folder), size, 3)
        epoch = median(seconds(path)[1:])
    return [f"{size:,}", f"{training.wall:.1f}", f"{training.cpu:.1f}", f"{epoch:.2f}", f"{training.peak:,.0f}"]


def of_epochs(count: int) -> list[str]:
    """Returns the row of a training of `count` epochs; bytes are those beyond a training of one epoch."""
    with tempfile.TemporaryDirectory() as folder:
        _, _, of_one = train(Path(folder), 1_000, 1)
        training, path, written = train(Path(folder), 1_000, count)
        last = median(seconds(path)[-max(5, count // 10) :])
    return [f"{count:,}", f"{training.wall:.1f}", f"{1e3 * last:.0f}", f"{(written - of_one) / (count - 1) / 1024:,.1f}"]


def train(folder: Path, size: int, epochs: int) -> tuple[Measured, Path, int]:
    """Trains in a process; returns its figures, the run's folder, and how many bytes the process has written."""
    random = np.random.default_rng(0)
    x = random.normal(size=(size, 20)).astype("float32")
    y = (x[:, :3].sum(axis=1) + random.normal(size=size) > 0).astype("int64")
    np.savez(folder / "rows.npz", x=x, y=y)
    (folder / "growth.yaml").write_text(SPEC, encoding="utf-8")
    training = run([sys.executable, "-c", PROGRAM, str(folder / "growth.yaml"), str(epochs)])
    path, _, written = training.output.strip().splitlines()[-1].rpartition(" ")
    return training, Path(path), int(written)


def seconds(path: Path) -> list[float]:
    """Returns the seconds of the epochs of a run."""
    assert json.loads((path / "status.json").read_text())["state"] == "completed"
    with (path / "history.csv").open(newline="") as file:
        return [float(row["seconds"]) for row in csv.DictReader(file)]


if __name__ == "__main__":
    sys.exit(main())
