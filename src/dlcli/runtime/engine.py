"""TensorFlow and Keras, imported once, quietly and without modules that training does not need, for all other modules."""

from __future__ import annotations

from dlcli.upstream.keras import import_keras
from dlcli.upstream.tensorflow import order_sums

keras = import_keras()

import tensorflow as tf  # noqa: E402  (import_keras has started it; importing it first would be slow and noisy)

order_sums()

__all__ = ["keras", "new_session", "tf"]

_sessions = 0


def new_session() -> None:
    """Starts a new Keras session, so that a training does not depend on what its process built before, down to layer names.

    The models of earlier trainings are removed from memory. Before the first training there are none, and the garbage
    collector would take 0.2 s to search everything that TensorFlow has imported.
    """
    global _sessions
    keras.utils.clear_session(free_memory=_sessions > 0)
    _sessions += 1
