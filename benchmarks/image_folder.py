"""Compares the training on a folder of images with `keras.utils.image_dataset_from_directory`: images in a second.

    python benchmarks/image_folder.py FOLDER [--rounds 3]

FOLDER has a folder for each class. All train the same tiny network, so that reading images takes most of the time, in their own
processes, one after the other in every round. The first epoch is not counted. The table goes to stdout, every single
measurement to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

BATCH, SIZE = 32, 128
METHODS = {
    "keras": "`image_dataset_from_directory`, decoding in each epoch",
    "keras_average": "the same pipeline, resizing with `antialias=True`",
    "dlcli": "dlcli, decoding in each epoch, no pixels in memory",
    "dlcli_half": "dlcli, pixels of half of the images in memory",
    "keras_cache": "`image_dataset_from_directory` with `.cache()`",
    "dlcli_memory": "dlcli, pixels in memory (its default if they fit)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all methods in alternation and prints the table."""
    options = parser().parse_args(arguments)
    if options.method:
        print(json.dumps(measure(options.method, options.folder, options.epochs)))
        return 0
    rounds: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for number in range(options.rounds):
        for method, results in rounds.items():
            results.append(run(method, options))
            print(f"round {number + 1} {method}: {results[-1]}", file=sys.stderr, flush=True)
    print("\n".join(table(rounds)))
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("folder", type=Path, help="a folder for each class")
    result.add_argument("--rounds", type=int, default=3, help="times each is run (default 3)")
    result.add_argument("--epochs", type=int, default=8, help="epochs of a training, the first of which is not counted")
    result.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    return result


def run(method: str, options: argparse.Namespace) -> dict[str, float]:
    """Measures a method in a process of its own: images in a second, and CPU milliseconds for an image."""
    command = [sys.executable, __file__, str(options.folder), "--method", method, "--epochs", str(options.epochs)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(f"{method} ended with {process.returncode}:\n{process.stderr}")
    result: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return result


class Clock:
    """The times at the ends of epochs: wall and CPU seconds."""

    def __init__(self) -> None:
        self.walls, self.cpus = list[float](), list[float]()

    def tick(self) -> None:
        """Notes the time."""
        self.walls.append(time.perf_counter())
        self.cpus.append(time.process_time())

    def result(self, images: int) -> dict[str, float]:
        """Returns the rate and the CPU time of an image, medians of the epochs after the first."""
        wall, cpu = (median(end - begin for begin, end in pairwise(times)) for times in (self.walls, self.cpus))
        return {"images_per_second": round(images / wall, 1), "cpu_ms": round(1000 * cpu / images, 3)}


def measure(method: str, folder: Path, epochs: int) -> dict[str, float]:
    """Trains in this process."""
    clock = Clock()
    images = sum(len(names) for _, _, names in os.walk(folder))
    if method.startswith("keras"):
        train_keras(folder, epochs, clock, method)
    else:
        share = {"dlcli": 0.0, "dlcli_half": 0.5, "dlcli_memory": 1.0}[method]
        train_dlcli(folder, epochs, clock, kept=int(share * images))
    return clock.result(images)


def averaged(folder: Path) -> Any:
    """Returns the batches of `image_dataset_from_directory`, resized with averages over all pixels, as dlcli does it."""
    import tensorflow as tf

    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    labels = {str(path): label for label, name in enumerate(names) for path in sorted((folder / name).iterdir())}

    def image(path: Any) -> Any:
        pixels = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        return tf.ensure_shape(tf.image.resize(pixels, (SIZE, SIZE), antialias=True), (SIZE, SIZE, 3))

    data = tf.data.Dataset.from_tensor_slices((list(labels), list(labels.values()))).shuffle(len(labels), seed=0)
    data = data.map(lambda path, label: (image(path), label), num_parallel_calls=tf.data.AUTOTUNE)
    return data.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def train_keras(folder: Path, epochs: int, clock: Clock, method: str) -> None:
    """Trains as in the documentation of Keras."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import keras

    classes = sum(path.is_dir() for path in folder.iterdir())
    if method == "keras_average":
        data = averaged(folder)
    else:
        data = keras.utils.image_dataset_from_directory(folder, image_size=(SIZE, SIZE), batch_size=BATCH, seed=0)
    if method == "keras_cache":
        data = data.cache().prefetch(4)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, strides=4, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    ticks = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: clock.tick())
    model.fit(data, epochs=epochs, verbose=0, callbacks=[ticks])


def limit_memory(kept: int) -> None:
    """Lets dlcli keep the pixels of a number of images in memory."""
    import dlcli.data.pixels
    from dlcli.runtime import free_memory, pixel_cache

    pixel_cache.BLOCK_BYTES = image_bytes = SIZE * SIZE * 3
    grants = iter(range(kept))
    dlcli.data.pixels.fits_in_memory = lambda size, _: size <= kept * image_bytes
    free_memory.MemoryShare.grant = lambda *_: next(grants, None) is not None  # type: ignore[method-assign]


def train_dlcli(folder: Path, epochs: int, clock: Clock, *, kept: int) -> None:
    """Trains the same network with dlcli, which keeps the pixels of `kept` images in memory."""
    from dlcli.runs.reporter import EpochReport, Reporter

    class Ticks(Reporter):
        """Notes the end of every epoch."""

        def epoch_finished(self, report: EpochReport) -> None:
            """Notes the time."""
            clock.tick()

    import dlcli

    limit_memory(kept)
    convolution = {"kind": "conv2d", "filters": 4, "kernel_size": 3, "strides": 4, "activation": "relu"}
    data = {
        "source": {"kind": "folder", "path": str(folder.absolute())},
        "image": {"size": [SIZE, SIZE]},
        "batch_size": BATCH,
        "split": {"validation": 0, "test": 0.002},
    }
    spec: dict[str, Any] = {
        "name": "folder",
        "task": "classification",
        "data": data,
        "model": {"kind": "cnn", "layers": [convolution, "global_average_pooling2d"]},
        "training": {"epochs": epochs},
    }
    with tempfile.TemporaryDirectory() as runs:
        dlcli.train(spec, runs=runs, reporter=Ticks(), offline=True)


def table(rounds: dict[str, list[dict[str, float]]]) -> list[str]:
    """Returns the medians of all methods as Markdown, and the ratios of their rates."""
    lines = ["| | images/s | CPU, ms per image |", "| --- | --- | --- |"]
    rates = {method: [result["images_per_second"] for result in results] for method, results in rounds.items()}
    for method, words in METHODS.items():
        middle, least, most = (f"{pick(rates[method]):,.0f}" for pick in (median, min, max))
        cpu = median(result["cpu_ms"] for result in rounds[method])
        lines.append(f"| {words} | {middle} ({least} - {most}) | {cpu:.2f} |")
    pairs = (("dlcli", "keras"), ("dlcli", "keras_average"), ("dlcli_half", "keras"), ("dlcli_memory", "keras_cache"))
    ratios = ["", "| rate of | to that of | median of the rounds |", "| --- | --- | --- |"]
    for ours, theirs in pairs:
        ratio = median(own / other for own, other in zip(rates[ours], rates[theirs], strict=True))
        ratios.append(f"| {METHODS[ours]} | {METHODS[theirs]} | {ratio:.2f} |")
    return [*lines, *ratios]


if __name__ == "__main__":
    raise SystemExit(main())
