"""The Keras model that is trained: its optimizers and its training step."""

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
        name: its name in columns of the history; empty if the model has a single optimizer.
        optimizer: the Keras optimizer of a compiled model.
        variables: the variables that it updates.
    """

    name: str
    optimizer: Any
    variables: Sequence[Any]


class Learner(keras.Model):  # type: ignore[misc]
    """A Keras model with its own training step, which a model kind returns as its `learner`.

    A subclass overrides these methods:

    - `call` returns the output for inputs.
    - `compile` takes the arguments of `keras.Model.compile` (the spec's optimizer, loss and metrics) and creates the other
      optimizers.
    - `compute_loss` returns the sum of everything that the step minimises. It also serves to check whether an unchanged
      variable has a gradient.
    - `train_step` takes a pair of inputs and labels, applies every optimizer, and returns `logs_of(...)`.
    - `optimizers` lists every optimizer. A checkpoint holds their variables and those of the model.
    """

    def logs_of(self, inputs: Any, labels: Any, output: Any, loss: Any) -> dict[str, Any]:
        """Adds a batch to the loss and the metrics of the epoch and returns their values."""
        track_loss(self, loss, keras.ops.shape(output)[0])
        logs: dict[str, Any] = self.compute_metrics(inputs, labels, output)
        return logs

    def optimizers(self) -> list[NamedOptimizer]:
        """Returns every optimizer of the compiled model, the optimizer of the spec first."""
        return [NamedOptimizer("", self.optimizer, self.trainable_variables)]


def optimizers_of(model: Any) -> list[NamedOptimizer]:
    """Returns the optimizers of a compiled model, the optimizer of the spec first."""
    if isinstance(model, Learner):
        return model.optimizers()
    return [NamedOptimizer("", model.optimizer, model.trainable_variables)]


def optimizer_variables(model: Any) -> list[Any]:
    """Returns the variables of all optimizers of a compiled model: their counters, rates and moments."""
    return [variable for named in optimizers_of(model) for variable in named.optimizer.variables]


def build_optimizers(model: Any) -> None:
    """Creates the variables of every optimizer of a compiled model, which Keras would create in the first step."""
    for named in optimizers_of(model):
        if not named.optimizer.built:
            named.optimizer.build(named.variables)


def make_train_function(model: Any) -> None:
    """Makes `train_function` of a compiled model, whose first call traces the step once.

    The optimizers are built before: TensorFlow traces a step twice in which variables are created, and never frees the first
    graph.
    """
    build_optimizers(model)
    model.make_train_function()


def has_own_step(model: Any) -> bool:
    """Whether a model has its own training step in place of Keras's."""
    return type(model).train_step is not keras.Model.train_step
