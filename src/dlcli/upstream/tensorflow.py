"""Workarounds for TensorFlow; `tests/upstream/test_tensorflow.py` says when one may go."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any
from uuid import uuid4


def steady_options() -> Any:
    """Returns the options of every `tf.data` dataset of dlcli: fixed order and parallelism, no autotuner.

    Closing an iterator waits for the autotuner's thread, up to 41 s at random (TensorFlow 2.21, `OptimizeLoop` in
    github.com/tensorflow/tensorflow `tensorflow/core/framework/model.cc`).
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return options


def order_sums() -> None:
    """Makes all later graphs add three or more tensors in a fixed order, so that a second training gives the same bits.

    The operation `AddN` writes its sum into the first input that no other operation reads any more, and starts the sum with
    it: the order depends on when threads finish (TensorFlow 2.21, github.com/tensorflow/tensorflow
    `tensorflow/core/kernels/aggregate_ops.cc`), even with `enable_op_determinism`. Gradients of a tensor with three readers
    are such sums; here they are added two at a time. The arithmetic optimizer of graphs would turn chains of additions into
    `AddN` again, so it is switched off.
    """
    import tensorflow as tf
    from tensorflow.python.ops import gen_math_ops

    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    add_n = gen_math_ops.add_n

    def add_in_order(inputs: Any, name: str | None = None) -> Any:
        if len(inputs) < 3 or inputs[0].dtype == tf.variant:
            return add_n(inputs, name)
        return reduce(gen_math_ops.add_v2, inputs)

    gen_math_ops.add_n = add_in_order


class WaitingTime:
    """The time that consumers of datasets have waited for their elements, measured by `tf.data` itself.

    TensorFlow has the operations of these statistics, but no class for them since `tf.data.experimental.StatsAggregator` was
    removed. A measurement takes 10 to 20 microseconds for each element; clocks in functions of a dataset take 150.
    """

    def __init__(self) -> None:
        import tensorflow as tf

        with tf.device("CPU:0"):
            # All handles without a name are the same one, also in eager mode.
            self._statistics = tf.raw_ops.StatsAggregatorHandle(container="", shared_name=f"dlcli-{uuid4().hex}")

    def measured(self, dataset: Any) -> Any:
        """Returns a dataset with the same elements, for each of which the time until it arrives is counted."""
        import tensorflow as tf

        specs = tf.nest.flatten(dataset.element_spec)
        types = {"output_types": [spec.dtype for spec in specs], "output_shapes": [spec.shape for spec in specs]}
        with tf.device("CPU:0"):
            variant = tf.data.experimental.to_variant(dataset)
            variant = tf.raw_ops.LatencyStatsDataset(input_dataset=variant, tag=_WAITING, **types)
            variant = tf.raw_ops.SetStatsAggregatorDataset(
                input_dataset=variant, stats_aggregator=self._statistics, tag="", counter_prefix="", **types
            )
        return tf.data.experimental.from_variant(variant, dataset.element_spec)

    def total(self) -> tuple[int, float]:
        """Returns the number of elements so far, and the seconds that their consumers have waited for them."""
        import tensorflow as tf

        content = tf.raw_ops.StatsAggregatorSummary(iterator=self._statistics).numpy()
        values = tf.compat.v1.Summary.FromString(content).value
        histogram = next((value.histo for value in values if value.tag == _WAITING), None)
        return (0, 0.0) if histogram is None else (int(histogram.num), histogram.sum / 1e6)


_WAITING = "waiting"


def read_spaces(file: Path) -> Any:
    """Returns the content of a `*.xplane.pb` file of TensorFlow's profiler.

    The class of its content is no public name of TensorFlow; the public reader is a separate package (`xprof`).
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    return xplane_pb2.XSpace.FromString(file.read_bytes())
