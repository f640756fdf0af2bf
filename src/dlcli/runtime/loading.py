"""Loads saved models for predictions, without compiling them and without running code from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlcli.errors import DamagedFile
from dlcli.runtime.keras_file import load_keras_file


def load_model(path: Path, *, outputs: int | None = None) -> Any:
    """Returns the Keras model of a `model.keras`, which may contain layers that the backbones of specs declare.

    Raises:
        DamagedFile: the file cannot be loaded, contains foreign code, or has another number of outputs than `outputs`.
    """
    model = load_keras_file(path)
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise DamagedFile(f"{path}: its output has the shape {shape}, not a row of numbers for each example")
    if outputs is not None and shape[1] != outputs:
        raise DamagedFile(f"{path}: has {shape[1]} outputs, not the {outputs} of the run's data")
    return model
