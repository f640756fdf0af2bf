"""One model on several devices: each takes its share of the same batch that one device would take whole.

Sums over the shares are weighted by their sizes, so that loss, gradients and metrics are those of the whole batch up to
the rounding of another order of summation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dlcli.errors import UsageError
from dlcli.runtime.engine import keras, tf

Step = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Spread:
    """Devices that share every batch, through a strategy of `tf.distribute`."""

    strategy: Any

    @property
    def devices(self) -> int:
        """How many devices there are, over all processes."""
        return int(self.strategy.num_replicas_in_sync)

    def compiled(self, model: Any, batch: Any) -> None:
        """Makes the variables of a freshly compiled model on every device, and its steps; `batch` is a first one, whole."""
        with self.strategy.scope():
            model._symbolic_build(data_batch=batch)
            # Keras makes an optimizer's variables in the first step, which would be inside the strategy's own graph.
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
        model.train_function = self._steps(model, _training_step(model))
        model.test_function = self._steps(model, _test_step(model))

    def _steps(self, model: Any, share_of_step: Callable[[Any, Any, Any, Any], None]) -> Step:
        """Returns a function from an iterator over whole batches to the metrics after its next one."""

        def share(batch: Any) -> None:
            share_of_step(*_share(batch[:2]))

        @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
        def step(batches: Any) -> dict[str, Any]:
            self.strategy.run(tf.autograph.experimental.do_not_convert(share), args=(next(batches),))
            with self.strategy.scope():
                return dict(model.get_metrics_result())

        def taken(batches: Any) -> dict[str, Any]:
            try:
                return dict(step(batches))
            except tf.errors.OutOfRangeError:
                raise StopIteration from None

        return taken


def refuse_empty_shares(examples: int, batch_size: int, devices: int) -> None:
    """Raises UsageError where the last batch of an epoch has no example for some of the devices."""
    last = examples % batch_size or batch_size
    if last < devices:
        fitting = next((size for size in range(batch_size, devices, -1) if (examples % size or size) >= devices), None)
        advice = f"data.batch_size: {fitting} has none such" if fitting else "there are too few examples"
        raise UsageError(
            f"the last batch of an epoch has {last} of {examples} examples, too few for {devices} devices: {advice}"
        )


def _share(batch: Any) -> tuple[Any, Any, Any, Any]:
    """Returns this device's inputs and labels of a whole batch, their number, and the share of the batch that they are."""
    context = tf.distribute.get_replica_context()
    place, devices = context.replica_id_in_sync_group, context.num_replicas_in_sync
    with tf.device("CPU:0"):  # only its share goes to a device
        count = tf.shape(tf.nest.flatten(batch)[0])[0]
        # Rounded up: the first device, whose copy is kept, always has an example.
        first, end = ((count * one + devices - 1) // devices for one in (place, place + 1))
        inputs, labels = tf.nest.map_structure(lambda whole: whole[first:end], batch)
    return inputs, labels, end - first, tf.cast(end - first, tf.float32) / tf.cast(count, tf.float32)


def _training_step(model: Any) -> Callable[[Any, Any, Any, Any], None]:
    """Returns Keras's training step (`train_step` of its TensorFlow trainer) for a share of a batch."""
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
    """Returns gradients summed over all devices: before the optimizer clips them or looks whether they are finite."""
    known = [one for one in gradients if one is not None]
    summed = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, known))
    return [None if one is None else next(summed) for one in gradients]


def _test_step(model: Any) -> Callable[[Any, Any, Any, Any], None]:
    """Returns Keras's `test_step` for a share of a batch, which may be empty."""

    def seen(inputs: Any, labels: Any, count: Any) -> Any:
        output = model(inputs, training=False)
        devices = tf.distribute.get_replica_context().num_replicas_in_sync
        loss = model._compute_loss(x=inputs, y=labels, y_pred=output, training=False) * devices
        model._loss_tracker.update_state(loss, sample_weight=count)
        model.compute_metrics(inputs, labels, output)
        return count

    def step(inputs: Any, labels: Any, count: Any, _part: Any) -> None:
        tf.cond(count > 0, lambda: seen(inputs, labels, count), lambda: count)

    return step
