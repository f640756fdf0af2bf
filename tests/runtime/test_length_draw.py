"""Batches of texts of similar length."""

from __future__ import annotations

import numpy as np

from dlcli.runtime.epoch_draw import EpochDraw
from dlcli.runtime.inputs import Arrays
from dlcli.runtime.length_draw import CutRows, LengthDraw, TextPlace
from dlcli.runtime.stream import TrainingStream

LENGTHS = np.random.default_rng(0).integers(0, 40, 1003)


def padded(draw: LengthDraw, epoch: int) -> int:
    """Returns the steps of an epoch if each batch is padded to its longest text."""
    order = draw.order(epoch)
    parts = np.split(order, range(draw.batch_size, len(order), draw.batch_size))
    return sum(len(part) * int(draw.lengths[part].max()) for part in parts)


def test_an_epoch_has_each_text_once_in_an_order_that_seed_and_epoch_decide() -> None:
    draw = LengthDraw(LENGTHS, 8, seed=3)
    assert sorted(draw.order(0).tolist()) == list(range(1003))
    np.testing.assert_array_equal(draw.order(5), LengthDraw(LENGTHS, 8, seed=3).order(5))
    assert draw.order(0).tolist() != draw.order(1).tolist()
    assert draw.order(0).tolist() != LengthDraw(LENGTHS, 8, seed=4).order(0).tolist()


def test_batches_hold_texts_of_similar_length_and_their_neighbours_change() -> None:
    draw = LengthDraw(LENGTHS, 8, seed=0)
    assert padded(draw, 0) < 1.1 * LENGTHS.sum()
    first, second = ({frozenset(part.tolist()) for part in np.split(draw.order(epoch)[:1000], 125)} for epoch in (0, 1))
    assert len(first & second) < 10


def test_the_examples_are_those_of_a_balanced_epoch() -> None:
    balanced = EpochDraw(np.arange(1003) % 2, [100, 7], seed=1)
    draw = LengthDraw(LENGTHS, 8, seed=1, draw=balanced)
    assert len(draw) == 107
    assert sorted(draw.order(2).tolist()) == sorted(balanced.order(2).tolist())


def test_rows_are_cut_to_the_longest_text_of_a_batch_and_keep_the_other_features() -> None:
    rows = np.array([[9, 1, 0, 0, 0, 0, 0], [8, 1, 1, 2, 1, 0, 0], [7, 1, 1, 1, 1, 1, 1]], "float32")  # two columns of texts
    cut = CutRows(Arrays(rows), TextPlace(first=1, columns=2, lengths=[1, 3]))
    assert cut.lengths.tolist() == [1, 2, 3]
    read = cut.reader()
    np.testing.assert_array_equal(read(np.array([0])), rows[:1, :3])
    np.testing.assert_array_equal(read(np.array([0, 1])), rows[:2])
    assert cut.gathers


def test_a_stream_starts_at_any_step_with_the_same_batches() -> None:
    rows = (np.arange(1, 41) <= LENGTHS[:, None]).astype("float32")
    cut = CutRows(Arrays(rows), TextPlace(first=0, columns=1, lengths=range(5, 41, 5)))
    draw = LengthDraw(cut.lengths, 8, seed=0)
    stream = TrainingStream(cut, lambda indices: indices, examples=1003, batch_size=8, seed=0, draw=draw)
    whole = [(batch.numpy(), labels.numpy()) for batch, labels in stream.batches(1)]
    later = [(batch.numpy(), labels.numpy()) for batch, labels in stream.batches(1, first=100)]
    assert len({batch.shape[1] for batch, _ in whole}) > 4
    for (batch, labels), (other, other_labels) in zip(whole[100:], later, strict=True):
        np.testing.assert_array_equal(batch, other)
        np.testing.assert_array_equal(labels, other_labels)
