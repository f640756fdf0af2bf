"""What a layer tells that wraps a whole pretrained model whose parts Keras does not see."""

from __future__ import annotations

from typing import Any


class BackboneLayer:
    """A backbone in one Keras layer, such as a module of TensorFlow Hub. A class of such a layer inherits from both.

    Attributes:
        inference_mode: keeps statistics of batches still while the weights learn.
        why_frozen: why the weights cannot learn at all; empty if they can.
        files: what it computes, as files by name; those below `variables/` hold its weights.
    """

    inference_mode: bool = True
    why_frozen: str = ""
    files: dict[str, bytes]

    def untracked_variables(self) -> list[Any]:
        """Returns the variables that are not the layer's weights: none, unless something is broken."""
        raise NotImplementedError

    @property
    def has_penalties(self) -> bool:
        """Whether it adds to the loss while it learns."""
        return False

    def penalty(self) -> float:
        """Returns what it adds to the loss: 0 where it does not learn."""
        return 0.0
