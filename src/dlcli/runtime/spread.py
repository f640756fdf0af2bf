"""Trains one model on several devices, each of which takes a share of every batch.

Sums over the shares are weighted by their sizes, so that loss, gradients and metrics are those of the whole batch, except for
the rounding of another order of summation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dlcli.errors import Interrupted, UsageError
from dlcli.runtime.engine import tf
from dlcli.runtime.learner import build_optimizers
from dlcli.upstream.devices import ShareStep, evaluation_step, make_metrics, mean_loss, training_step

Step = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Spread:
    """Devices of one process or of several workers that share every batch through a strategy of `tf.distribute`.

    Every worker runs the same steps with the same results; the worker with index 0, the chief, writes the run.
    """

    strategy: Any
    workers: int = 1
    index: int = 0

    def __str__(self) -> str:
        """Returns a description of the devices."""
        of = f" of {self.workers} workers" if self.workers > 1 else ""
        return f"{self.devices} devices{of} share each batch"

    @property
    def kind(self) -> str:
        """The name of the strategy in a spec."""
        return "multi_worker" if self.workers > 1 else "mirrored"

    @property
    def devices(self) -> int:
        """The number of devices over all processes."""
        return int(self.strategy.num_replicas_in_sync)

    def any_of(self, *flags: bool) -> list[bool]:
        """Returns for each flag whether any worker has set it; all workers must call this at the same place."""
        if self.workers == 1:
            return list(flags)
        return [bool(count) for count in _total(self.strategy, tf.constant(flags, tf.int64)).numpy()]

    def agree(self, *facts: object) -> bool:
        """Whether all workers pass the same facts; all workers must call this."""
        if self.workers == 1:
            return True
        digest = int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:4], "big")
        return int(_total(self.strategy, tf.constant([digest], tf.int64))[0]) == digest * self.devices

    def compiled(self, model: Any, batch: Any) -> None:
        """Creates the variables and the steps of a freshly compiled model on every device; `batch` is a first whole batch."""
        with self.strategy.scope():
            make_metrics(model, batch)
            # Keras would create an optimizer's variables in the first step, inside the strategy's own graph.
            build_optimizers(model)

        def loss() -> dict[str, Any]:  # reading a metric costs a message between workers
            return {"loss": mean_loss(model)}

        model.train_function = self._steps(training_step(model), loss if self.workers > 1 else model.get_metrics_result)
        model.test_function = self._steps(evaluation_step(model), model.get_metrics_result)

    def _steps(self, share_of_step: ShareStep, result: Callable[[], dict[str, Any]]) -> Step:
        """Returns a function that runs a step on the next whole batch of an iterator and returns the value of `result`."""

        def run_share(batch: Any) -> None:
            share_of_step(*_share(batch[:2]))

        @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
        def step(batches: Any) -> dict[str, Any]:
            self.strategy.run(tf.autograph.experimental.do_not_convert(run_share), args=(next(batches),))
            with self.strategy.scope():
                return dict(result())

        def run_step(batches: Any) -> dict[str, Any]:
            try:
                return dict(step(batches))
            except tf.errors.OutOfRangeError:
                raise StopIteration from None

        return run_step


@tf.function(autograph=False)  # type: ignore[untyped-decorator]
def _total(strategy: Any, values: Any) -> Any:
    """Returns values summed over all devices."""
    copies = strategy.run(lambda value: tf.identity(value), args=(values,))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, copies, axis=None)


@contextmanager
def losses_of_workers(spread: Spread | None) -> Iterator[None]:
    """Raises Interrupted if a worker is lost while the block runs, since the others cannot continue without it."""
    try:
        yield
    except tf.errors.OpError as error:
        lost = isinstance(error, tf.errors.UnavailableError) or any(words in error.message for words in _LOST)
        if spread is None or spread.workers == 1 or not lost:
            raise
        raise Interrupted("stopped by the loss of a worker: its process or machine ended or cannot be reached") from None


_LOST = ("Collective ops is aborted", "unhealthy", "Connection reset by peer")


def refuse_empty_shares(examples: int, batch_size: int, devices: int) -> None:
    """Raises UsageError if the last batch of an epoch has fewer examples than there are devices."""
    last = examples % batch_size or batch_size
    if last < devices:
        sizes = (size for size in range(devices, examples + 1) if (examples % size or size) >= devices)
        fitting = min(sizes, key=lambda size: abs(size - batch_size), default=None)
        advice = f"data.batch_size: {fitting} has none such" if fitting else "there are too few examples"
        raise UsageError(
            f"the last batch of an epoch has {last} of {examples} examples, too few for {devices} devices: {advice}"
        )


def _share(batch: Any) -> tuple[Any, Any, Any, Any]:
    """Returns this device's inputs and labels of a whole batch, their number, and their share of the batch."""
    context = tf.distribute.get_replica_context()
    place, devices = context.replica_id_in_sync_group, context.num_replicas_in_sync
    with tf.device("CPU:0"):  # only its share is copied to a device
        count = tf.shape(tf.nest.flatten(batch)[0])[0]
        # Rounded up, so that the first device, whose copy of the variables is saved, always has an example.
        first, end = ((count * index + devices - 1) // devices for index in (place, place + 1))
        inputs, labels = tf.nest.map_structure(lambda whole: whole[first:end], batch)
    return inputs, labels, end - first, tf.cast(end - first, tf.float32) / tf.cast(count, tf.float32)
