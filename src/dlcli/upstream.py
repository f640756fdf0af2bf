"""Every workaround for a defect of Keras, TensorFlow, TFDS or TF-Hub: its reason, its link, and how it ends.

It stands beside `errors.py`, below every other module, because specs and stages both need it. Each workaround has a
test in `tests/test_upstream.py` that fails once the defect is mended upstream.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1", "KERAS_BACKEND": "tensorflow", "GRPC_VERBOSITY": "ERROR"}


def import_keras() -> Any:
    """Imports and returns Keras, without what it imports only for its wrappers and its gallery plots.

    `import keras` brings in scikit-learn and matplotlib wherever they are installed, 1.7 s of 5 s
    (github.com/keras-team/keras `src/wrappers/sklearn_wrapper.py`); dlcli needs them only after training.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if "keras" not in sys.modules:
        with _hidden("sklearn", "matplotlib"):
            import keras
    import keras

    return keras


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Makes the import of some packages fail inside the block, unless they are loaded already."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
