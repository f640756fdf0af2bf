"""How evenly the order of an epoch mixes the classes, beside NumPy's permutation: a table in Markdown on stdout.

Labels are sorted, as in a source that lists one class after another. A perfect shuffle gives batches whose class counts have
a chi-squared statistic near its degrees of freedom; `worst` is the largest ratio of the two over all epochs and seeds.

    python benchmarks/shuffle.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from dlcli.runtime.engine import tf
from dlcli.runtime.stream import epoch_order

Array = np.ndarray[Any, Any]
Order = Callable[[int, int, int], Array]
SEEDS = (0, 1, 2, 42, 256, 257, 512, 2**31 - 1)
SIZES = (50, 210, 1_000, 5_000, 20_000)
BATCH = 16


def numpy_order(seed: int, epoch: int, examples: int) -> Array:
    """Returns NumPy's permutation."""
    return np.random.default_rng([seed, epoch]).permutation(examples)


def first_order(seed: int, epoch: int, examples: int) -> Array:
    """Returns the order of runs of revision 1."""
    key = tf.constant([seed, epoch], tf.uint32)
    places = tf.range(examples, dtype=tf.int64)
    return np.asarray(tf.random.experimental.index_shuffle(places, key, tf.constant(examples - 1, tf.int64)))


def unevenness(order: Array, classes: int, batch: int = BATCH) -> float:
    """Returns chi-squared by its degrees of freedom, of the class counts in the batches of an order; labels are sorted.

    The divisor of the exact variance of counts without replacement is n - 1 and not n, which matters for small n alone.
    """
    examples = len(order)
    labels, batches = order * classes // examples, np.arange(examples) // batch
    counts = np.bincount(batches * classes + labels, minlength=(batches[-1] + 1) * classes).reshape(-1, classes)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / examples
    return float(((counts - expected) ** 2 / expected).sum() / (batches[-1] * (classes - 1)))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=301, help="epochs of each seed, from the first on (default: 301)")
    parser.add_argument("--classes", type=int, default=2, help="classes, of equal size (default: 2)")
    options = parser.parse_args()
    print("| examples | order | mean | worst | different orders | ms per epoch |")
    print("| --- | --- | --- | --- | --- | --- |")
    for examples in SIZES:
        for name, order in (("dlcli", epoch_order), ("NumPy", numpy_order), ("revision 1", first_order)):
            print(_row(examples, name, order, options.epochs, options.classes), flush=True)


def _row(examples: int, name: str, order: Order, epochs: int, classes: int) -> str:
    started = perf_counter()
    orders = [order(seed, epoch, examples) for seed in SEEDS for epoch in range(epochs)]
    milliseconds = (perf_counter() - started) * 1e3 / len(orders)
    ratios = [unevenness(epoch, classes) for epoch in orders]
    different = len({epoch.tobytes() for epoch in orders})
    return (
        f"| {examples:,} | {name} | {np.mean(ratios):.2f} | {max(ratios):.2f} | {different:,} of {len(orders):,}"
        f" | {milliseconds:.2f} |"
    )


if __name__ == "__main__":
    main()
