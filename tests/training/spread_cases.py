"""Trains small specs on one device and on two logical ones in this process, and prints how far their results differ.

A program of its own: the devices must be made before TensorFlow starts. Arguments: names of cases; output: JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from models.test_targets import SOURCE as PRICES
from models.test_targets import save_prices
from trainings import CIRCLES, save_images, trained, write_spec

from dlcli.runs import RunFolder
from dlcli.runtime.device import use_devices
from dlcli.runtime.engine import keras
from dlcli.spec.experiment import Hardware
from training.test_resume import Stopping, gone_on, stopped
from training.test_stages import BODY, IMAGES

DIGITS = "{kind: builtin, name: digits}"
NORMED = (
    "{kind: cnn, layers: [{kind: conv2d, filters: 4, kernel_size: 3}, {kind: batch_normalization},"
    " {kind: activation, activation: tanh}, flatten]}"
)
DROPPED = "{kind: cnn, layers: [flatten, {kind: dropout, rate: 0.5}]}"
SGD = "{kind: sgd, learning_rate: 0.05}"
MOVED = "augment: [{kind: random_translation, height_factor: 0.1, width_factor: 0.1}]"
CASES: dict[str, dict[str, Any]] = {
    "plain": {"data": "batch_size: 17, split: {validation: 0.22}", "training": f"epochs: 3, optimizer: {SGD}"},
    "batch_norm": {
        "source": DIGITS,
        "model": NORMED,
        "data": f"batch_size: 100, {MOVED}",
        "training": f"epochs: 2, optimizer: {SGD}",
    },
    "clipped": {
        "data": "batch_size: 17",
        "training": "epochs: 2, optimizer: {kind: sgd, learning_rate: 0.5, global_clipnorm: 0.05}",
    },
    "accumulated": {
        "data": "batch_size: 17",
        "training": "epochs: 2, optimizer: {kind: adamw, learning_rate: 0.05, gradient_accumulation_steps: 2}",
    },
    "averaged": {
        "data": "batch_size: 17",
        "training": "epochs: 2, optimizer: {kind: sgd, learning_rate: 0.5, use_ema: true, ema_momentum: 0.9}",
    },
    "called_back": {
        "source": CIRCLES,
        "task": "binary",
        "data": "batch_size: 17",
        "training": "epochs: 5, metrics: [accuracy, auc, mcc], optimizer: {kind: adam, learning_rate: 0.05}, callbacks:"
        " [{kind: reduce_lr_on_plateau, patience: 1, min_delta: 10, factor: 0.5},"
        " {kind: early_stopping, patience: 2, min_delta: 10}]",
    },
    "dropped": {"source": DIGITS, "model": DROPPED, "data": "batch_size: 100", "training": f"epochs: 2, optimizer: {SGD}"},
    "half": {
        "data": "batch_size: 17",
        "training": "epochs: 2, optimizer: {kind: sgd, learning_rate: 0.5}",
        "more": "hardware: {precision: mixed_float16}",
    },
}
SPREAD = ("hardware.device=cpu", "hardware.strategy=mirrored", "hardware.devices=2")


def numbers(run: RunFolder) -> list[dict[str, float]]:
    """Returns a run's history without what a clock says."""
    left = ("stage", "seconds", "examples_per_second")
    return [{name: float(value) for name, value in row.items() if name not in left} for row in run.history()]


def weights(run: RunFolder) -> list[Any]:
    """Returns the saved model's weights."""
    return [np.asarray(one, "float64") for one in keras.saving.load_model(run.model_path).weights]


def differences(one: RunFolder, other: RunFolder) -> dict[str, float]:
    """Returns the largest differences of history and weights, and how many epochs the other has."""
    rows = list(zip(numbers(one), numbers(other), strict=True))
    return {
        "epochs": len(rows),
        "history": max(abs(row[name] - again[name]) for row, again in rows for name in row),
        "weights": max(float(np.abs(a - b).max()) for a, b in zip(weights(one), weights(other), strict=True)),
        "moved": max(abs(row["loss"] - rows[0][0]["loss"]) for row, _ in rows),
    }


def left(folder: Path) -> dict[str, float]:
    """Compares a run on two devices with one that was left in the middle of an epoch and went on, with dropout and Adam."""
    training = "epochs: 2, metrics: [accuracy, auc], optimizer: {kind: adam, learning_rate: 0.05}"
    model = "{kind: mlp, units: [8], activation: tanh, dropout: 0.5}"
    spec = write_spec(folder, CIRCLES, task="binary", model=model, data="batch_size: 17", training=training)
    run = stopped(spec, Stopping(step=3), SPREAD)
    gone_on(run)
    return differences(trained(spec, SPREAD), run)


def scaled(folder: Path) -> dict[str, float]:
    """Compares a regression of prices in the hundred thousands; `relative` is the difference of the losses in theirs."""
    save_prices(folder, count=120)
    training = f"epochs: 3, optimizer: {SGD}"
    spec = write_spec(folder, PRICES, task="regression", data="batch_size: 17", training=training)
    one, other = trained(spec, ["hardware.device=cpu"]), trained(spec, SPREAD)
    pairs = zip(numbers(one), numbers(other), strict=True)
    return differences(one, other) | {"relative": max(abs(a["val_loss"] / b["val_loss"] - 1) for a, b in pairs)}


def staged(folder: Path) -> dict[str, Any]:
    """Compares a fine-tuning in two stages; `compared` are the words on what unfreezing gave, from each."""
    save_images(folder / "images.npz", examples=128)
    data = "batch_size: 16, split: {validation: 0.25, test: 0.25}"
    low = trained(write_spec(folder, IMAGES, model=BODY, data=data, training="epochs: 1", name="low"))
    stages = f"[{{name: head, train: head, epochs: 2}}, {{name: top, train: all, epochs: 2, optimizer: {SGD}}}]"
    model = f"{{kind: transfer, backbone: {{kind: run, run: {low.path}}}}}"
    spec = write_spec(folder, IMAGES, model=model, data=data, training=f"stages: {stages}", name="high")
    runs = trained(spec, ["hardware.device=cpu"]), trained(spec, SPREAD)
    return {**differences(*runs), "compared": [run.stages()[1]["compared"] for run in runs]}


FUNCTIONS: dict[str, Callable[[Path], dict[str, Any]]] = {"left": left, "scaled": scaled, "staged": staged}


def main() -> None:
    """Runs the cases."""
    use_devices(Hardware(strategy="mirrored", devices=2, device="cpu"), 0, None)
    found: dict[str, dict[str, Any]] = {}
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            if name in FUNCTIONS:
                found[name] = FUNCTIONS[name](Path(folder))
                continue
            spec = write_spec(Path(folder), **CASES[name])
            found[name] = differences(trained(spec, ["hardware.device=cpu"]), trained(spec, SPREAD))
    sys.stdout.flush()
    os.write(1, json.dumps(found).encode())


if __name__ == "__main__":
    main()
