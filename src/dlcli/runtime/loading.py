"""A saved model, loaded for predictions: never compiled, never with code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlcli.errors import DamagedFile
from dlcli.runtime.keras_file import load_keras_file


def load_model(path: Path, *, outputs: int | None = None) -> Any:
    """Returns the Keras model of a `model.keras`; with dlcli's layer for Hub modules known to Keras.

    Raises:
        DamagedFile: it cannot be loaded, holds foreign code, or has not as many outputs as wanted.
    """
    model = load_keras_file(path)
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise DamagedFile(f"{path}: its output has the shape {shape}, not a row of numbers for each example")
    if outputs is not None and shape[1] != outputs:
        raise DamagedFile(f"{path}: has {shape[1]} outputs, not the {outputs} of the run's data")
    return model
