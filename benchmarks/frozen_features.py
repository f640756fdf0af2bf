"""Measures the training of a head on a frozen backbone: python benchmarks/frozen_features.py FOLDER WEIGHTS [--rounds 3].

FOLDER has `train` and `val` with a folder for each class, WEIGHTS is the file of MobileNet 0.25 without its top (Keras's
`mobilenet_2_5_224_tf_no_top.h5`). The head alone learns for 10 epochs: with features that are computed at every step, computed
once, and read from the files of an earlier run. Every round runs the three one after the other. Standard library only.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from measuring import DLCLI, heading, markdown, run

SPEC = """
name: frozen
task: classification
data: {{source: {{kind: folder, path: "{folder}"}}, split: {{test: validation}}, batch_size: 16}}
model: {{kind: transfer, backbone: {{kind: mobilenet, alpha: 0.25, weights: "{weights}"}}}}
training:
  features: {features}
  stages: [{{name: head, train: head, epochs: 10, optimizer: {{kind: adam, learning_rate: 1e-3}}}}]
"""
WAYS = {"off": "computed at every step", "auto": "computed once", "stored": "read from an earlier run's files"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rounds and prints a row for each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder with `train` and `val`")
    parser.add_argument("weights", type=Path, help="the weights of MobileNet 0.25 without its top")
    parser.add_argument("--rounds", type=int, default=3, help="times each way is measured (default 3)")
    options = parser.parse_args(arguments)
    results: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for way, measurements in results.items():
                measurements.append(train(way, options.folder.resolve(), options.weights.resolve(), Path(folder)))
                print(f"{way}: {measurements[-1]}", file=sys.stderr, flush=True)
    rows = [[WAYS[way], *(f"{median(values):.2f}" for values in zip(*found, strict=True))] for way, found in results.items()]
    print(heading(f"python benchmarks/frozen_features.py FOLDER WEIGHTS --rounds {options.rounds}"))
    print("\n".join(["", *markdown([["features", "wall, s", "CPU, s", "epoch, s"], *rows])]))
    return 0


def train(way: str, images: Path, weights: Path, folder: Path) -> tuple[float, float, float]:
    """Trains in a process; returns its wall and CPU seconds, and those of a steady epoch."""
    spec = folder / f"{way}.yaml"
    features = "off" if way == "off" else "auto"
    spec.write_text(SPEC.format(folder=images, weights=weights, features=features), encoding="utf-8")
    training = run([*DLCLI, "finetune", "--quiet", str(spec), "--runs", str(folder / "runs")])
    with (Path(training.output.strip()) / "history.csv").open(newline="") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    return training.wall, training.cpu, median(seconds[1:])


if __name__ == "__main__":
    sys.exit(main())
