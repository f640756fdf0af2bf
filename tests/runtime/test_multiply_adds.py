"""Multiply-adds of Keras models of every form."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from dlcli.runtime.multiply_adds import model_multiply_adds

DENSE, OUTPUT = 3 * 5, 5 * 2


def layers() -> list[Any]:
    return [keras.layers.Dense(5), keras.layers.BatchNormalization(), keras.layers.Dense(2)]


def test_a_sequential_model_counts_as_a_functional_one_also_inside_another() -> None:
    sequential = keras.Sequential([keras.Input((3,)), *layers()])
    entry = keras.Input((3,))
    functional = keras.Model(entry, keras.layers.Dense(4)(sequential(entry)))
    assert model_multiply_adds(sequential) == DENSE + OUTPUT
    assert model_multiply_adds(functional) == DENSE + OUTPUT + 2 * 4


def test_convolutions_count_each_position_and_groups_a_part_of_the_channels() -> None:
    entry = keras.Input((6, 6, 4))
    grouped = keras.layers.Conv2D(8, 3, groups=2)(entry)
    model = keras.Model(entry, keras.layers.Conv2DTranspose(1, 2)(grouped))
    assert model_multiply_adds(model) == 4 * 4 * 8 * 9 * 2 + 4 * 4 * 8 * 4


class OwnCall(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


@pytest.mark.parametrize(
    "model",
    [
        OwnCall(),
        keras.Sequential([keras.layers.Dense(2)]),
        keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(2)]),
        keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(2)]),
    ],
    ids=["own call", "not built", "recurrent", "unknown steps"],
)
def test_what_is_not_known_is_not_guessed(model: Any) -> None:
    assert model_multiply_adds(model) is None
