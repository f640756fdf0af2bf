"""Measures whether training in bfloat16 costs accuracy: python benchmarks/precision.py [--seeds 5] [--only digits ...].

Every model is trained in both precisions with each seed, whatever `hardware.precision: auto` would choose, and its saved
float32 model is scored on the test split. `difference` is the mean over the seeds of bfloat16 minus float32, with its 95 %
interval (Student's t over the pairs). Needs `DLCLI_TEST_DATA` and, for MNIST, `TFDS_DATA_DIR`; prints a Markdown table as kept
in docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import dlcli

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class Case:
    """A model to train: its description, its spec, its metric, and settings that replace those of the spec."""

    words: str
    spec: str
    metric: str
    settings: dict[str, Any] = field(default_factory=dict)


def cases(data: Path) -> dict[str, Case]:
    """Returns the models by name; `data` is the folder of the test data."""
    convolutions = [{"kind": "conv2d", "filters": 32, "kernel_size": 3, "activation": "relu", "padding": "same"}]
    layers = [*convolutions, {"kind": "max_pooling2d", "pool_size": 2}, convolutions[0] | {"filters": 64}]
    cifar = {
        "data.source": {"kind": "folder", "path": str(data / "images" / "cifar10_subset")},
        "data.split": {"validation": 0.15},
        "data.augment": [],
        "data.image": {"size": [32, 32]},
        "data.normalize": "auto",
        "model": {
            "kind": "cnn",
            "layers": [*layers, {"kind": "max_pooling2d", "pool_size": 2}, "flatten", {"kind": "dropout", "rate": 0.5}],
        },
        "training.epochs": 20,
        "training.optimizer": {"kind": "adam", "learning_rate": 1e-3},
        "training.metrics": ["accuracy"],
    }
    os.environ["ANTS_BEES"] = str(data / "images" / "ants_bees")
    os.environ["MOBILENET_WEIGHTS"] = str(data / "weights" / "mobilenet_2_5_224_tf_no_top.h5")
    wide = {"model": {"kind": "mlp", "units": [512, 512], "activation": "relu"}, "training.epochs": 60}
    return {
        "digits": Case("digits, CNN, 20 epochs", "digits_cnn", "accuracy", {"training.epochs": 20}),
        "mnist": Case("MNIST, CNN, 3 epochs", "mnist_cnn", "accuracy", {"training.epochs": 3}),
        "cifar10": Case("1,500 images of CIFAR-10, CNN, 20 epochs", "cifar10_cnn", "accuracy", cifar),
        "ants_bees": Case("ants and bees, MobileNet in two stages", "ants_bees_mobilenet", "accuracy"),
        "table": Case("breast cancer, MLP of 2 x 512, 60 epochs", "breast_cancer_mlp", "loss", wide),
        "regression": Case("diabetes, MLP of 2 x 512, 60 epochs", "diabetes_mlp", "rmse", wide),
    }


def score(case: Case, precision: str, seed: int, runs: Path) -> float:
    """Returns the test score of one training."""
    settings = {**case.settings, "hardware.precision": precision, "hardware.device": "cpu", "seed": seed}
    run = dlcli.train(CONFIGS / f"{case.spec}.yaml", set=settings, runs=runs)
    return float(run.metrics()[case.metric])


def row(case: Case, seeds: int, runs: Path) -> str:
    """Returns the row of the table for one model."""
    from scipy.stats import t

    scores = {precision: [score(case, precision, seed, runs) for seed in range(seeds)] for precision in PRECISIONS}
    differences = [half - full for full, half in zip(scores["float32"], scores["mixed_bfloat16"], strict=True)]
    width = float(t.ppf(0.975, seeds - 1)) * stdev(differences) / seeds**0.5
    cells = [f"{fmean(values):.4f} ± {stdev(values):.4f}" for values in scores.values()]
    mean = fmean(differences)
    return (
        f"| {case.words} | {case.metric} | {cells[0]} | {cells[1]} | {mean:+.4f} ({mean - width:+.4f} to {mean + width:+.4f}) |"
    )


def main(arguments: Sequence[str]) -> int:
    """Trains and prints a row for each model."""
    data = Path(os.environ["DLCLI_TEST_DATA"])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=sorted(cases(data)), default=list(cases(data)))
    chosen = parser.parse_args(arguments)
    print("| model | metric | float32 | bfloat16 | difference |\n| --- | --- | --- | --- | --- |", flush=True)
    for name in chosen.only:
        with tempfile.TemporaryDirectory() as runs:
            print(row(cases(data)[name], chosen.seeds, Path(runs)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
