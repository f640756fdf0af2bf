"""Measures what reading a photo costs, part by part: CPU milliseconds per file of one folder, with Pillow and with TensorFlow.

    python benchmarks/image_parts.py FOLDER [--rounds 9]

All parts are measured in every round, one after the other; the table has the medians. A part of Pillow includes those above it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from dlcli.runtime.image_reader import FORMATS, Settings, read_image

SIZE = (128, 128)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures all parts in alternation and prints the table."""
    options = parser().parse_args(arguments)
    paths = sorted(str(path) for path in options.folder.rglob("*.jp*g"))[: options.files]
    parts = {**pillow_parts(), **tensorflow_parts()}
    rounds: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(options.rounds + 1):
        for name, read in parts.items():
            milliseconds = cpu_of(read, paths)
            if number:  # the first round reads files from the disk and compiles
                rounds[name].append(milliseconds)
    print(f"| {len(paths)} files | CPU, ms per file |\n| --- | --- |")
    print("\n".join(f"| {name} | {median(times):.2f} |" for name, times in rounds.items()))
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("folder", type=Path, help="a folder with JPEG files, at any depth")
    result.add_argument("--rounds", type=int, default=9, help="times each part is run (default 9)")
    result.add_argument("--files", type=int, default=200, help="files of the folder that are read (default 200)")
    return result


def cpu_of(read: Callable[[Sequence[str]], Any], paths: Sequence[str]) -> float:
    """Returns the CPU milliseconds of this process for a file."""
    begin = time.process_time()
    read(paths)
    return 1000 * (time.process_time() - begin) / len(paths)


def each(read: Callable[[str], Any]) -> Callable[[Sequence[str]], None]:
    """Returns a function that reads files one after the other."""

    def read_all(paths: Sequence[str]) -> None:
        for path in paths:
            read(path)

    return read_all


def pillow_parts() -> dict[str, Callable[[Sequence[str]], Any]]:
    """Returns the parts of dlcli's reader by name, each after those above it."""

    def opened(path: str) -> Image.Image:
        file = Image.open(path, formats=FORMATS)
        file.draft(None, (2 * max(SIZE), 2 * max(SIZE)))
        return file

    def decoded(path: str) -> Image.Image:
        with opened(path) as file:
            file.load()
            return file

    def resized(path: str) -> Image.Image:
        return decoded(path).resize(SIZE, Image.Resampling.BILINEAR)

    return {
        "Pillow: open, read the header": each(lambda path: opened(path).close()),
        "... and decode": each(decoded),
        "... and resize, with averages over all pixels": each(resized),
        "... and copy to an array": each(lambda path: np.asarray(resized(path))),
        "dlcli's whole reader": each(lambda path: read_image(path, Settings(size=SIZE))),
    }


def tensorflow_parts() -> dict[str, Callable[[Sequence[str]], Any]]:
    """Returns TensorFlow's decoding alone and with both ways of resizing, in `tf.data` on one thread, by name."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import tensorflow as tf

    from dlcli.upstream.tensorflow import steady_options

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    def function(resize: Callable[[Any], Any], method: str = "") -> Callable[[Sequence[str]], None]:
        def corner(path: Any) -> Any:  # a whole image would be copied once more
            return resize(tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method=method))[0, 0]

        def read(paths: Sequence[str]) -> None:
            for _ in tf.data.Dataset.from_tensor_slices(list(paths)).map(corner).with_options(steady_options()):
                pass

        return read

    return {
        "TensorFlow: read and decode": function(lambda pixels: pixels),
        "the same, `INTEGER_ACCURATE`: the pixels of Pillow": function(lambda pixels: pixels, "INTEGER_ACCURATE"),
        "TensorFlow: read, decode and resize, without averages": function(lambda pixels: tf.image.resize(pixels, SIZE)),
        "the same with `antialias=True`": function(lambda pixels: tf.image.resize(pixels, SIZE, antialias=True)),
    }


if __name__ == "__main__":
    raise SystemExit(main())
