"""Each workaround of `upstream/tensorflow.py` against its defect: a test of the defect fails once it is fixed upstream."""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf

from dlcli.upstream.tensorflow import WaitingTime, steady_options


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
