"""Measures what checkpoints cost: python benchmarks/checkpoints.py [--epochs 40].

Two MLPs on 5,000 rows of 20 numbers train with a checkpoint after every epoch, by dlcli's rule (docs/reliability.md: after an
epoch that is long or the best so far), and without any. Each training has a process of its own, in which the writing is counted
and timed; the best model is saved before a checkpoint, and that counts too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measuring import heading, markdown, run

# No setting of a spec switches checkpoints off, or writes one after every short epoch.
PROGRAM = """
import json, statistics, sys, time
from pathlib import Path
import dlcli
from dlcli.training import checkpoints
from dlcli.training.stage_trainer import StageTrainer

way, spec, epochs, units = sys.argv[1:]
wall, writing, epochs_cpu = [], [], []
write, run_epochs = checkpoints.Checkpoints._write, StageTrainer._run_epochs

def timed(self, state, at):
    if way == "none":
        return
    start, cpu = time.perf_counter(), time.process_time()
    write(self, state, at)
    wall.append(time.perf_counter() - start)
    writing.append(time.process_time() - cpu)

def watched(self, state):
    cpu = time.process_time()
    run_epochs(self, state)
    epochs_cpu.append(time.process_time() - cpu)

checkpoints.Checkpoints._write, StageTrainer._run_epochs = timed, watched
if way == "each":
    checkpoints.PAYS_OFF = 0
run = dlcli.train(spec, runs=Path(spec).parent / "runs", set={"training.epochs": int(epochs), "model.units": json.loads(units)})
median = statistics.median(wall) if wall else 0
print(json.dumps({"writings": len(wall), "median": median, "writing": sum(writing), "all": sum(epochs_cpu)}))
"""
SPEC = """
name: checkpoints
task: binary
data: {source: {kind: npz, path: rows.npz}, batch_size: 64}
model: {kind: mlp, units: [64, 64]}
training: {epochs: 1, callbacks: []}
"""
WAYS = {"each": "after every epoch", "rule": "by the rule", "none": "none"}
NETWORKS = {"[64, 64]": "5,569", "[1024, 1024, 1024]": "2,121,729"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains both networks in every way and prints a row for each training."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40, help="epochs of a training (default 40)")
    epochs: int = parser.parse_args(arguments).epochs
    rows = []
    for units, parameters in NETWORKS.items():
        for way, words in WAYS.items():
            result = train(way, units, epochs)
            print(f"{units} {way}: {result}", file=sys.stderr, flush=True)
            milliseconds = [1e3 * result["median"], 1e3 * result["writing"] / epochs, 1e3 * result["all"] / epochs]
            rows.append([parameters, words, str(result["writings"]), *(f"{value:.1f}" for value in milliseconds)])
    print(heading(f"python benchmarks/checkpoints.py --epochs {epochs}"))
    names = ["parameters", "checkpoints", "written", "one, wall ms", "writing, CPU ms an epoch", "epoch with it, CPU ms"]
    print("\n".join(["", *markdown([names, *rows])]))
    return 0


def train(way: str, units: str, epochs: int) -> dict[str, float]:
    """Trains in a process; returns how many checkpoints were written, the median wall seconds of one, and the CPU seconds of
    writing and of all epochs."""
    random = np.random.default_rng(0)
    x = random.normal(size=(5_000, 20)).astype("float32")
    y = (x[:, :3].sum(axis=1) + random.normal(size=len(x)) > 0).astype("int64")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "rows.npz", x=x, y=y)
        spec = Path(folder) / "checkpoints.yaml"
        spec.write_text(SPEC, encoding="utf-8")
        output = run([sys.executable, "-c", PROGRAM, way, str(spec), str(epochs), units]).output
    result: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    sys.exit(main())
