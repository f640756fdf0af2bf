"""Trains a network with further heads in its middle, whose losses count a share; predictions come from its own head alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlcli.runtime.engine import keras
from dlcli.runtime.learner import Learner


class WithAuxiliaryHeads(Learner):
    """A functional model with auxiliary heads, trained by Keras's own step.

    The loss of the heads is part of the loss of a training step, but not of the validation loss.
    """

    def __init__(self, functional: Any, heads: Sequence[Any], weight: float) -> None:
        """Creates the model.

        Args:
            functional: the model that is trained and saved.
            heads: the outputs of the heads, Keras tensors that are computed from its input, with the shape of its output.
            weight: the share of the loss of each head.
        """
        super().__init__()
        self.joint = keras.Model(functional.input, [functional.output, *heads])
        self._weight = weight
        self._auxiliary_outputs: tuple[Any, ...] = ()

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the output of the network's own head; `compute_loss` reads the others of the same call."""
        output, *auxiliary = self.joint(inputs, training=training)
        self._auxiliary_outputs = tuple(auxiliary)
        return output

    def compute_loss(  # the arguments that Keras names
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the loss; during training, with the share of each auxiliary head."""
        total = super().compute_loss(x, y, y_pred, sample_weight, training)
        if training:
            for output in self._auxiliary_outputs:
                total = total + self._weight * self._mean_loss(y, output, sample_weight)
        return total

    def _mean_loss(self, labels: Any, output: Any, sample_weight: Any) -> Any:
        """Returns the compiled loss of an output, without the penalties on weights, which count once."""
        if isinstance(self.loss, keras.losses.Loss):
            return self.loss(labels, output, sample_weight)
        return keras.ops.mean(self.loss(labels, output))
