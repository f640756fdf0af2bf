"""Measures training steps in bfloat16 against float32: python benchmarks/half_steps.py [--only mnist ...] [--rounds 3].

The layers are those that dlcli computes in bfloat16; `everything` is Keras's policy `mixed_bfloat16` for all layers. The two
precisions take turns on one batch of random numbers; the least CPU time of a step counts. Prints a Markdown table, whose
second and third column are what `hardware.precision: auto` decides by.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import numpy as np
import tensorflow as tf
from measuring import heading, markdown

from dlcli.runtime.layers import single_layers
from dlcli.runtime.precision import HALF, half_layers, half_work, use_half

layers = keras.layers
MODES = ("float32", "bfloat16", "everything")


@dataclass(frozen=True)
class Case:
    """A network to measure: its description, the function that builds its features, its input, and a batch."""

    words: str
    features: Callable[[Any], Any]
    shape: tuple[int, ...]
    batch: int


def chain(*stack: Any) -> Callable[[Any], Any]:
    """Returns a function that applies new layers of these settings one after the other."""

    def apply(tensor: Any) -> Any:
        for layer in stack:
            settings = {key: value for key, value in layer.get_config().items() if key not in ("name", "dtype")}
            tensor = type(layer).from_config(settings)(tensor)
        return tensor

    return apply


def convolution(filters: int, size: int = 3, *, normalised: bool = False, padding: str = "same") -> list[Any]:
    """Returns a convolution with ReLU, with or without BatchNorm between them."""
    if not normalised:
        return [layers.Conv2D(filters, size, padding=padding, activation="relu")]
    return [layers.Conv2D(filters, size, padding=padding, use_bias=False), layers.BatchNormalization(), layers.ReLU()]


def unet(tensor: Any) -> Any:
    """Returns the features of a U-Net of depth 3 with 16 to 128 filters and BatchNorm, averaged over the image."""
    skips = []
    for depth in range(3):
        tensor = chain(*convolution(16 * 2**depth, normalised=True) * 2)(tensor)
        skips.append(tensor)
        tensor = layers.MaxPooling2D()(tensor)
    tensor = chain(*convolution(128, normalised=True) * 2)(tensor)
    for depth in (2, 1, 0):
        tensor = layers.Conv2DTranspose(16 * 2**depth, 2, strides=2)(tensor)
        tensor = layers.Concatenate()([tensor, skips[depth]])
        tensor = chain(*convolution(16 * 2**depth, normalised=True) * 2)(tensor)
    return layers.GlobalAveragePooling2D()(tensor)


def application(name: str) -> Callable[[Any], Any]:
    """Returns a function to the averaged features of a network of `keras.applications`."""
    return lambda tensor: (
        getattr(keras.applications, name)(weights=None, include_top=False, pooling="avg", input_tensor=tensor).output
    )


POOL, AVERAGE, FLAT = layers.MaxPooling2D(), layers.GlobalAveragePooling2D(), layers.Flatten()
MNIST = [*convolution(32, padding="valid"), POOL, *convolution(64, padding="valid"), POOL, FLAT, layers.Dropout(0.5)]
LENET = [*convolution(6, 5, padding="valid"), POOL, *convolution(16, 5, padding="valid"), POOL, FLAT]
CASES = {
    "digits": Case(
        "CNN of 16 and 32 filters on 8x8",
        chain(*convolution(16), POOL, *convolution(32), FLAT, layers.Dense(64, "relu")),
        (8, 8, 1),
        32,
    ),
    "mlp256": Case("MLP 256-128 on 784 numbers", chain(layers.Dense(256, "relu"), layers.Dense(128, "relu")), (784,), 128),
    "lenet": Case("LeNet-5", chain(*LENET, layers.Dense(120, "relu"), layers.Dense(84, "relu")), (32, 32, 1), 128),
    "mlp1024": Case("MLP 1024-1024 on 784 numbers", chain(layers.Dense(1024, "relu"), layers.Dense(1024, "relu")), (784,), 128),
    "mnist": Case("keras.io's MNIST convnet", chain(*MNIST), (28, 28, 1), 128),
    "batchnorm16": Case(
        "4 convolutions of 16 with BatchNorm", chain(*convolution(16, normalised=True) * 4, AVERAGE), (32, 32, 3), 64
    ),
    "batchnorm32": Case(
        "3 convolutions of 32 with BatchNorm", chain(*convolution(32, normalised=True) * 3, AVERAGE), (32, 32, 3), 64
    ),
    "unet": Case("U-Net of 16 filters with BatchNorm", unet, (96, 128, 3), 8),
    "resnet50": Case("ResNet-50", application("ResNet50"), (96, 96, 3), 16),
    "conv4": Case(
        "4 convolutions of 64 and 128",
        chain(*convolution(64) * 2, POOL, *convolution(128) * 2, AVERAGE),
        (32, 32, 3),
        128,
    ),
    "mobilenet": Case("MobileNetV2", application("MobileNetV2"), (96, 96, 3), 32),
}


def model_of(case: Case, mode: str) -> Any:
    """Returns the compiled network in one precision; its output layer is float32."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(HALF if mode == "everything" else "float32")
    entry = keras.Input(case.shape, dtype="float32")
    output = layers.Dense(10, activation="softmax", dtype="float32")(case.features(entry))
    model = keras.Model(entry, output)
    keras.config.set_dtype_policy("float32")
    if mode == "bfloat16":
        use_half(half_layers(single_layers(model)))
    model.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=4)
    return model


def row(case: Case, rounds: int) -> list[str]:
    """Returns the row of one network."""
    random = np.random.default_rng(0)
    x = random.random((case.batch, *case.shape), dtype="float32")
    batches = tf.data.Dataset.from_tensors((x, random.integers(0, 10, case.batch))).cache().repeat(4)
    models = {mode: model_of(case, mode) for mode in MODES}
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(rounds + 1):
        for mode, model in models.items():
            began = process_time()
            model.fit(batches, epochs=1, verbose=0)
            seconds[mode] += [(process_time() - began) / 4] if number else []  # the first call compiles
    least = {mode: min(times) for mode, times in seconds.items()}
    work = half_work(models["float32"], half_layers(single_layers(models["float32"])))
    ratios = [f"{least[mode] / least['float32']:.2f}" for mode in MODES[1:]]
    return [
        f"{case.words}, {case.batch}",
        f"{work.multiply_adds * case.batch / 1e6:,.0f}",
        f"{work.density:,.0f}",
        f"{1e3 * least['float32']:,.1f}",
        *ratios,
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the networks and prints a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured (default 3)")
    options = parser.parse_args(arguments)
    print(f"{heading('python benchmarks/half_steps.py')}\n")
    title = [
        "network, batch",
        "million multiply-adds a step",
        "per converted number",
        "float32, ms of CPU",
        "bfloat16",
        "everything",
    ]
    print("\n".join(markdown([title])), flush=True)
    for name in options.only:
        print(markdown([row(CASES[name], options.rounds)])[0], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
