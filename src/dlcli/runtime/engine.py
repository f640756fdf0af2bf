"""TensorFlow and Keras, started once, quietly and without what training does not need. The one place that imports them."""

from __future__ import annotations

from dlcli.upstream.keras import import_keras

keras = import_keras()

import tensorflow as tf  # noqa: E402  (import_keras has started it; importing it first would be slow and noisy)

__all__ = ["keras", "tf"]
