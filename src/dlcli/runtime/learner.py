"""The Keras model that is trained: which optimizers it has, and whether its training step is its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dlcli.runtime.engine import keras
from dlcli.upstream.keras import track_loss


@dataclass(frozen=True)
class NamedOptimizer:
    """An optimizer of a model that is trained.

    Attributes:
        name: what it is for, in a column's name; empty where a model has one optimizer.
        optimizer: the Keras optimizer of a compiled model.
        variables: the variables that it changes.
    """

    name: str
    optimizer: Any
    variables: Sequence[Any]


class Learner(keras.Model):  # type: ignore[misc]
    """A Keras model with a training step of its own, which a model kind returns as its `learner`.

    A subclass overrides these methods:

    - `call` gives the output for inputs.
    - `compile` takes the arguments of `keras.Model.compile` (the spec's optimizer, loss and metrics) and makes the other
      optimizers.
    - `compute_loss` returns the sum of all that the step minimises. It also tells whether a variable that did not change has
      a gradient.
    - `train_step` takes a pair of inputs and labels, lets every optimizer step, and returns `logs_of(...)`.
    - `optimizers` lists every optimizer. A checkpoint holds their variables and those of the model.
    """

    def logs_of(self, inputs: Any, labels: Any, output: Any, loss: Any) -> dict[str, Any]:
        """Returns the loss and the metrics of the epoch so far, with a batch added to them."""
        track_loss(self, loss, keras.ops.shape(output)[0])
        logs: dict[str, Any] = self.compute_metrics(inputs, labels, output)
        return logs

    def optimizers(self) -> list[NamedOptimizer]:
        """Returns every optimizer of the compiled model, the spec's own first."""
        return [NamedOptimizer("", self.optimizer, self.trainable_variables)]


def optimizers_of(model: Any) -> list[NamedOptimizer]:
    """Returns the optimizers of a compiled model, the spec's own first."""
    if isinstance(model, Learner):
        return model.optimizers()
    return [NamedOptimizer("", model.optimizer, model.trainable_variables)]


def optimizer_variables(model: Any) -> list[Any]:
    """Returns the variables of all optimizers of a compiled model: their counters, rates and moments."""
    return [variable for named in optimizers_of(model) for variable in named.optimizer.variables]


def build_optimizers(model: Any) -> None:
    """Makes the variables of every optimizer of a compiled model, which Keras makes in the first step only."""
    for named in optimizers_of(model):
        if not named.optimizer.built:
            named.optimizer.build(named.variables)


def has_own_step(model: Any) -> bool:
    """Whether a model's training step is another than Keras's."""
    return type(model).train_step is not keras.Model.train_step
