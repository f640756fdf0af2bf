"""TensorFlow and Keras, imported once, quietly and without modules that training does not need, for all other modules."""

from __future__ import annotations

from dlcli.upstream.keras import import_keras

keras = import_keras()

import tensorflow as tf  # noqa: E402  (import_keras has started it; importing it first would be slow and noisy)

__all__ = ["keras", "tf"]
