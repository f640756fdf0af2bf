"""A loss that became infinite or no number: where, at which rate, with which gradients, and what to try."""

from __future__ import annotations

from typing import Any

from dlcli.runtime.engine import tf
from dlcli.runtime.stream import TrainingStream
from dlcli.stages.recorder import Best, Diverged


def words_of_divergence(error: Diverged, model: Any, stream: TrainingStream, best: Best) -> str:
    """Returns what a run that has diverged tells its user."""
    steps = model.steps_per_execution
    first = error.step + 1 - min(steps, error.step % steps + 1) + 1
    place = f"step {error.step + 1}" if first == error.step + 1 else f"one of the steps {first} to {error.step + 1}"
    kept = f"; the best model so far, of epoch {best.epoch}, is kept" if best.value is not None else ""
    rate = float(model.optimizer.learning_rate)
    return (
        f"{error}, {place}: the training has diverged{kept}\n"
        f"  learning rate {rate:.3g}; {_gradients(model, stream, error)}\n"
        f"  try a learning rate of {rate / 10:.1g}, `clipnorm: 1.0` beside it in the optimizer, or look for values far"
        " out of range in the data"
    )


def _gradients(model: Any, stream: TrainingStream, error: Diverged) -> str:
    """Returns the norm of the gradients on the batch after which the loss was no number, with the weights as they are."""
    inputs, labels = next(stream.batches(error.epoch, error.step))[:2]
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=inputs, y=labels, y_pred=model(inputs, training=True), training=True)
    weights = [one.value for one in model.trainable_variables]
    known = [gradient for gradient in tape.gradient(loss, weights) if gradient is not None]
    norm = float(tf.linalg.global_norm(known))
    broken = sum(not bool(tf.reduce_all(tf.math.is_finite(one))) for one in weights)
    if broken:
        return f"{broken} of {len(weights)} weights hold values that are no numbers, so the gradients' norm is {norm}"
    return f"norm of the gradients {norm:.3g}"
