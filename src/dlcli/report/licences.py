"""The origin of a model's weights and their licence, as far as they are known."""

from __future__ import annotations

from dlcli.spec.model.base import ModelSpec


def licence_of(model: ModelSpec, initial: str | None) -> str:
    """Returns a sentence on the origin of a model's initial weights and on their licence.

    Args:
        model: the spec's model.
        initial: the file or run that the training started from, if any.
    """
    if initial:
        return f"The training started from {initial}; dlcli does not know the licence of these weights."
    return model.licence() or "All weights were trained here from scratch; the author decides on their licence."
