"""A loss that became infinite or no number: at which step, at which rate, with which gradients, and what to try."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

from dlcli.runtime.engine import tf
from dlcli.runtime.loop import Position
from dlcli.runtime.stream import TrainingStream
from dlcli.training.recorder import Best, Diverged

SECONDS = 60.0
"""How long the steps before the divergence may take to be repeated."""
SHOWN = 5


def words_of_divergence(error: Diverged, norms: list[float], rate: float, best: Best) -> str:
    """Returns the message of a run that has diverged.

    Args:
        error: what was seen.
        norms: those of the gradients of the last steps, the one that broke the training at the end; may be empty.
        rate: the learning rate there.
        best: the best epoch so far.
    """
    remark = f"; the best model so far, of epoch {best.epoch}, is kept" if best.value is not None else ""
    listed = ", ".join(f"{norm:.3g}" for norm in norms[-SHOWN:])
    gradients = f"; norm of the gradients in the last steps: {listed}" if listed else ""
    lower = f"a learning rate of {rate / 10:.2g}" if math.isfinite(rate) else "a much lower learning rate"
    return (
        f"{error}: the training has diverged{remark}\n"
        f"  learning rate {rate:.3g}{gradients}\n"
        f"  try {lower}, `clipnorm: 1.0` beside it in the optimizer, or look for extreme values"
        " in the data"
    )


def looked_back(model: Any, stream: TrainingStream, start: Position, error: Diverged) -> tuple[Diverged, list[float]]:
    """Repeats the steps from a position on, one by one, to the one that broke the training.

    Returns the error with that very step (the training itself may check the loss every ten steps only) and the norm
    of the gradients of each repeated step; the error as it was, and none, where that takes too long.
    """
    step, end = _step(model), perf_counter() + SECONDS
    norms: list[float] = []
    for epoch in range(start.epoch, error.epoch + 1):
        first = start.step if epoch == start.epoch else 0
        for number, batch in enumerate(stream.batches(epoch, first), first):
            loss, norm = (float(value) for value in step(*batch[:2]))
            norms.append(norm)
            if not math.isfinite(loss):
                return Diverged(loss, epoch, number), norms
            if not math.isfinite(norm):
                return Diverged(norm, epoch, number, what="gradients"), norms
            if perf_counter() > end or (epoch, number) >= (error.epoch, error.step):
                return error, []
    return error, []


def _step(model: Any) -> Any:
    """Returns a training step that gives the loss and the norm of the gradients."""
    optimizer, variables = model.optimizer, model.trainable_variables

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(inputs: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=inputs, y=labels, y_pred=model(inputs, training=True), training=True)
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [item.value for item in variables])
        norm = tf.linalg.global_norm([tf.convert_to_tensor(item) for item in gradients if item is not None])
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss, tf.cast(norm, tf.float32) * tf.cast(loss, tf.float32) / tf.cast(scaled, tf.float32)

    return step
