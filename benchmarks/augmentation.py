"""Measures what each augmentation costs: python benchmarks/augmentation.py [--rounds 5]

CPU time in microseconds per image, in batches of 32 colour images of 224x224 and 32x32, of the fastest round, and the ratio
to `random_rotation`, the leaf that most policies are made of.
"""

from __future__ import annotations

import argparse
from time import process_time
from typing import Any

import numpy as np

import dlcli.spec.data.data  # noqa: F401  (registers the union)
from dlcli.runtime.engine import tf
from dlcli.runtime.stream import augmented
from dlcli.spec.base import OneOf

BATCH = 32
SIDES = (224, 32)
LEAF = "random_rotation"
FIELDS: dict[str, dict[str, Any]] = {
    "random_rotation": {"factor": 0.1},
    "random_translation": {"height_factor": 0.1, "width_factor": 0.1},
    "random_zoom": {"height_factor": 0.2},
    "random_rescale": {"scale": [0.8, 1.25]},
    "random_padding": {"factor": 0.2},
    "random_shear": {"x_factor": 0.2, "y_factor": 0.2},
    "random_affine": {"rotation_factor": 0.1, "width_factor": 0.1, "height_factor": 0.1, "scale": [0.8, 1.25]},
    "random_brightness": {"factor": 0.2},
    "random_darken": {"factor": 0.5},
    "random_contrast": {"factor": 0.2},
    "illumination_gradient": {"factor": 0.5},
    "random_hue": {"factor": 0.2},
    "random_saturation": {"factor": [0.3, 0.7]},
    "random_color_jitter": {
        "brightness_factor": 0.2,
        "contrast_factor": 0.2,
        "saturation_factor": [0.3, 0.7],
        "hue_factor": 0.1,
    },
    "random_posterization": {"factor": [2, 4]},
    "solarization": {"threshold_factor": [0.2, 0.8]},
    "random_sharpness": {"factor": 1.0},
    "gaussian_noise": {"stddev": 10.0},
    "salt_and_pepper": {"factor": 0.05},
}


def main() -> None:
    """Prints a table of all kinds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    union = OneOf.registry["Augmentation"]
    kinds = [kind for kind, member in union.kinds.items() if getattr(member, "inputs", "") == "images"]
    costs = {side: _costs(side, kinds, rounds) for side in SIDES}
    print(f"| kind | {' | '.join(f'{side}x{side}, µs | of {LEAF}' for side in SIDES)} |")
    print("| --- |" + " --- |" * 2 * len(SIDES))
    for kind in kinds:
        cells = " | ".join(f"{costs[side][kind]:,.0f} | {costs[side][kind] / costs[side][LEAF]:.2f}" for side in SIDES)
        print(f"| `{kind}` | {cells} |")


def _costs(side: int, kinds: list[str], rounds: int) -> dict[str, float]:
    """Returns microseconds of CPU time per image of each kind; rounds are taken in turns."""
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (BATCH, side, side, 3)).astype("uint8"))
    functions = {kind: _function(kind, side) for kind in kinds}
    for function in functions.values():
        function(images, tf.constant(0, tf.int64))  # traces the graph
    best = dict.fromkeys(kinds, float("inf"))
    for step in range(1, rounds + 1):
        for kind, function in functions.items():
            began = process_time()
            function(images, tf.constant(step, tf.int64))
            best[kind] = min(best[kind], process_time() - began)
    return {kind: seconds / BATCH * 1e6 for kind, seconds in best.items()}


def _function(kind: str, side: int) -> Any:
    size = {"height": side * 7 // 8, "width": side * 7 // 8} if kind == "random_crop" else {}
    spec = OneOf.registry["Augmentation"].validate({"kind": kind} | FIELDS.get(kind, {}) | size)
    return tf.function(lambda images, step: augmented(images, [spec], 0, step), autograph=False)


if __name__ == "__main__":
    main()
