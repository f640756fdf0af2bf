"""One model on several devices: each takes its share of the same batch that one device would take whole.

Sums over the shares are weighted by their sizes, so that loss, gradients and metrics are those of the whole batch up to
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
    """Devices that share every batch, through a strategy of `tf.distribute`: of one process, or of several workers.

    Every worker takes the same steps and comes to the same numbers; the one with index 0, the chief, writes the run.
    """

    strategy: Any
    workers: int = 1
    index: int = 0

    def __str__(self) -> str:
        """Returns the words of it."""
        of = f" of {self.workers} workers" if self.workers > 1 else ""
        return f"{self.devices} devices{of} share each batch"

    @property
    def kind(self) -> str:
        """The word of the spec for it."""
        return "multi_worker" if self.workers > 1 else "mirrored"

    @property
    def devices(self) -> int:
        """How many devices there are, over all processes."""
        return int(self.strategy.num_replicas_in_sync)

    def any_of(self, *flags: bool) -> list[bool]:
        """Returns for each flag whether any worker has set it; all of them must ask, at the same place."""
        if self.workers == 1:
            return list(flags)
        return [bool(one) for one in _total(self.strategy, tf.constant(flags, tf.int64)).numpy()]

    def agree(self, *facts: object) -> bool:
        """Whether all workers have told the same facts; all of them must ask."""
        if self.workers == 1:
            return True
        digest = int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:4], "big")
        return int(_total(self.strategy, tf.constant([digest], tf.int64))[0]) == digest * self.devices

    def compiled(self, model: Any, batch: Any) -> None:
        """Makes the variables of a freshly compiled model on every device, and its steps; `batch` is a first one, whole."""
        with self.strategy.scope():
            make_metrics(model, batch)
            # Keras makes an optimizer's variables in the first step, which would be inside the strategy's own graph.
            build_optimizers(model)

        def loss() -> dict[str, Any]:  # each metric that is read costs a message among workers
            return {"loss": mean_loss(model)}

        model.train_function = self._steps(training_step(model), loss if self.workers > 1 else model.get_metrics_result)
        model.test_function = self._steps(evaluation_step(model), model.get_metrics_result)

    def _steps(self, share_of_step: ShareStep, result: Callable[[], dict[str, Any]]) -> Step:
        """Returns a function from an iterator over whole batches to what `result` tells after its next one."""

        def share(batch: Any) -> None:
            share_of_step(*_share(batch[:2]))

        @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
        def step(batches: Any) -> dict[str, Any]:
            self.strategy.run(tf.autograph.experimental.do_not_convert(share), args=(next(batches),))
            with self.strategy.scope():
                return dict(result())

        def taken(batches: Any) -> dict[str, Any]:
            try:
                return dict(step(batches))
            except tf.errors.OutOfRangeError:
                raise StopIteration from None

        return taken


@tf.function(autograph=False)  # type: ignore[untyped-decorator]
def _total(strategy: Any, values: Any) -> Any:
    """Returns values summed over all devices."""
    return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(lambda one: tf.identity(one), args=(values,)), axis=None)


@contextmanager
def losses_of_workers(spread: Spread | None) -> Iterator[None]:
    """Raises Interrupted where a worker is lost while the block runs: the others cannot go on without it."""
    try:
        yield
    except tf.errors.OpError as error:
        lost = isinstance(error, tf.errors.UnavailableError) or any(words in error.message for words in _LOST)
        if spread is None or spread.workers == 1 or not lost:
            raise
        raise Interrupted("stopped by the loss of a worker: its process or machine ended or cannot be reached") from None


_LOST = ("Collective ops is aborted", "unhealthy", "Connection reset by peer")


def refuse_empty_shares(examples: int, batch_size: int, devices: int) -> None:
    """Raises UsageError where the last batch of an epoch has no example for some of the devices."""
    last = examples % batch_size or batch_size
    if last < devices:
        sizes = (size for size in range(devices, examples + 1) if (examples % size or size) >= devices)
        fitting = min(sizes, key=lambda size: abs(size - batch_size), default=None)
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
