"""The interface of a layer that wraps a whole pretrained model with an inner structure unknown to Keras."""

from __future__ import annotations

from typing import Any


class BackboneLayer:
    """A backbone in one Keras layer, such as a module of TensorFlow Hub. Its class inherits from this class and a Keras layer.

    Attributes:
        inference_mode: whether batch statistics stay fixed while the weights are trained.
        why_frozen: why the weights cannot be trained at all; empty if they can.
        files: the files of the wrapped model by name; those below `variables/` hold its weights.
    """

    inference_mode: bool = True
    why_frozen: str = ""
    files: dict[str, bytes]

    def untracked_variables(self) -> list[Any]:
        """Returns the variables that are not weights of the layer; empty unless there is a defect."""
        raise NotImplementedError

    @property
    def has_penalties(self) -> bool:
        """Whether the layer adds a penalty to the loss while it is trained."""
        return False

    def penalty(self) -> float:
        """Returns the penalty that the layer adds to the loss; 0 while it is frozen."""
        return 0.0
