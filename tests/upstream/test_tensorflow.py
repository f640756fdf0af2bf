"""Each workaround of `upstream/tensorflow.py` against its defect: a test of the defect fails once it is fixed upstream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import gen_math_ops

from dlcli.upstream.tensorflow import WaitingTime, order_sums, steady_options


def test_steady_options_leave_nothing_to_the_autotuner() -> None:
    options = steady_options()
    assert options.autotune.enabled is False
    assert options.deterministic is True


def test_tensorflow_has_no_class_for_the_statistics_of_datasets() -> None:
    assert not hasattr(tf.data.experimental, "StatsAggregator"), "upstream/tensorflow.py may use it"


def test_the_time_that_a_consumer_waits_is_measured_for_each_dataset_alone() -> None:
    def slow(element: Any) -> Any:
        time.sleep(0.02)
        return element

    def slow_dataset(count: int) -> Any:
        return tf.data.Dataset.range(count).map(lambda number: tf.ensure_shape(tf.numpy_function(slow, [number], "int64"), ()))

    first, second = WaitingTime(), WaitingTime()
    assert list(first.measured(slow_dataset(5)).as_numpy_iterator()) == [0, 1, 2, 3, 4]
    count, seconds = first.total()
    assert count in (5, 6), "the end may count as an element"
    assert 0.1 <= seconds < 60, "in seconds, whatever the machine does meanwhile"
    assert second.total() == (0, 0.0)


def test_the_content_of_profiles_has_no_public_class() -> None:
    assert not hasattr(tf.profiler.experimental, "XSpace"), "upstream/tensorflow.py may use it"


def sum_beside_readers(add: Callable[[list[Any]], Any]) -> Callable[[], bytes]:
    """Returns a function that gives the bits of a sum of three tensors, of which two are read by slower operations too."""
    values = tf.constant(np.random.default_rng(0).normal(size=(64, 64)).astype("float32"))

    @tf.function
    def total() -> Any:
        first, second, third = tf.sin(values), tf.cos(values), tf.tanh(values)
        return add([first, second, third]), first @ values, second @ values

    return lambda: total()[0].numpy().tobytes()


def test_the_order_of_a_sum_of_three_tensors_depends_on_when_other_readers_finish() -> None:
    total = sum_beside_readers(lambda tensors: tf.raw_ops.AddN(inputs=tensors))
    first = total()
    assert any(total() != first for _ in range(20_000)), "`order_sums` of upstream/tensorflow.py is not needed any more"


def test_ordered_sums_have_the_same_bits_each_time() -> None:
    order_sums()
    total = sum_beside_readers(gen_math_ops.add_n)
    assert {total() for _ in range(1_000)} == {total()}
    graph = tf.function(lambda: gen_math_ops.add_n([tf.ones(3)] * 3)).get_concrete_function().graph
    assert "AddN" not in {operation.type for operation in graph.get_operations()}
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False


def test_gradients_of_a_tensor_with_three_readers_are_added_in_order() -> None:
    order_sums()

    @tf.function
    def gradient(values: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = tf.reduce_sum(tf.sin(values) * tf.cos(values) * tf.tanh(values))
        return tape.gradient(loss, values)

    graph = gradient.get_concrete_function(tf.TensorSpec([3])).graph
    assert "AddN" not in {operation.type for operation in graph.get_operations()}
    x = np.array([0.1, 1.0, -2.0])
    expected = np.cos(2 * x) * np.tanh(x) + np.sin(x) * np.cos(x) / np.cosh(x) ** 2
    np.testing.assert_allclose(gradient(tf.constant(x, tf.float32)), expected, rtol=1e-5)
