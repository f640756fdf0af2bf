"""Rows of token numbers in one or two bytes are read as the float32 rows that they stand for."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dlcli.runtime import token_rows as module
from dlcli.runtime.engine import tf
from dlcli.runtime.inputs import Arrays, Inputs
from dlcli.runtime.stream import OrderedStream
from dlcli.runtime.token_rows import TokenRows, token_dtype


def batches(rows: Inputs) -> Iterator[Any]:
    return iter(OrderedStream(rows, examples=10, batch_size=4).dataset.as_numpy_iterator())


def test_the_examples_in_the_documentation() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("tokens", [256, 65_536])
def test_batches_have_the_bits_of_float32_rows(tokens: int) -> None:
    numbers = np.random.default_rng(0).integers(0, tokens, (10, 3)).astype("float32")
    numbers[0, 0] = tokens - 1
    rows, plain = TokenRows(numbers.astype(token_dtype([[""] * tokens]))), Arrays(numbers)
    assert rows.memory_bytes < plain.memory_bytes
    assert rows.gathers
    places = np.array([9, 0, 4])
    for one, other in (
        (rows.read(places), plain.read(places)),
        (rows.take(places).read(np.arange(3)), numbers[places]),
        (tf.function(rows.reader())(tf.constant(places)).numpy(), numbers[places]),
        *zip(*map(batches, (rows, plain)), strict=True),
    ):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other)
