"""Compares `dlcli evaluate` with a script by hand: python benchmarks/evaluation.py [--rounds 3].

The script loads the run's model with plain Keras, predicts the test split with `model.predict`, and prints scikit-learn's
`classification_report` and confusion matrix and the loss. `dlcli evaluate` also checks that the data is the run's, and writes
intervals, curves, calibration, predictions, charts and notable examples. Every round runs both, in processes of their own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from measuring import DLCLI, Measured, heading, markdown, run

BY_HAND = """
import csv, sys
import keras
import numpy as np
from sklearn.metrics import classification_report, confusion_matrix, log_loss

folder, run = sys.argv[1:]
data = np.load(folder + "/rows.npz")
with open(run + "/split.csv", newline="") as file:
    places = [int(row["id"].rpartition("/")[2]) for row in csv.DictReader(file) if row["split"] == "test"]
model = keras.models.load_model(run + "/model.keras")
x, y = data["x"][places], data["y"][places]
scores = model.predict(x, batch_size=256, verbose=0)
print(classification_report(y, scores.argmax(axis=1)), confusion_matrix(y, scores.argmax(axis=1)), log_loss(y, scores))
"""
SPEC = """
name: evaluation
task: classification
data: {source: {kind: npz, path: rows.npz}, batch_size: 256, split: {validation: 0.1, test: 0.5}}
model: {kind: mlp, units: [64, 64]}
training: {epochs: 1, callbacks: []}
"""
SIZES = (2_000, 20_000, 200_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains a run for each size, evaluates it in both ways and prints a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured (default 3)")
    rounds: int = parser.parse_args(arguments).rounds
    rows = [row for size in SIZES for row in rows_of(size, rounds)]
    print(heading(f"python benchmarks/evaluation.py --rounds {rounds}"))
    print("\n".join(["", *markdown([["test examples", "", "wall, s", "CPU, s", "peak, MiB"], *rows])]))
    return 0


def rows_of(size: int, rounds: int) -> list[list[str]]:
    """Returns the rows of both ways on half of `size` examples."""
    results: dict[str, list[Measured]] = {"by hand": [], "dlcli": []}
    with tempfile.TemporaryDirectory() as folder:
        path = trained(Path(folder), size)
        for _ in range(rounds):
            results["by hand"].append(run([sys.executable, "-c", BY_HAND, folder, path]))
            results["dlcli"].append(run([*DLCLI, "evaluate", path, "--split", "test"]))
            print(f"{size}: {[measured[-1][:3] for measured in results.values()]}", file=sys.stderr, flush=True)
    return [
        [
            f"{size // 2:,}",
            name,
            f"{median(measured.wall for measured in found):.1f}",
            f"{median(measured.cpu for measured in found):.1f}",
            f"{median(measured.peak for measured in found):,.0f}",
        ]
        for name, found in results.items()
    ]


def trained(folder: Path, size: int) -> str:
    """Trains a run on rows of 20 numbers of 5 classes, and returns its folder."""
    random = np.random.default_rng(0)
    y = np.arange(size) % 5
    x = (random.normal(size=(size, 20)) + y[:, None] * np.linspace(0, 0.3, 20)).astype("float32")
    np.savez(folder / "rows.npz", x=x, y=y)
    (folder / "evaluation.yaml").write_text(SPEC, encoding="utf-8")
    training = run([*DLCLI, "train", "--quiet", str(folder / "evaluation.yaml"), "--runs", str(folder / "runs")])
    return training.output.strip()


if __name__ == "__main__":
    sys.exit(main())
