"""Workarounds for Keras on several devices: under `tf.distribute`, its trainer and optimizers are not used as they are.

Every device holds a whole copy of the model and takes the same step on it; only
gradients, moments of batch normalisation and metrics are summed over devices. What Keras 3.15 does otherwise:

1. The trainer's symbolic build reduces a batch that is spread over devices, and its reduction takes the mean of a scalar
   over axis 0, which ends every `fit` with `MultiWorkerMirroredStrategy` (github.com/keras-team/keras/issues/20585,
   github.com/tensorflow/tensorflow/issues/72388; `src/backend/tensorflow/trainer.py`). dlcli builds the model on a plain
   batch inside the strategy's scope and takes its own steps, below.
2. The optimizer clips each device's gradient before they are summed, and updates variables by a merge call, which
   TensorFlow refuses inside a condition: gradient accumulation and loss scaling fail
   (`src/backend/tensorflow/optimizer.py`).
3. Every device draws the same random numbers, so that dropout has one mask for all shares of a batch
   (`src/random/seed_generator.py`).
4. Each device's batch normalisation sees its own share alone unless the layer was made with `synchronized=True`
   (`src/layers/normalization/batch_normalization.py`).
5. `float(optimizer.learning_rate)` fails for a variable of a strategy (`src/backend/common/variables.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

ShareStep = Callable[[Any, Any, Any, Any], None]
"""A step with a share of a batch: its inputs, its labels, their number, and the part of the batch that they are."""
_APART = 2_654_435_761


@contextmanager
def equal_copies() -> Iterator[None]:
    """Has Keras, inside the block, keep a complete and equal copy of model and optimizer on every device of a strategy.

    Models that are made inside the block and called outside a strategy's scope compute on one device alone.
    """
    from keras.src.backend.tensorflow import core, optimizer, trainer
    from keras.src.callbacks import SwapEMAWeights
    from keras.src.layers import BatchNormalization
    from keras.src.optimizers.base_optimizer import BaseOptimizer
    from keras.src.random.seed_generator import SeedGenerator

    local = ("_backend_update_step", "_apply_weight_decay", "_backend_increment_gradient_accumulators")
    with ExitStack() as stack:

        def put(owner: Any, name: str, value: Any) -> None:
            stack.enter_context(patch.object(owner, name, value))

        for name in (*local, "_overwrite_model_variables_with_average_value"):
            put(optimizer.TFOptimizer, name, getattr(BaseOptimizer, name))
        put(SwapEMAWeights, "_tf_swap_variables", SwapEMAWeights._backend_swap_variables)
        put(core.Variable, "_map_aggregation", _own_copy)
        for kind in (float, int):
            put(core.Variable, f"__{kind.__name__}__", lambda self, kind=kind: kind(self.numpy()))
        put(trainer.TensorFlowTrainer, "distribute_strategy", property(_strategy_of_the_scope))
        put(SeedGenerator, "next", _apart(SeedGenerator.next))
        put(BatchNormalization, "_moments", _over_all(BatchNormalization._moments))
        yield


def _own_copy(_variable: Any, aggregation: str) -> Any:
    """Returns how the copies of a variable are aggregated: metrics are summed, all others stay separate per device."""
    import tensorflow as tf

    return tf.VariableAggregation.SUM if aggregation == "sum" else tf.VariableAggregation.NONE


def _strategy_of_the_scope(_model: Any) -> Any:
    import tensorflow as tf

    return tf.distribute.get_strategy()


def _replica() -> int | Any:
    """Returns the number of the device that computes; 0 outside a strategy."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


def _apart(draw: Any) -> Any:
    """Returns `SeedGenerator.next` with separate draws for each device; those of the first equal those of a single device."""

    def following(self: Any, ordered: bool = True) -> Any:
        import tensorflow as tf

        seed = draw(self, ordered)
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return seed
        key = tf.cast(tf.cast(_replica(), tf.uint32) * tf.constant(_APART, tf.uint32), seed.dtype)
        return tf.stack([tf.bitwise.bitwise_xor(seed[0], key), seed[1]])

    return following


def _over_all(moments: Any) -> Any:
    """Returns `BatchNormalization._moments` over the shares of all devices; of masked inputs each has its own."""

    def of_all(self: Any, inputs: Any, mask: Any) -> Any:
        import tensorflow as tf
        from keras.src import ops

        if mask is not None or tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return moments(self, inputs, mask)
        return ops.moments(inputs, axes=self._reduction_axes, synchronized=True)

    return of_all


def make_metrics(model: Any, batch: Any) -> None:
    """Makes the metrics of a freshly compiled model from one complete batch, which is not spread over devices (1.)."""
    model._symbolic_build(data_batch=batch)


def mean_loss(model: Any) -> Any:
    """Returns the mean of the losses since the epoch began, as a tensor; Keras lists it among all metrics only."""
    return model._loss_tracker.result()


def training_step(model: Any) -> ShareStep:
    """Returns Keras's training step (`train_step` of its TensorFlow trainer) for a share of a batch."""
    import tensorflow as tf

    weights, optimizer = list(model.trainable_weights), model.optimizer

    def step(inputs: Any, labels: Any, count: Any, part: Any) -> None:
        devices = tf.distribute.get_replica_context().num_replicas_in_sync
        with tf.GradientTape() as tape:
            output = model(inputs, training=True)
            # Keras has divided it by the number of devices already, as for equal shares.
            loss = model._compute_loss(x=inputs, y=labels, y_pred=output, training=True) * devices
            model._loss_tracker.update_state(loss, sample_weight=count)
            loss = optimizer.scale_loss(loss * tf.cast(part, loss.dtype))
        gradients = tape.gradient(loss, weights)
        optimizer.apply_gradients(zip(_summed(gradients), weights, strict=True))
        model.compute_metrics(inputs, labels, output)

    return step


def _summed(gradients: list[Any]) -> list[Any]:
    """Returns gradients summed over all devices: before the optimizer clips them or checks whether they are finite."""
    import tensorflow as tf

    present = [gradient for gradient in gradients if gradient is not None]
    summed = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, present))
    return [None if gradient is None else next(summed) for gradient in gradients]


def evaluation_step(model: Any) -> ShareStep:
    """Returns Keras's `test_step` for a share of a batch, which may be empty."""
    import tensorflow as tf

    def evaluated(inputs: Any, labels: Any, count: Any) -> Any:
        output = model(inputs, training=False)
        devices = tf.distribute.get_replica_context().num_replicas_in_sync
        loss = model._compute_loss(x=inputs, y=labels, y_pred=output, training=False) * devices
        model._loss_tracker.update_state(loss, sample_weight=count)
        model.compute_metrics(inputs, labels, output)
        return count

    def step(inputs: Any, labels: Any, count: Any, _part: Any) -> None:
        tf.cond(count > 0, lambda: evaluated(inputs, labels, count), lambda: count)

    return step
