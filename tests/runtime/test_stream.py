"""The order of the examples in an epoch, and the random draws of augmentations."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, ks_2samp, kstest

from dlcli.runtime.engine import keras, tf
from dlcli.runtime.inputs import Arrays
from dlcli.runtime.stream import StepSeed, TrainingStream, epoch_order

Array = np.ndarray[Any, Any]
SEEDS = (0, 1, 2, 42, 256, 257, 512, 2**31 - 1)
EPOCHS = range(301)
BATCH = 16


def _unevenness(order: Array) -> float:
    """Returns chi-squared per degree of freedom for two sorted classes in batches of 16; near 1 if perfectly shuffled."""
    labels, batches = order * 2 // len(order), np.arange(len(order)) // BATCH
    counts = np.bincount(batches * 2 + labels, minlength=2 * (batches[-1] + 1)).reshape(-1, 2)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(order)
    return float(((counts - expected) ** 2 / expected).sum() / batches[-1])


@pytest.mark.parametrize("examples", [50, 244, 2_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_every_epoch_is_shuffled_as_evenly_as_by_numpy(examples: int) -> None:
    ours, numpys, different = [], [], set()
    for seed, epoch in product(SEEDS, EPOCHS):
        order = epoch_order(seed, epoch, examples)
        different.add(order.tobytes())
        ours.append(_unevenness(order))
        numpys.append(_unevenness(np.random.default_rng([seed, epoch]).permutation(examples)))
    assert len(different) == len(SEEDS) * len(EPOCHS)
    assert (np.sort(epoch_order(0, 12, examples)) == np.arange(examples)).all()
    freedom = -(-examples // BATCH) - 1
    # As large as the largest of 2,408 perfect shuffles is in one of 1,000 such tests.
    assert max(ours) < chi2.isf(1e-3 / len(ours), freedom) / freedom
    assert ks_2samp(ours, numpys).pvalue > 1e-3


def _orders(stream: TrainingStream, epoch: int, first: int = 0) -> list[int]:
    return [int(index) for rows, _ in stream.batches(epoch, first) for index in rows[:, 0]]


def _stream(examples: int, seed: int = 0, **more: Any) -> TrainingStream:
    return TrainingStream(
        Arrays(np.arange(examples)), lambda indices: indices, examples=examples, batch_size=4, seed=seed, **more
    )


def test_a_stream_reads_each_epoch_in_its_order_from_any_step_on() -> None:
    stream = _stream(10)
    assert [int(index) for index in stream.first_batch()[1]] == list(epoch_order(0, 0, 10)[:4])
    for epoch in (0, 12, 256):
        assert _orders(stream, epoch) == list(epoch_order(0, epoch, 10))
        assert _orders(stream, epoch, 1) == list(epoch_order(0, epoch, 10)[4:])


def test_the_order_of_examples_is_the_same_in_every_version() -> None:
    """Resumed runs depend on it; resumed runs of revision 1 have the order of their version."""
    assert list(epoch_order(0, 0, 10)) == [4, 1, 0, 7, 5, 2, 9, 6, 8, 3]
    assert list(epoch_order(7, 3, 10)) == [3, 6, 8, 5, 7, 9, 2, 0, 1, 4]
    earlier = _stream(10, seed=7, first_order=True)
    assert _orders(earlier, 0) == [7, 6, 3, 8, 4, 0, 1, 2, 5, 9]
    assert _orders(earlier, 3) == [0, 2, 7, 3, 6, 9, 5, 1, 4, 8]
    assert _orders(earlier, 12) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_no_two_augmentations_draw_from_the_same_seed() -> None:
    """Keras reduces a seed modulo 2**31 - 2."""
    seeds = [StepSeed(run, place, step) for run, place, step in product(SEEDS, range(8), (0, 1, 255, 256, 65_536))]
    keys = {tuple(int(word) % (2**31 - 2) for word in seed.next()) for seed in seeds for _ in range(4)}
    assert len(keys) == 4 * len(seeds)


def test_the_draws_of_augmentations_are_uniform_over_steps_places_and_draws() -> None:
    @tf.function  # type: ignore[untyped-decorator]
    def drawn() -> Any:
        def draws(step: Any) -> Any:
            seeds = [StepSeed(seed, place, step) for seed in (0, 256) for place in range(2)]
            return tf.stack([keras.random.uniform((), seed=seed) for seed in seeds for _ in range(2)])

        return tf.map_fn(draws, tf.range(1_000, dtype=tf.int64), fn_output_signature=tf.float32)

    values = drawn().numpy()
    assert kstest(values.ravel(), "uniform").pvalue > 1e-3
    # Neither columns (seed, place and draw) nor consecutive steps are correlated: correlations of independent draws are normal.
    related = np.corrcoef(values.T)[np.triu_indices(values.shape[1], 1)]
    assert np.abs(related).max() < 4.5 / np.sqrt(len(values))
    following = [np.corrcoef(column[:-1], column[1:])[0, 1] for column in values.T]
    assert np.abs(following).max() < 4.5 / np.sqrt(len(values))
