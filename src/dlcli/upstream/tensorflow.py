"""Workarounds for TensorFlow; `tests/upstream/test_tensorflow.py` says when one may go."""

from __future__ import annotations

from typing import Any


def steady_options() -> Any:
    """Returns the options of every `tf.data` dataset of dlcli: fixed order and parallelism, no autotuner.

    Closing an iterator waits for the autotuner's thread, up to 41 s at random (TensorFlow 2.21, `OptimizeLoop` in
    github.com/tensorflow/tensorflow `tensorflow/core/framework/model.cc`).
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return options
